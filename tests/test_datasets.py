"""The digits, parts of data sets, and torchvision's from small files in their formats."""

import hashlib
import pickle
from itertools import pairwise
from urllib.error import URLError

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_digits

from stir.data import libraries
from stir.data.classes import quoted, selected_numbers
from stir.data.datasets import TORCHVISION_DATASETS, Dataset, Split, load_dataset


def test_digits(digits):
    assert digits.train.images.shape == (1400, 1, 16, 16) and digits.test.images.shape == (397, 1, 16, 16)
    assert len(digits.train) == len(digits.train.labels) == 1400 and len(digits.test) == len(digits.test.labels) == 397
    for split in (digits.train, digits.test):
        assert split.images.dtype == torch.float32 and split.labels.dtype == torch.int64
        assert split.images.min() == 0 and split.images.max() <= 1
        assert sorted(split.labels.unique().tolist()) == list(range(10))
    assert digits.train.images.max() > 0.9
    assert digits.channels == 1 and digits.classes == tuple("0123456789")


def test_a_gallery_has_one_of_each_class_in_turn():
    labels = torch.tensor([2, 2, 0, 2, 1, 0])
    split = Split(torch.arange(6).float().view(6, 1, 1, 1) / 6, labels)
    indices = (split.one_of_each(6).flatten() * 6).round().int().tolist()
    assert indices == [2, 4, 0, 5, 1, 3]  # the first of classes 0, 1 and 2, then the second, then the third
    assert torch.equal(split.one_of_each(2), split.one_of_each(6)[:2])
    for count in (0, 7):
        with pytest.raises(ValueError, match=f"n_images={count} must lie between 1 and 6"):
            split.one_of_each(count)


def test_digits_at_their_own_size_are_scikit_learns():
    pixels, labels = load_digits(return_X_y=True)
    dataset = load_dataset("digits", image_size=8)
    images = torch.cat([dataset.train.images, dataset.test.images]).flatten(1).numpy()
    assert np.array_equal(images, np.asarray(pixels, np.float32) / 16)
    assert np.array_equal(torch.cat([dataset.train.labels, dataset.test.labels]).numpy(), labels)


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
    # Each image is one of the whole data set, with its label, and none occurs twice.
    whole = digits.train.images.flatten(1)
    place = torch.cdist(few.train.images.flatten(1), whole).argmin(dim=1)
    assert torch.equal(whole[place], few.train.images.flatten(1)) and torch.equal(
        digits.train.labels[place], few.train.labels
    )
    assert len(place.unique()) == 50
    assert len(few.train.labels.unique()) == 10


def test_the_fingerprint_sees_labels(digits):
    labels = digits.train.labels.clone()
    labels[0] = (labels[0] + 1) % 10
    other = Dataset("digits", Split(digits.train.images, labels), digits.test, digits.classes)
    assert other.fingerprint != digits.fingerprint


@pytest.mark.parametrize("inference", [False, True])
def test_what_a_split_tells_follows_changes_in_place(digits, inference):
    def content(dataset):
        return dataset.fingerprint, dataset.normalization

    with torch.inference_mode(inference):
        train = Split(digits.train.images[:50].clone(), digits.train.labels[:50].clone())
        dataset = Dataset("digits", train, digits.test, digits.classes)
        before = content(dataset)
        train.images[:10].mul_(0.5)
        changed = content(dataset)
        train.labels[0] += 1
        relabelled = content(dataset)
    assert len({fingerprint for fingerprint, _ in (before, changed, relabelled)}) == 3
    assert before[1] != changed[1] == relabelled[1]
    copied = Dataset("digits", Split(train.images.clone(), train.labels.clone()), digits.test, digits.classes)
    assert content(dataset) == content(pickle.loads(pickle.dumps(dataset))) == content(copied) == relabelled


def test_a_split_is_hashed_once(digits, monkeypatch):
    hashed = []
    monkeypatch.setattr(hashlib, "sha256", lambda *data, real=hashlib.sha256: hashed.append(1) or real(*data))
    split = digits.train[:50]
    assert split.fingerprint == split.fingerprint and split.normalization is split.normalization
    assert len(hashed) == 1


@pytest.mark.parametrize("n_train", [0, -1, 1401])
def test_n_train_out_of_range(n_train):
    with pytest.raises(
        ValueError, match=f"n_train={n_train} must lie between 1 and the 1400 training images of 'digits'"
    ):
        load_dataset("digits", n_train=n_train)


def test_no_class_is_left_without_training_images():
    with pytest.raises(
        ValueError, match=r"n_train=12 leaves no training image of '\d'.* with seed=0; take more images"
    ):
        load_dataset("digits", n_train=12)
    assert len(load_dataset("digits", classes="0, 1", n_train=12).train.labels.unique()) == 2


def test_height_and_width(digits):
    dataset = load_dataset("digits", image_size=(16, 24))
    assert dataset.train.images.shape == (1400, 1, 16, 24)
    assert torch.equal(load_dataset("digits", image_size=[16, 16]).train.images, digits.train.images)


@pytest.mark.parametrize("image_size", [0, -1, (8,), (8, 8, 8), (8, 0), "8", 8.0, ("8", 8)])
def test_sizes_that_are_none(unchecked, image_size):
    with pytest.raises(ValueError, match=r"image_size=.* must be a whole number, at least 1, or two such, as \(height"):
        load_dataset("digits", image_size=image_size)


def test_a_user_that_does_not_exist():
    with pytest.raises(ValueError, match="dataset='folder:~nobody-here/x': there is no folder '~nobody-here/x/train'"):
        load_dataset("folder:~nobody-here/x")


def test_unknown_name():
    with pytest.raises(
        ValueError, match="dataset='cifar' is unknown; use 'digits', 'mnist', .*'cifar10', .* or 'folder:PATH'"
    ):
        load_dataset("cifar")


# Parts of a data set


@pytest.mark.parametrize(
    ("selection", "numbers"),
    [("0-4", [0, 1, 2, 3, 4]), ("7, 2", [7, 2]), (["9", "0-1"], [9, 0, 1]), ("3-3,5", [3, 5])],
)
def test_classes(digits, selection, numbers):
    part = load_dataset("digits", classes=selection)
    assert part.classes == tuple(map(str, numbers)) and part.name != "digits"
    for split, whole in ((part.train, digits.train), (part.test, digits.test)):
        keep = torch.isin(whole.labels, torch.tensor(numbers))
        assert torch.equal(split.images, whole.images[keep])
        assert [numbers[label] for label in split.labels.tolist()] == whole.labels[keep].tolist()
    assert part.fingerprint != digits.fingerprint


def test_classes_by_name(folder):
    root, _ = folder
    dataset = load_dataset(f"folder:{root}", classes="dog, cat")
    assert dataset.classes == ("dog", "cat") and dataset.test.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("selection", "text"),
    [
        ("0-10", "classes: '0-10' is no class; use their numbers, a range such as '0-9'"),
        ("4-2", "classes: '4-2' is no class"),
        ("cat", "classes: 'cat' is no class"),
        ("-1", "classes: '-1' is no class"),
        ("3", "classes='3' must name at least two different classes"),
        ("1, 0-2", "classes='1, 0-2' must name at least two different classes, each once"),
    ],
)
def test_unknown_classes(selection, text):
    with pytest.raises(ValueError, match=text):
        load_dataset("digits", classes=selection)


@pytest.mark.parametrize(
    "selection", [["Bonn, Germany", "cat"], '"Bonn, Germany", cat', ['"Bonn, Germany"', "cat"], "0, 1", ' 0,"cat"']
)
def test_names_with_a_comma(tmp_path, selection):
    for split in ("train", "test"):
        for number, name in enumerate(("Bonn, Germany", "cat", "dog")):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / split / name / "a.png")
    part = load_dataset(f"folder:{tmp_path}", classes=selection)
    assert part.classes == ("Bonn, Germany", "cat") and len(part.train) == 2
    for wrong in ("Bonn, Germany, cat", "dog, Bonn"):
        with pytest.raises(ValueError, match="'Bonn' is no class; .* or names: \"Bonn, Germany\", cat, dog"):
            load_dataset(f"folder:{tmp_path}", classes=wrong)
    for wrong in ('"Bonn, Germany', 'cat, "do"g'):
        with pytest.raises(ValueError, match="classes: '.*' cannot be split at its commas"):
            load_dataset(f"folder:{tmp_path}", classes=wrong)


ODD_NAMES = (" cat", "cat", 'a"b, c', '"', "x\ny", "01", "2")


def test_names_in_quotes_count_as_they_stand():
    assert selected_numbers('" cat", dog', (" cat", "dog"))[1] == [0, 1]
    with pytest.raises(ValueError, match="classes: ' cat' is no class"):
        selected_numbers('" cat", dog', ("cat", "dog"))
    text = ", ".join(map(quoted, ODD_NAMES))
    assert selected_numbers(text, ODD_NAMES)[1] == [*range(len(ODD_NAMES))]


@pytest.mark.parametrize("selection", [5, b"0-4", {"0", "1"}, {"0": 1, "1": 2}, 1.5])
def test_classes_that_are_neither_text_nor_a_list(unchecked, selection):
    """Of bytes the numbers were taken, of a set the order of its hashes."""
    with pytest.raises(ValueError, match="classes=.* must be text such as '0-4', or a list of such, in order"):
        load_dataset("digits", classes=selection)


@pytest.mark.parametrize("selection", ["9" * 5000, "0-" + "9" * 5000, "٣", "²"])
def test_numbers_that_are_none(selection):
    with pytest.raises(ValueError, match="classes: '.*' is no class"):
        load_dataset("digits", classes=selection)


def test_a_number_of_several_classes():
    with pytest.raises(ValueError, match="classes: '001' is no class"):
        selected_numbers("001", ("1", "01", "2"))
    assert selected_numbers("1-2", ("1", "01", "2"))[1] == [0, 1, 2]


@pytest.mark.parametrize(
    ("selection", "expected"), [("1-2", ("1", "2")), ("2-10", ("10", "2")), ("10, 1", ("10", "1"))]
)
def test_classes_that_are_called_by_numbers(tmp_path, selection, expected):
    """Folders come in the order of their names: 1, 10, 2."""
    for split in ("train", "test"):
        for name in ("1", "2", "10"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / split / name / "a.png")
    assert load_dataset(f"folder:{tmp_path}", classes=selection).classes == expected
    with pytest.raises(
        ValueError, match="classes: '1-3' is no class; use their numbers, a range such as '1-10', or names: 1, 10, 2"
    ):
        load_dataset(f"folder:{tmp_path}", classes="1-3")


def test_growing_training_sets_hold_each_other():
    sizes = [50, 100, 400]
    parts = [load_dataset("digits", classes="0-6", n_train=size, seed=3).train for size in sizes]
    for small, large in pairwise(parts):
        assert torch.equal(large.images[: len(small)], small.images)
    other = load_dataset("digits", classes="0-6", n_train=50, seed=4).train
    assert not torch.equal(other.images, parts[0].images)


# torchvision's data sets, from small files in their own formats


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    monkeypatch.setenv("STIR_STORE", str(tmp_path / "store"))
    folder = tmp_path / "store" / "downloads"
    folder.mkdir(parents=True)
    return folder


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def idx(array):
    """The format of MNIST's files (LeCun)."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_mnist_files(downloads, name, folder):
    raw, random = downloads / folder / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    arrays = {}
    for split, prefix in {"train": "train", "test": "t10k"}.items():
        arrays[split] = random.integers(0, 256, (6, 28, 28), np.uint8), random.integers(0, 10, 6, np.uint8)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(arrays[split][0]))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(arrays[split][1]))
    dataset = load_dataset(name)
    assert dataset.channels == 1 and len(dataset.classes) == 10
    for split in ("train", "test"):
        assert np.allclose(getattr(dataset, split).images[:, 0].numpy(), arrays[split][0] / 255, atol=1e-6)
        assert getattr(dataset, split).labels.tolist() == arrays[split][1].tolist()
    assert load_dataset(name, image_size=14).test.images.shape == (6, 1, 14, 14)


@pytest.mark.parametrize(
    ("name", "kind", "key"), [("cifar10", "CIFAR10", b"labels"), ("cifar100", "CIFAR100", b"fine_labels")]
)
def test_cifar_files(downloads, monkeypatch, name, kind, key):
    """Written by hand: torchvision reads these pickles only after their checksum was right."""
    dataset_class = getattr(torchvision.datasets, kind)
    base, random, pixels, lists = downloads / dataset_class.base_folder, np.random.default_rng(0), {}, {}
    base.mkdir()
    for split, listed in {"train": dataset_class.train_list, "test": dataset_class.test_list}.items():
        pixels[split], lists[split] = [], []
        for file, _ in listed:
            data = random.integers(0, 256, (2, 3072), np.uint8)
            (base / file).write_bytes(pickle.dumps({"data": data, key.decode(): [1, 0]}))
            pixels[split].append(data)
            lists[split].append([file, md5(base / file)])
    (base / dataset_class.meta["filename"]).write_bytes(pickle.dumps({dataset_class.meta["key"]: ["cat", "dog"]}))
    monkeypatch.setattr(dataset_class, "train_list", lists["train"])
    monkeypatch.setattr(dataset_class, "test_list", lists["test"])
    monkeypatch.setattr(
        dataset_class, "meta", {**dataset_class.meta, "md5": md5(base / dataset_class.meta["filename"])}
    )
    dataset = load_dataset(name)
    assert dataset.classes == ("cat", "dog") and dataset.train.labels.tolist() == [1, 0] * len(dataset_class.train_list)
    expected = np.concatenate(pixels["train"]).reshape(-1, 3, 32, 32) / 255
    assert np.allclose(dataset.train.images.numpy(), expected, atol=1e-6)


def test_svhn_files(downloads, monkeypatch):
    random, lists = np.random.default_rng(0), {}
    dataset_class = torchvision.datasets.SVHN
    for split in ("train", "test"):
        data, labels = random.integers(0, 256, (32, 32, 3, 4), np.uint8), np.array([[10], [1], [2], [9]])
        scipy.io.savemat(downloads / f"{split}_32x32.mat", {"X": data, "y": labels})
        lists[split] = ["", f"{split}_32x32.mat", md5(downloads / f"{split}_32x32.mat")]
    monkeypatch.setattr(dataset_class, "split_list", lists)
    dataset = load_dataset("svhn")
    assert dataset.test.labels.tolist() == [0, 1, 2, 9] and dataset.classes == tuple("0123456789")
    assert np.allclose(dataset.test.images.numpy(), data.transpose(3, 2, 0, 1) / 255, atol=1e-6)


@pytest.fixture
def stl10(downloads, monkeypatch):
    """20 cats, then 20 dogs, in the format of STL-10's files: the pixels as stored, and the data set as loaded."""
    dataset_class, random = torchvision.datasets.STL10, np.random.default_rng(0)
    base = downloads / dataset_class.base_folder
    base.mkdir()
    (base / dataset_class.class_names_file).write_text("cat\ndog\n")
    data = random.integers(0, 256, (40, 3, 96, 96), np.uint8)
    lists = {}
    for split, listed in {"train": dataset_class.train_list, "test": dataset_class.test_list}.items():
        (base / listed[0][0]).write_bytes(data.tobytes())
        (base / listed[1][0]).write_bytes(bytes([1] * 20 + [2] * 20))  # from 1, as in the original
        lists[split] = [[file, md5(base / file)] for file, _ in listed[:2]]
    monkeypatch.setattr(dataset_class, "train_list", lists["train"])
    monkeypatch.setattr(dataset_class, "test_list", lists["test"])
    return data, load_dataset("stl10")


def test_stl10_files(stl10):
    data, dataset = stl10
    assert dataset.classes == ("cat", "dog") and len(dataset.train) == len(dataset.test) == 40
    # Stored column by column.
    stored = torch.from_numpy(data.transpose(0, 1, 3, 2) / 255).float().flatten(1)
    places = torch.cdist(dataset.test.images.flatten(1), stored).argmin(dim=1)
    assert torch.allclose(dataset.test.images.flatten(1), stored[places], atol=1e-6)
    assert sorted(places.tolist()) == list(range(40))
    assert torch.equal(dataset.test.labels, (places >= 20).long())


def test_stl10_comes_mixed(stl10):
    """Its page does not say in which order the files hold the classes."""
    _, dataset = stl10
    for split in (dataset.train, dataset.test):
        assert 5 <= split.labels[:20].sum() <= 15 and split.labels[:5].unique().tolist() == [0, 1]
    again = load_dataset("stl10", classes="dog, cat")
    assert torch.equal(again.test.images, dataset.test.images) and torch.equal(
        again.test.labels, 1 - dataset.test.labels
    )


@pytest.mark.parametrize("name", list(TORCHVISION_DATASETS))
def test_without_a_network(downloads, monkeypatch, name):
    def refuse(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(
        ConnectionError,
        match=f"dataset='{name}' is not in .*downloads and cannot be downloaded .*put its files into .*downloads",
    ):
        load_dataset(name)


def test_every_data_set_of_torchvisions_has_its_files_and_a_server():
    for name, source in TORCHVISION_DATASETS.items():
        dataset_class = getattr(torchvision.datasets, source.class_name)
        listed = str(
            [getattr(dataset_class, each, "") for each in ("resources", "train_list", "test_list", "split_list")]
        )
        assert all(file in listed for file in source.files), name
        assert libraries._addresses(dataset_class)[0].startswith("http")
