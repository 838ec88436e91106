"""Folders of images written by Pillow: pixels, order, decoding once, unreadable files."""

import os
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from stir.data import folders, load_dataset


def test_folder(folder):
    root, pixels = folder
    dataset = load_dataset(f"folder:{root}")
    assert dataset.classes == ("cat", "dog") and dataset.channels == 3
    assert dataset.train.images.shape == (6, 3, 10, 12) and sorted(dataset.train.labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert sorted(dataset.test.labels.tolist()) == [0, 1]
    for label, name in enumerate(dataset.classes):
        for number in range(3):
            assert dataset.train.labels[place_of(pixels["train", name, number], dataset.train)] == label


def place_of(pixels, split):
    """Where in the split the image with these pixels is."""
    (place,) = [
        index
        for index, image in enumerate(split.images)
        if np.allclose(image.numpy(), pixels.transpose(2, 0, 1) / 255, atol=1e-6)
    ]
    return place


def write_classes(root, counts, names="{:04d}.png"):
    """A training and a test split with so many tiny images of each class, which tell their class by their colour."""
    for split in ("train", "test"):
        for label, (name, count) in enumerate(counts.items()):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (2, 2), (label, number, 0)).save(root / split / name / names.format(number))


def test_any_prefix_holds_the_classes_in_their_proportions(tmp_path):
    write_classes(tmp_path, {f"class {number}": 40 for number in range(9)} | {"rare": 10})
    dataset = load_dataset(f"folder:{tmp_path}", progress=False)
    for split in (dataset.train, dataset.test):
        taken = split.take(50)
        labels = split.labels[:50]
        assert torch.equal(taken[:, 0, 0, 0].mul(255).round().long(), labels)  # each image still has its own label
        counts = labels.bincount(minlength=10)
        assert (counts[:9] >= 1).all() and counts[:9].max() <= 12 and counts[9] <= 5
        # Neither are the files of a class in the order of their names.
        numbers = split.images[split.labels == 0][:, 1, 0, 0].mul(255).round()
        assert (numbers.diff() < 0).any()


def test_the_order_is_that_of_the_names_alone(tmp_path):
    samples = [("é/1.png", 0), ("é/2.png", 0), ("b/1.png", 1), ("b/2.png", 1)]
    order = [path for path, _ in folders.mixed_order(samples, Path())]
    assert sorted(order) == sorted(path for path, _ in samples)
    reversed_order = [path for path, _ in folders.mixed_order(samples[::-1], Path())]
    assert reversed_order == order
    # On another file system: elsewhere, and with the accent as a character of its own.
    moved = [(f"/elsewhere/{unicodedata.normalize('NFD', path)}", label) for path, label in samples]
    assert [
        unicodedata.normalize("NFC", path.removeprefix("/elsewhere/"))
        for path, _ in folders.mixed_order(moved, Path("/elsewhere"))
    ] == order
    # A file that comes or goes leaves the others in their order.
    assert [path for path, _ in folders.mixed_order(samples[1:], Path())] == [
        path for path in order if path != "é/1.png"
    ]


def test_folder_resize_and_n_train(folder):
    root, pixels = folder
    dataset = load_dataset(f"folder:{root}", image_size=8, n_train=4)
    assert dataset.train.images.shape == (4, 3, 8, 8) and dataset.test.images.shape == (2, 3, 8, 8)
    resized = Image.fromarray(pixels["test", "dog", 0]).resize((8, 8), Image.Resampling.BILINEAR)
    assert dataset.test.labels[place_of(np.asarray(resized), dataset.test)] == 1
    assert dataset.train.images.max() <= 1


def test_folder_with_grey_images_and_several_sizes(folder):
    root, _ = folder
    Image.fromarray(np.full((20, 20), 128, np.uint8)).save(root / "test" / "cat" / "grey.bmp")
    with pytest.raises(
        ValueError,
        match="image_size=None needs images of one size, but .*grey.bmp is 20x20 and .*0.png is 12x10; give image_size",
    ):
        load_dataset(f"folder:{root}")
    dataset = load_dataset(f"folder:{root}", image_size=8)
    assert dataset.test.labels[place_of(np.full((8, 8, 3), 128), dataset.test)] == 0


def test_folder_without_its_layout(folder):
    root, _ = folder
    with pytest.raises(ValueError, match=r"there is no folder '.*nowhere.train'; images belong in"):
        load_dataset(f"folder:{root}/nowhere")
    (root / "train" / "eel").mkdir()
    with pytest.raises(ValueError, match=r"dataset='folder:.*eel"):
        load_dataset(f"folder:{root}")
    Image.new("RGB", (12, 10)).save(root / "train" / "eel" / "0.png")
    with pytest.raises(ValueError, match=r"must hold the same classes; only one of them holds \['eel'\]"):
        load_dataset(f"folder:{root}")


def spoil(root):
    (root / "train" / "dog" / "broken.png").write_bytes(b"this is no picture")
    whole = (root / "train" / "cat" / "0.png").read_bytes()
    (root / "train" / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])


def test_unreadable_files_are_named_and_counted(folder):
    root, pixels = folder
    spoil(root)
    with pytest.raises(
        ValueError, match=r"2 of 8 files in .*train cannot be read: .*cut.png.*broken.png.*pass unreadable='skip'"
    ):
        load_dataset(f"folder:{root}")

    def load_readable():
        with pytest.warns(UserWarning, match=r"2 of 8 files in .*cut.png.*broken.png.* left out"):
            return load_dataset(f"folder:{root}", unreadable="skip", progress=False)

    dataset = load_readable()
    assert load_readable().fingerprint == dataset.fingerprint  # with the same warning again
    assert sorted(dataset.train.labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert dataset.train.labels[place_of(pixels["train", "dog", 2], dataset.train)] == 1
    with pytest.raises(ValueError, match="unreadable='ignore' is unknown; use one of refuse, skip"):
        load_dataset(f"folder:{root}", unreadable="ignore")


def test_decoded_once_and_again_after_a_change(folder, monkeypatch):
    root, pixels = folder
    first = load_dataset(f"folder:{root}")

    class DecodedAgain(BaseException):
        pass

    def refuse(*_):
        raise DecodedAgain

    with monkeypatch.context() as patch:
        patch.setattr("stir.data.folders.read_pixels", refuse)
        again = load_dataset(f"folder:{root}")
        with pytest.raises(DecodedAgain):
            load_dataset(f"folder:{root}", image_size=8)
    assert torch.equal(first.train.images, again.train.images) and again.fingerprint == first.fingerprint
    place = place_of(pixels["train", "cat", 0], first.train)
    Image.new("RGB", (12, 10), "white").save(root / "train" / "cat" / "0.png")
    changed = load_dataset(f"folder:{root}")
    assert (changed.train.images[place] == 1).all() and changed.fingerprint != first.fingerprint


def test_a_file_is_read_whatever_its_name_promises(folder):
    root, _ = folder
    path = root / "train" / "cat" / "0.png"
    before = load_dataset(f"folder:{root}").train.images
    path.rename(path.with_suffix(".gif"))
    assert torch.equal(
        load_dataset(f"folder:{root}").train.images.flatten(1).sort(0).values, before.flatten(1).sort(0).values
    )


# What counts


def load(root, **options):
    return load_dataset(f"folder:{root}", progress=False, **options)


def test_hidden_files_and_folders_do_not_count(folder):
    """Jupyter, macOS and version control make them."""
    root, pixels = folder
    before = load(root)
    copy = Image.fromarray(pixels["train", "cat", 0])
    for hidden in (".ipynb_checkpoints", "cat/.ipynb_checkpoints", ".git/deep"):
        (root / "train" / hidden).mkdir(parents=True)
        copy.save(root / "train" / hidden / "0-checkpoint.png")
    (root / "test" / ".empty").mkdir()
    (root / "train" / "dog" / "._0.png").write_bytes(b"what macOS writes beside a file")
    assert load(root).fingerprint == before.fingerprint and load(root).classes == ("cat", "dog")


def test_links_that_multiply_images_are_refused(folder, tmp_path_factory):
    root, _ = folder
    train = root / "train"

    def refused(link, target, text):
        link.symlink_to(target)
        with pytest.raises(ValueError, match=text):
            load(root)
        link.unlink()

    holds = r"link .*train/cat/again leads to a folder that holds it"
    refused(train / "cat" / "again", "../cat", holds)
    refused(train / "cat" / "again", "..", holds)
    refused(train / "cat" / "again", root, holds)
    refused(train / "cat" / "again.png", "0.png", r"again.png.* are one file, by a link; remove the link")
    refused(train / "cat" / "more", "../dog", "are one file")
    refused(train / "eel", "dog", "are one file")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    Image.new("RGB", (12, 10)).save(elsewhere / "0.png")
    refused(train / "eel", elsewhere, r"link .*train/eel leads out of the folder, to .*elsewhere.*; put the images")
    refused(train / "cat" / "9.png", elsewhere / "0.png", r"link .*9.png leads out of the folder")
    (root / "test").rename(elsewhere / "test")
    refused(root / "test", "train", "train/.*.png.* are one file, by a link")
    # The splits themselves may lie elsewhere, and the images in another folder inside.
    (root / "test").symlink_to(elsewhere / "test")
    (root / "all").mkdir()
    (train / "cat" / "0.png").rename(root / "all" / "0.png")
    (train / "cat" / "0.png").symlink_to("../../all/0.png")
    assert len(load(root).train) == 6 and len(load(root).test) == 2


def test_files_that_are_not_tried_are_counted_and_named(folder):
    root, _ = folder
    before = load(root)
    for name in ("cat/photo.heic", "cat/photo", "dog/drawing.eps", "readme.txt"):
        (root / "train" / name).write_bytes(b"")
    for _ in range(2):  # when the pixels come from the store, too
        with pytest.warns(
            UserWarning, match="4 files in .*train are left out.*cat/photo, .*photo.heic, .*drawing.eps, .*readme.txt"
        ):
            assert load(root).fingerprint == before.fingerprint
    for number in range(3):
        (root / "train" / "dog" / f"{number}.png").unlink()
    with pytest.raises(ValueError, match="no images in the class folder '.*dog' that can be read, only .*drawing.eps"):
        load(root)


def test_other_names_of_the_test_split(folder):
    root, _ = folder
    before = load(root)
    for name in ("val", "validation"):
        next(path for path in root.iterdir() if path.name != "train").rename(root / name)
        assert load(root).fingerprint == before.fingerprint
    (root / "validation").rename(root / "holdout")
    with pytest.raises(
        ValueError, match=r"there is no folder '.*/test'; images belong in PATH/train/<class>/ and PATH"
    ):
        load(root)


def test_the_test_split_is_the_first_with_classes(folder):
    """Test images often come without labels, and beside labelled ones for validation."""
    root, _ = folder
    before = load(root)
    (root / "test").rename(root / "val")
    (root / "test").mkdir()
    Image.new("RGB", (12, 10)).save(root / "test" / "0.png")
    (root / "test" / ".thumbnails").mkdir()
    assert load(root).fingerprint == before.fingerprint
    (root / "val").rename(root / "holdout")
    with pytest.raises(ValueError, match="there are no class folders in '.*test'"):
        load(root)


def test_names_of_classes_do_not_depend_on_how_accents_are_stored(tmp_path):
    """macOS may store two characters where Linux stores one."""
    names = ("zebra", "éclair", "eagle")
    splits = {}
    for forms in (("NFC", "NFC"), ("NFD", "NFD"), ("NFC", "NFD")):
        root = tmp_path / "-".join(forms)
        for split, form in zip(("train", "test"), forms, strict=True):
            for label, name in enumerate(names):
                place = root / split / unicodedata.normalize(form, name)
                place.mkdir(parents=True)
                Image.new("RGB", (2, 2), (label, 0, 0)).save(place / "0.png")
        splits[forms] = load(root)
    assert {each.classes for each in splits.values()} == {("eagle", "zebra", "éclair")}
    assert len({each.fingerprint for each in splits.values()}) == 1
    assert load_dataset(f"folder:{root}", classes="éclair, eagle", progress=False).classes == ("éclair", "eagle")
    (root / "test" / "éclair").mkdir()
    with pytest.raises(ValueError, match="two class folders in '.*test' read alike, 'éclair'"):
        load(root)
    (root / "test" / "éclair").rmdir()
    (root / "test" / unicodedata.normalize("NFD", "éclair") / "0.png").rename(root / "test" / "notes.txt")
    with pytest.raises(ValueError, match="there are no images in the class folder"):
        load(root)


def test_two_numbers_for_the_size(folder):
    root, pixels = folder
    dataset = load(root, image_size=(5, 7))
    assert dataset.train.images.shape == (6, 3, 5, 7)
    resized = Image.fromarray(pixels["test", "dog", 0]).resize((7, 5), Image.Resampling.BILINEAR)
    assert dataset.test.labels[place_of(np.asarray(resized), dataset.test)] == 1
    assert load(root, image_size=[8, 8]).fingerprint == load(root, image_size=8).fingerprint


@pytest.mark.parametrize("name", ["a.avif", "a.dds", "a.jp2", "a.webp", "a.tif", "a.ico", "a.png", "a.gif"])
def test_damage_of_any_format_is_skipped(folder, name):
    root, pixels = folder
    before = load(root).fingerprint
    path, random = root / "train" / "cat" / name, np.random.default_rng(0)
    Image.fromarray(pixels["train", "cat", 0]).save(path)
    whole = path.read_bytes()
    for length in (0, 3, 20, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.warns(UserWarning, match=f"1 of 7 files in .*{name}.*left out"):
            assert load(root, unreadable="skip").fingerprint == before
    for _ in range(20):  # some of these can be read; none may end in another error
        content = np.frombuffer(whole, np.uint8).copy()
        content[random.integers(0, min(len(whole), 160), 8)] = random.integers(0, 256, 8)
        path.write_bytes(content.tobytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load(root, unreadable="skip", image_size=8)


def test_broken_links_are_unreadable_files(folder):
    root, _ = folder
    before = load(root).fingerprint
    (root / "train" / "cat" / "lost.png").symlink_to("nowhere.png")
    (root / "train" / "cat" / "self.png").symlink_to("self.png")
    with pytest.raises(ValueError, match=r"2 of 8 files in .*lost.png \(.*No such file"):
        load(root)
    with pytest.warns(UserWarning, match="2 of 8 files"):
        assert load(root, unreadable="skip").fingerprint == before


def test_a_pipe_is_an_unreadable_file(folder):
    """To open it would wait for who writes into it, for ever."""
    root, _ = folder
    before = load(root).fingerprint
    os.mkfifo(root / "train" / "cat" / "pipe.png")
    with pytest.raises(ValueError, match=r"1 of 7 files in .*pipe.png \(it is no regular file\)"):
        load(root)
    with pytest.warns(UserWarning, match="1 of 7 files"):
        assert load(root, unreadable="skip").fingerprint == before


def test_a_line_break_in_a_name_is_no_line_break_in_a_message(folder):
    root, _ = folder
    (root / "train" / "cat" / "two\nlines.png").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"two\\nlines.png \(cannot identify") as error:
        load(root)
    assert "\n" not in str(error.value)


def test_names_that_are_not_utf8(folder):
    root, _ = folder
    name = os.fsencode(root / "train" / "cat") + b"/\xe9t\xe9.png"
    Image.new("RGB", (12, 10)).save(root / "train" / "cat" / "new.png")
    os.rename(root / "train" / "cat" / "new.png", name)
    assert len(load(root).train) == 7 and len(load(root).train) == 7
    Path(os.fsdecode(name)).write_bytes(b"damaged")
    with pytest.warns(UserWarning, match=r"1 of 7 files in .*\\xe9t\\xe9.png") as caught:
        load(root, unreadable="skip")
    str(caught[0].message).encode()  # can be printed
    os.rename(os.fsencode(root / "train" / "cat"), os.fsencode(root / "train") + b"/c\xe2t")
    with pytest.raises(ValueError, match=r"name of the class folder c\\xe2t in .* is not UTF-8; rename it"):
        load(root)


# The decoded pixels in the store


def cached():
    """The pixels of the training images in a store of their own."""
    (path,) = [path for path in folders._images_folder().glob("*.safetensors") if path.stat().st_size > 1500]
    return path


@pytest.mark.usefixtures("own_store")
def test_a_flipped_bit_is_not_served(folder):
    root, _ = folder
    before = load(root)
    path = cached()
    whole = path.read_bytes()
    for place in (12, 60, len(whole) // 2, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        assert load(root).fingerprint == before.fingerprint
        assert path.read_bytes() != bytes(damaged)  # mended


@pytest.mark.usefixtures("own_store")
def test_rewritten_pixels_are_not_served_stale(folder):
    """With the same size, name and time of writing, as after `cp -p` or `rsync -t`, and right after the first load."""
    root, _ = folder
    path = root / "train" / "cat" / "0.bmp"
    for value in (10, 20, 30):
        before = path.stat() if path.exists() else None
        Image.new("RGB", (12, 10), (value, value, value)).save(path)
        if before:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            assert path.stat().st_size == before.st_size
        place_of(np.full((10, 12, 3), value), load(root).train)


@pytest.mark.usefixtures("own_store")
def test_swapped_folders_are_not_served_stale(tmp_path):
    for number, name in enumerate(("cat", "dog")):
        for split in ("train", "test"):
            path = tmp_path / split / name / "0.bmp"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
            os.utime(path, ns=(0, 0))
    before = load(tmp_path)
    train = tmp_path / "train"
    (train / "cat").rename(train / "other")
    (train / "dog").rename(train / "cat")
    (train / "other").rename(train / "dog")
    after = load(tmp_path)
    assert torch.equal(after.train.labels, before.train.labels)
    assert torch.equal(after.train.images, before.train.images.flip(0))


@pytest.mark.usefixtures("own_store")
def test_superseded_pixels_and_litter_are_removed(folder):
    root, _ = folder
    load(root)
    images = folders._images_folder()
    names = sorted(path.name for path in images.glob("*.safetensors"))
    assert len(names) == 2
    (images / "0123456789abcdef.safetensors").write_bytes(b"of another version")
    (images / f"{names[0]}.123.partial").write_bytes(b"of a killed run")
    (images / "fedcba9876543210.3.safetensors.1.partial").write_bytes(b"being written")
    assert len(folders.image_litter()) == 3
    Image.new("RGB", (12, 10)).save(root / "train" / "cat" / "0.png")
    with FileLock(images / "fedcba9876543210.lock"):
        load(root)
        assert [path.name for path in folders.image_litter()] == ["fedcba9876543210.3.safetensors.1.partial"]
    assert sorted(path.name for path in images.glob("*.safetensors")) == names
