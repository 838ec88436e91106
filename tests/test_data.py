"""The digits, and folders of images that Pillow wrote."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from stir.data import load_dataset


def test_digits(digits):
    assert digits.train.images.shape == (1400, 1, 16, 16) and digits.test.images.shape == (397, 1, 16, 16)
    assert len(digits.train) == len(digits.train.labels) == 1400 and len(digits.test) == len(digits.test.labels) == 397
    for split in (digits.train, digits.test):
        assert split.images.dtype == torch.float32 and split.labels.dtype == torch.int64
        assert split.images.min() == 0 and split.images.max() <= 1
        assert sorted(split.labels.unique().tolist()) == list(range(10))
    assert digits.train.images.max() > 0.9
    assert digits.channels == 1 and digits.classes == tuple("0123456789")


def test_digits_at_their_own_size_are_scikit_learns():
    raw, dataset = load_digits(), load_dataset("digits", image_size=8)
    images = torch.cat([dataset.train.images, dataset.test.images])[:, 0].numpy()
    assert np.array_equal(images, raw.images.astype(np.float32) / 16)
    assert np.array_equal(torch.cat([dataset.train.labels, dataset.test.labels]).numpy(), raw.target)


def test_digits_are_deterministic(digits):
    again = load_dataset("digits")
    assert torch.equal(again.train.images, digits.train.images) and torch.equal(again.test.labels, digits.test.labels)
    assert again.fingerprint == digits.fingerprint


def test_n_train(digits):
    state = torch.get_rng_state()
    few, again = (load_dataset("digits", n_train=50) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(few.train) == 50 and len(few.test) == 397
    assert torch.equal(few.train.images, again.train.images) and few.fingerprint == again.fingerprint
    assert few.fingerprint != digits.fingerprint
    # Every kept image is one of the whole set's, with its label, and none is kept twice.
    whole = digits.train.images.flatten(1)
    place = torch.cdist(few.train.images.flatten(1), whole).argmin(dim=1)
    assert torch.equal(whole[place], few.train.images.flatten(1)) and torch.equal(digits.train.labels[place], few.train.labels)
    assert len(place.unique()) == 50
    assert len(few.train.labels.unique()) == 10


def test_the_fingerprint_sees_labels(digits):
    from stir.data import Dataset, Split

    labels = digits.train.labels.clone()
    labels[0] = (labels[0] + 1) % 10
    other = Dataset("digits", Split(digits.train.images, labels), digits.test, digits.classes)
    assert other.fingerprint != digits.fingerprint


@pytest.fixture
def folder(tmp_path):
    """3 training and 1 test image of each of 2 classes; returns their pixels."""
    random, pixels = np.random.default_rng(0), {}
    for split, count in {"train": 3, "test": 1}.items():
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                array = random.integers(0, 256, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(array).save(tmp_path / split / name / f"{number}.png")
                pixels[split, name, number] = array
    return tmp_path, pixels


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
    with pytest.raises(ValueError, match="image_size=None needs images of one size, but .*grey.bmp is 20x20 and the first is 12x10; give image_size"):
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


@pytest.mark.parametrize("n_train", [0, -1, 1401])
def test_n_train_out_of_range(n_train):
    with pytest.raises(ValueError, match=f"n_train={n_train} must lie between 1 and the 1400 training images of 'digits'"):
        load_dataset("digits", n_train=n_train)


def test_unknown_name():
    with pytest.raises(ValueError, match="dataset='cifar10' is unknown; use 'digits' or 'folder:PATH'"):
        load_dataset("cifar10")
