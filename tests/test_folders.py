"""Folders of images that Pillow wrote: read as they are, decoded once, and what cannot be read."""

import numpy as np
import pytest
import torch
from PIL import Image

from stir import folders
from stir.data import load_dataset


def test_folder(folder):
    root, pixels = folder
    dataset = load_dataset(f"folder:{root}")
    assert dataset.classes == ("cat", "dog") and dataset.channels == 3
    assert dataset.train.images.shape == (6, 3, 10, 12) and dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.test.labels.tolist() == [0, 1]
    for index, key in enumerate([("train", name, number) for name in ("cat", "dog") for number in range(3)]):
        expected = pixels[key].astype(np.float32).transpose(2, 0, 1) / 255
        assert np.allclose(dataset.train.images[index].numpy(), expected, atol=1e-6)


def test_folder_resize_and_n_train(folder):
    root, pixels = folder
    dataset = load_dataset(f"folder:{root}", image_size=8, n_train=4)
    assert dataset.train.images.shape == (4, 3, 8, 8) and dataset.test.images.shape == (2, 3, 8, 8)
    resized = Image.fromarray(pixels["test", "dog", 0]).resize((8, 8), Image.Resampling.BILINEAR)
    assert np.allclose(dataset.test.images[1].numpy(), np.asarray(resized).transpose(2, 0, 1) / 255, atol=1e-6)
    assert dataset.train.images.max() <= 1


def test_folder_with_grey_images_and_several_sizes(folder):
    root, _ = folder
    Image.fromarray(np.full((20, 20), 128, np.uint8)).save(root / "test" / "cat" / "grey.bmp")
    with pytest.raises(ValueError, match="image_size=None needs images of one size, but .*grey.bmp is 20x20 and .*0.png is 12x10; give image_size"):
        load_dataset(f"folder:{root}")
    dataset = load_dataset(f"folder:{root}", image_size=8)
    assert torch.allclose(dataset.test.images[1], torch.tensor(128 / 255))


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
    with pytest.raises(ValueError, match=r"2 of 8 files in .*train cannot be read: .*cut.png.*broken.png.*pass unreadable='skip'"):
        load_dataset(f"folder:{root}")
    for _ in range(2):  # told each time
        with pytest.warns(UserWarning, match=r"2 of 8 files in .*cut.png.*broken.png.* left out"):
            dataset = load_dataset(f"folder:{root}", unreadable="skip", progress=False)
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    expected = pixels["train", "dog", 2].transpose(2, 0, 1) / np.float32(255)
    assert np.allclose(dataset.train.images[5].numpy(), expected, atol=1e-6)
    with pytest.raises(ValueError, match="unreadable='ignore' is unknown; use one of refuse, skip"):
        load_dataset(f"folder:{root}", unreadable="ignore")


def test_decoded_once_and_again_after_a_change(folder, monkeypatch):
    root, _ = folder
    first = load_dataset(f"folder:{root}")

    def refuse(*_):
        raise AssertionError("decoded again")

    with monkeypatch.context() as patch:
        patch.setattr("stir.folders._read", refuse)
        again = load_dataset(f"folder:{root}")
        with pytest.raises(AssertionError, match="decoded again"):
            load_dataset(f"folder:{root}", image_size=8)
    assert torch.equal(first.train.images, again.train.images) and again.fingerprint == first.fingerprint
    Image.new("RGB", (12, 10), "white").save(root / "train" / "cat" / "0.png")
    changed = load_dataset(f"folder:{root}")
    assert (changed.train.images[0] == 1).all() and changed.fingerprint != first.fingerprint


def test_a_file_is_read_whatever_its_name_promises(folder):
    root, _ = folder
    path = root / "train" / "cat" / "0.png"
    before = load_dataset(f"folder:{root}").train.images
    path.rename(path.with_suffix(".gif"))
    assert folders._formats(".gif")[0] == "GIF" and set(folders._formats(".gif")) == set(Image.OPEN)
    assert torch.equal(load_dataset(f"folder:{root}").train.images, before)
