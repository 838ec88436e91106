"""Folders of images: small files of many formats, whole and damaged, hidden, linked, misnamed or of another kind."""

from __future__ import annotations

import io
import os
import shutil
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image, ImageOps

from helpers.fuzzing import Refused, refused
from stir.data import folders, load_dataset

SPLITS = st.sampled_from(["train", "train", "test", "test", "val", "Train", ".train"])
CLASSES = st.sampled_from(["cat", "cat", "dog", "dog", "Bonn, Germany", "é", ".hidden", "0-4", 'a"b', " cat"])
STEMS = st.sampled_from(["0", "1", "2", "a, b", ".0", "._0", "é", "x.y", "deep/0", "deep/.x/0", "-", "x\ny"])
SUFFIXES = st.sampled_from(
    [".png"] * 4
    + [".PNG", ".jpg", ".gif", ".bmp", ".tif", ".webp", ".ppm", ".pgm", ".ico", ".tga", ".dds", ".jpeg", ".psd"]
    + [".heic", ".eps", ".ps", "", ".txt"]
)
FORMATS = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "GIF": ("L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "TIFF": ("1", "L", "RGB", "RGBA", "I;16", "F", "I", "CMYK", "LAB"),
    "WEBP": ("RGB", "RGBA"),
    "PPM": ("1", "L", "RGB", "I;16"),
    "TGA": ("L", "RGB", "RGBA"),
    "DDS": ("RGB", "RGBA"),
}
KINDS = [(name, mode) for name, modes in FORMATS.items() for mode in modes]
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n"


@cache
def encoded(kind: tuple[str, str], size: tuple[int, int], orientation: int) -> bytes:
    """A file of random pixels."""
    name, mode = kind
    random = np.random.default_rng(len(name) + size[0])
    pixels = random.integers(0, 256, (size[1], size[0], 4), np.uint8)
    if mode == "I;16":
        image = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 251)
    elif mode in ("F", "I"):
        image = Image.fromarray((pixels[:, :, 0] / 255).astype(np.float32 if mode == "F" else np.int32))
    elif mode in ("LAB", "CMYK"):
        image = Image.frombytes(mode, size, pixels[:, :, : len(mode)].tobytes())
    else:
        image = Image.fromarray(pixels)
        image = image.quantize(8) if mode == "P" and name == "PNG" else image.convert("RGB" if mode == "P" else mode)
        image = image.quantize(8) if mode == "P" and name != "PNG" else image
    file = io.BytesIO()
    exif = Image.Exif()
    exif[274] = orientation
    options: dict[str, Any] = {"exif": exif} if orientation != 1 and name in ("PNG", "JPEG", "TIFF", "WEBP") else {}
    image.save(file, name, **options)
    return file.getvalue()


IMAGES = st.builds(
    encoded, st.sampled_from(KINDS), st.sampled_from([(4, 4)] * 4 + [(3, 5), (1, 1)]),
    st.sampled_from([1] * 6 + [0, 3, 6, 7, 9]),
)  # fmt: skip


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """A file's bytes: most of them a plain picture, others of any format, damaged, or none."""
    if draw(st.integers(0, 2)):
        return encoded(("PNG", "RGB"), (4, 4), 1)
    content = bytearray(draw(IMAGES))
    damage = draw(st.sampled_from(["none", "none", "cut", "flip", "flip", "other"]))
    if damage == "cut":
        return bytes(content[: draw(st.integers(0, len(content)))])
    if damage == "other":
        return draw(st.binary(max_size=30) | st.just(POSTSCRIPT) | st.just(b"<svg/>"))
    for _ in range(draw(st.integers(1, 4)) if damage == "flip" else 0):
        place = draw(st.integers(0, min(len(content), 400) - 1))
        content[place] ^= draw(st.integers(1, 255))
    return bytes(content)


PATHS = st.builds("{}/{}/{}{}".format, SPLITS, CLASSES, STEMS, SUFFIXES)
FOLDERS = st.builds("{}/{}".format, SPLITS, CLASSES) | SPLITS
TARGETS = PATHS | FOLDERS | st.sampled_from([".", "..", "outside", "outside/0.png", "nowhere", "/dev/null"])
# What is made, in this order, unless it cannot be: a path, and a file's bytes, the target of a link, or a kind.
ENTRIES = st.one_of(
    st.tuples(PATHS, contents()),
    st.tuples(PATHS, contents()),
    st.tuples(PATHS | FOLDERS, TARGETS.map(lambda target: ("link", target))),
    st.tuples(PATHS | FOLDERS, st.sampled_from([("folder",), ("pipe",)])),
)
PICTURE = encoded(("PNG", "RGB"), (4, 4), 1)
SOUND = [(f"{split}/{name}/8.png", PICTURE) for split in ("train", "test") for name in ("cat", "dog")]
OPTIONS = st.fixed_dictionaries(
    {
        "image_size": st.sampled_from([None, 4, 4, (4, 4), (3, 5)]),
        "unreadable": st.sampled_from(["refuse", "skip", "skip"]),
    }
)
AFTERWARDS = st.sampled_from(["nothing"] * 6 + ["again", "again", "damage the store", "rewrite"])


def make(root: Path, entries: list[tuple[str, Any]]) -> None:
    for name, content in entries:
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                if not os.path.lexists(path):
                    path.write_bytes(content)
            elif content[0] == "link":
                target = content[1]
                path.symlink_to(target if target.startswith("/") else os.path.relpath(root / target, path.parent))
            elif content[0] == "folder":
                path.mkdir()
            else:
                os.mkfifo(path)
        except OSError:  # something else is there already
            pass


# The reference: names as the documentation has them, pixels by Pillow and arithmetic


def list_split(root: Path, split: str) -> tuple[dict[str, list[str]], int]:
    """Class -> its image files, and how many other files there are."""
    # A split itself may be a link to anywhere.
    base, place = os.path.realpath(root), os.path.join(root, split)
    suffixes = {end for end, name in Image.registered_extensions().items() if name in Image.OPEN and name != "EPS"}
    found: dict[str, list[str]] = {}
    others = 0
    for name in os.listdir(place):
        path = os.path.join(place, name)
        if os.path.isdir(path) and not name.startswith("."):
            found[name] = []
    for path in _inside(place, (base, os.path.realpath(place))):
        name = os.path.relpath(path, place).split(os.sep)[0]
        if name in found and os.path.splitext(path)[1].lower() in suffixes:
            found[name].append(path)
        else:
            others += 1
    return found, others


def _inside(folder: str, allowed: tuple[str, ...]) -> Iterator[str]:
    """All files below a folder that are not hidden, through links that stay inside and lead to no folder above."""
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.startswith("."):
            continue
        if os.path.islink(path):
            real, here = os.path.realpath(path), os.path.realpath(folder)
            if not any(_within(real, each) for each in allowed):
                raise Refused("a link that leads out of the folder")
            if _within(here, real):
                raise Refused("a link that leads to a folder that holds it")
        if os.path.isdir(path):
            yield from _inside(path, allowed)
        else:
            yield path


def _within(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def decoded(path: str, size: Any) -> np.ndarray | None:
    """Pixels [H, W, 3] of a file; None if it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with Image.open(path, formats=[name for name in Image.OPEN if name != "EPS"]) as image:
            image.load()
            pixels = _rgb(image)
    except Exception:  # as many kinds as Pillow has readers
        return None
    if pixels is not None and size is not None and pixels.shape[:2] != size:
        pixels = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
    return pixels


def _rgb(image: Image.Image) -> np.ndarray | None:
    with suppress(Exception):  # damaged Exif data turn nothing
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I") or image.mode == "F":
        white = 1 if image.mode == "F" else 65_535
        if image.mode == "I" and image.format != "PPM":
            return None
        if image.mode.startswith("I;16") and image.format == "TIFF":
            white = 2 ** image.tag_v2.get(258, (16,))[0] - 1
        values = np.asarray(image, np.float64)
        if image.has_transparency_data or not (values.min() >= 0 and values.max() <= white):
            return None
        if image.format == "TIFF" and image.tag_v2.get(262) == 0:
            values = white - values
        return np.repeat(np.rint(values / white * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"), np.float64)
        alpha = rgba[:, :, 3:] / 255
        return np.rint(rgba[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.asarray(image.convert("RGB"))


def judge(root: Path, size: Any, unreadable: str) -> tuple[dict[str, list[tuple[str, np.ndarray]]], Counter]:
    """Of each split class and pixels of each image; and how often a warning counts how many files."""
    size = (size, size) if isinstance(size, int) else size
    tests = [name for name in ("test", "val", "valid", "validation") if (root / name).is_dir()]
    test = next((name for name in tests if any(path.is_dir() for path in (root / name).glob("[!.]*"))), None)
    if test is None or not (root / "train").is_dir():
        raise Refused("a split is missing")
    listed = {split: list_split(root, split) for split in ("train", test)}
    counted: Counter = Counter()
    real_paths = [os.path.realpath(path) for found, _ in listed.values() for paths in found.values() for path in paths]
    if len({*real_paths}) < len(real_paths):
        raise Refused("a file twice")
    if {*listed["train"][0]} != {*listed[test][0]} or not listed["train"][0]:
        raise Refused("classes differ, or there are none")
    if not all(paths for found, _ in listed.values() for paths in found.values()):
        raise Refused("a class without images")
    images: dict[str, list[tuple[str, np.ndarray]]] = {}
    for split, (found, others) in listed.items():
        pairs = [(name, decoded(path, size)) for name, paths in found.items() for path in paths]
        readable = [(name, pixels) for name, pixels in pairs if pixels is not None]
        if len(readable) < len(pairs) and unreadable == "refuse":
            raise Refused("unreadable files")
        if {name for name, _ in readable} != {*found}:
            raise Refused("a class without readable images")
        counted["left out, since"] += others
        counted["cannot be read"] += len(pairs) - len(readable)
        images["train" if split == "train" else "test"] = readable
    if len({pixels.shape for split in images.values() for _, pixels in split}) > 1:
        raise Refused("images of several sizes")
    return images, counted


def image_folders(folder: Path) -> tuple[st.SearchStrategy, Callable]:
    """`load_dataset("folder:...")`, once or twice."""
    (folder / "outside").mkdir()
    (folder / "outside" / "0.png").write_bytes(encoded(("PNG", "RGB"), (4, 4), 1))
    root = folder / "images"

    def check(drawn: tuple[list, bool, dict, str]) -> str:
        entries, sound, options, afterwards = drawn
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        make(root, [*(SOUND if sound else []), *entries])
        with pytest.MonkeyPatch.context() as patch:
            if afterwards != "rewrite":
                patch.setattr(folders, "CLOCK_TICK", 0)
            outcome = compare(root, options)
            if afterwards == "damage the store":
                for path in folders._images_folder().glob("*.safetensors"):
                    content = bytearray(path.read_bytes())
                    content[len(content) * (len(entries) + 1) // 9] ^= 1 << len(entries) % 8
                    path.write_bytes(content)
            if afterwards == "rewrite":
                rewrite(root)
            if afterwards != "nothing":
                compare(root, options)
        return outcome

    return st.tuples(
        st.lists(ENTRIES, max_size=6), st.sampled_from([True, True, True, False]), OPTIONS, AFTERWARDS
    ), check


def rewrite(root: Path) -> None:
    """Give the first picture other pixels, but leave its size and time of writing."""
    path = root / SOUND[0][0]  # in a hurry: within the tick of the file system's clock
    if path.is_file():
        before, image = path.stat(), Image.new("RGB", (4, 4), "red")
        file = io.BytesIO()
        image.save(file, "PNG")
        path.write_bytes(file.getvalue().ljust(before.st_size, b"\0")[: before.st_size])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def compare(root: Path, options: dict[str, Any]) -> str:
    """Judge how stir loads a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged files, by Pillow
        try:
            expected: Any = judge(root, options["image_size"], options["unreadable"])
        except Refused as verdict:
            expected = verdict
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            dataset = load_dataset(f"folder:{root}", progress=False, **options)
        except ValueError as error:
            return refused(error, expected, str(root))
    assert not isinstance(expected, Refused), f"loaded, though it is wrong: {expected}"
    images, counted = expected
    for split in ("train", "test"):
        loaded = getattr(dataset, split)
        pixels = (loaded.images * 255).round().to(int).permute(0, 2, 3, 1).numpy()
        labels = [dataset.classes[number] for number in loaded.labels]
        missing = [*zip(labels, pixels, strict=True)]
        assert len(missing) == len(images[split]), f"{len(missing)} images in {split}, not {len(images[split])}"
        for name, wanted in images[split]:
            near = [each for each, (label, got) in enumerate(missing) if label == name and _alike(got, wanted)]
            assert near, f"an image of {name} in {split} is missing: {wanted.tolist()}"
            del missing[near[0]]
    for text, count in counted.items():
        told = sum(int(str(each.message).split()[0]) for each in caught if text in " ".join(str(each.message).split()))
        assert told == count, f"{count} files {text}, but {told} are told of"
    return "accepted"


def _alike(first: np.ndarray, second: np.ndarray) -> bool:
    return first.shape == second.shape and bool(np.abs(first.astype(int) - second).max() <= 1)
