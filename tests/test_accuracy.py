"""The accuracy is the share of right answers, read from the device once."""

import pytest
import torch
from helpers.waits import DEVICE, Waits
from torch import nn

import stir
from stir.data import Dataset, Split
from stir.training.accuracy import accuracy


def test_the_accuracy_is_read_once(few):
    waits = []
    for n in (20, 40):
        some = Split(few.images[:n], few.labels[:n])
        with Waits(answer=1) as counted:
            accuracy(stir.build_model("resnet10", 10, width=4, channels=1), some, device=DEVICE, batch_size=10)
        waits.append(counted.count - counted.copies)  # without the images, which are where the caller has them
    assert waits[0] == waits[1]


def test_accuracy_is_the_share_of_right_answers(few):
    class Knowing(nn.Module):
        """Right on every image but those of the last class."""

        def forward(self, images):
            answers = few.labels[: len(images)]
            return nn.functional.one_hot(torch.where(answers == 9, 0, answers), 10).float()

    expected = (few.labels != 9).float().mean().item()
    assert accuracy(Knowing(), few, device="cpu") == pytest.approx(expected)
    real = stir.build_model("resnet10", 10, width=4, channels=1)
    assert accuracy(real, few, batch_size=7, device="cpu") == accuracy(real, few, device="cpu")
    assert real.training  # as it was


def test_what_no_accuracy_can_be_had_of(few, digits, unchecked):
    network = stir.build_model("resnet10", 10, width=4, channels=1)
    images, labels = few.images, few.labels
    for split, text in (
        (digits, "split is a Dataset; give a split of a data set, such as dataset.test"),
        (images, "split is a Tensor; give"),
        (Split(images - 0.5, labels), r"images must lie in \[0, 1\] but lie in \[-0.5, 0.5\]; put the normalization"),
        (Split(images[:0], labels[:0]), "there is nothing in it"),
        (Split(images, labels[:, None]), r"labels have shape \(300, 1\); they must be class numbers"),
        (Split(images, labels[1:]), r"labels have shape \(299,\)"),
        (Split(images, labels.tolist()), "labels are a list"),
    ):
        with pytest.raises(ValueError, match=text):
            accuracy(network, split, attack=stir.PGD("l2", 0.1, 1), device="cpu")


def test_a_network_is_not_trained_where_it_cannot_be_tested(few, monkeypatch):
    monkeypatch.setattr("stir.training.request.train", None)
    dataset = Dataset("bytes", few, Split(255 * few.images, few.labels), tuple("0123456789"))
    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]"):
        stir.trained_model("resnet10", dataset=dataset, width=2, progress=False, device="cpu")
