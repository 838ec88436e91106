"""Folders of images written by Pillow: pixels, order, decoding once, unreadable files."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
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
