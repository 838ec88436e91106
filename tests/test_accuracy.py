"""The accuracy is the share of right answers, read from the device once."""

import pytest
import torch
from helpers.waits import DEVICE, Waits
from torch import nn

import stir
from stir.data import Split
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
