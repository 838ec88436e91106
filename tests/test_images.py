"""Images from tensors, data sets and loaders."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

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


@pytest.mark.parametrize(
    "source",
    [
        IMAGES,
        Plain(IMAGES),
        TensorDataset(IMAGES, torch.arange(7)),
        Stream(),
        DataLoader(Plain(IMAGES), batch_size=3),
        DataLoader(TensorDataset(IMAGES, torch.arange(7)), batch_size=2),
        DataLoader(Stream(), batch_size=4),
    ],
    ids=["tensor", "dataset", "labelled", "stream", "loader", "labelled loader", "stream loader"],
)
def test_every_source_gives_the_same_images(source):
    assert torch.equal(gather_images(source), IMAGES)


def test_a_loader_is_read_once():
    loader = DataLoader(Plain(IMAGES), batch_size=3, shuffle=True, generator=torch.Generator().manual_seed(0))
    images = gather_images(loader)
    assert sorted(images.flatten(1).sum(1).tolist()) == pytest.approx(sorted(IMAGES.flatten(1).sum(1).tolist()))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (Plain(["cat.png"]), r"images: item 0 holds a str, not a tensor; .*ToTensor\(\)"),
        (Plain([IMAGES[0], IMAGES[0, :, :2]]), r"images: item 1 has shape \(3, 2, 5\) after \(3, 4, 5\); resize"),
        (Plain([]), "images holds no image"),
        (Plain(IMAGES * 255), r"images must lie in \[0, 1\]"),
        ([IMAGES[0]], "a torch Dataset or DataLoader of images, not a list"),
    ],
)
def test_wrong_sources(unchecked, source, text):
    with pytest.raises(ValueError, match=text):
        gather_images(source)
