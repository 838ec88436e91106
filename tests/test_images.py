"""Images from tensors, data sets and loaders."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from stir.data import Dataset as LabelledDataset
from stir.data import Split
from stir.data.deferred import DeferredSplit, describe
from stir.data.images import gather_images

IMAGES = torch.rand(7, 3, 4, 5, generator=torch.Generator().manual_seed(0))


class Plain(Dataset):
    """Items are images alone."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(IMAGES)


class Dicts(Plain):
    """Items are dicts, as Hugging Face's processors make them."""

    def __init__(self, images, key="pixel_values"):
        super().__init__(images)
        self.key = key

    def __getitem__(self, index):
        return {"label": index, self.key: self.images[index]}


class Foreign:
    """A data set that is none of torch's, as `datasets.Dataset`, which has a shape of rows and columns."""

    def __init__(self, items):
        self.items = items
        self.shape = len(items), 2

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


@pytest.mark.parametrize(
    "source",
    [
        IMAGES,
        Dicts(IMAGES),
        Dicts(IMAGES, "image"),
        DataLoader(Dicts(IMAGES, "img"), batch_size=3),
        Foreign(IMAGES),
        Foreign(Dicts(IMAGES)),
        DataLoader(Foreign(Dicts(IMAGES)), batch_size=2),
        Foreign([({"image": image}, 0) for image in IMAGES]),
        Plain(IMAGES),
        TensorDataset(IMAGES, torch.arange(7)),
        Stream(),
        DataLoader(Plain(IMAGES), batch_size=3),
        DataLoader(TensorDataset(IMAGES, torch.arange(7)), batch_size=2),
        DataLoader(Stream(), batch_size=4),
    ],
    ids=[
        "tensor",
        "dicts",
        "image",
        "loader of dicts",
        "foreign",
        "foreign dicts",
        "loader of foreign dicts",
        "labelled dicts",
        "dataset",
        "labelled",
        "stream",
        "loader",
        "labelled loader",
        "stream loader",
    ],
)
def test_every_source_gives_the_same_images(source):
    assert torch.equal(gather_images(source), IMAGES)


def test_a_foreign_stream(unchecked):
    """As `datasets.IterableDataset`."""

    class Stream:
        def __iter__(self):
            return iter({"image": image} for image in IMAGES)

    assert torch.equal(gather_images(Stream()), IMAGES)


def test_pictures_of_pillow_are_images():
    """Hugging Face's items hold them."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    for each, expected in ((pixels, pixels.transpose(2, 0, 1)), (pixels[:, :, 0], pixels[None, :, :, 0])):
        images = gather_images(Foreign([{"image": Image.fromarray(each), "label": 0}]))
        assert np.allclose(images[0].numpy(), expected / 255, atol=1e-6)
    hidden = Image.fromarray(np.zeros((4, 5, 4), np.uint8))  # transparent
    assert (gather_images(Plain([hidden])) == 1).all()


def test_bytes_in_a_data_set_are_shares_of_255():
    pixels = torch.randint(0, 256, (5, 3, 4, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for source in (Plain(pixels), Dicts(pixels), DataLoader(Plain(pixels), batch_size=2)):
        assert torch.equal(gather_images(source), pixels / 255)


@pytest.mark.parametrize("colour", [True, False])
def test_hugging_faces_data_sets(colour, unchecked):
    """The library itself, where it is installed."""
    datasets = pytest.importorskip("datasets")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 10, 3) if colour else (5, 8, 10), np.uint8)
    wanted = torch.from_numpy(pixels.reshape(5, 8, 10, -1)).permute(0, 3, 1, 2) / 255
    rows = {"image": [Image.fromarray(each) for each in pixels], "label": [0, 1, 0, 1, 0]}
    images = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    loader = DataLoader(images.with_format("torch"), batch_size=2)
    for source in (images, images.with_format("torch"), images.to_iterable_dataset(), images["image"], loader):
        assert torch.equal(gather_images(source), wanted)
    with pytest.raises(ValueError, match="is a dict with the keys 'picture', 'label'"):
        gather_images(images.rename_column("image", "picture"))
    with pytest.raises(ValueError, match="not a DatasetDict"):
        gather_images(datasets.DatasetDict(train=images))


def test_splits_and_data_sets_with_labels_are_no_images(unchecked):
    split = Split(IMAGES, torch.arange(7))
    for source in (split, LabelledDataset("seven", split, split, ("a", "b")), DeferredSplit(*describe(split), None)):
        with pytest.raises(ValueError, match=f"images is a {type(source).__name__}, with labels; .*test.take"):
            gather_images(source)


def test_a_loader_is_read_once():
    loader = DataLoader(Plain(IMAGES), batch_size=3, shuffle=True, generator=torch.Generator().manual_seed(0))
    images = gather_images(loader)
    assert sorted(images.flatten(1).sum(1).tolist()) == pytest.approx(sorted(IMAGES.flatten(1).sum(1).tolist()))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (Plain(["cat.png"]), r"images: item 0 holds a str, not a tensor; .*ToTensor\(\)"),
        (Plain([IMAGES[0], IMAGES[0, :, :2]]), r"images: item 1 has shape \(3, 2, 5\) after \(3, 4, 5\); resize"),
        (Dicts(["cat.png"]), "images: item 0 holds a str under 'pixel_values', not a tensor; make it one"),
        (
            Dicts(IMAGES, "pixels"),
            "images: item 0 is a dict with the keys 'label', 'pixels'; its image must be under 'pixel_values', 'image' "
            "or 'img'",
        ),
        (Foreign(Dicts(IMAGES, "x")), "images: item 0 is a dict with the keys 'label', 'x'"),
        (IMAGES.numpy(), "a torch Dataset or DataLoader of images, not a ndarray"),
        (Plain([[]]), "images: item 0 holds a list, not a tensor"),
        (Plain([]), "images holds no image"),
        (Plain(IMAGES * 255), r"images must lie in \[0, 1\]"),
        ([IMAGES[0]], "a torch Dataset or DataLoader of images, not a list"),
    ],
)
def test_wrong_sources(unchecked, source, text):
    with pytest.raises(ValueError, match=text):
        gather_images(source)


def test_grey_pictures_are_upright_and_on_white():
    """As those in colour are."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12), np.uint8)
    turned = Image.fromarray(pixels)
    turned.getexif()[0x0112] = 6
    assert torch.equal(gather_images(Plain([turned]))[0, 0], torch.from_numpy(np.rot90(pixels, -1) / np.float32(255)))
    clear = Image.fromarray(np.zeros((4, 4), np.uint8))
    clear.info["transparency"] = 0
    assert gather_images(Plain([clear])).min() == 1
