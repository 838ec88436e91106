"""Shifts and mirror images."""

import numpy as np
import pytest
import torch

from stir.training.augmentation import Augmentation


def augment(images, name, generator, strength=1.0):
    augmentation = Augmentation(name, strength)
    return augmentation.apply(images, *augmentation.draw(images.shape, generator))


def shifted(image, down, right):
    """The image shifted by whole pixels, copied one by one, with zeros behind it."""
    image = image.numpy()
    out = np.zeros_like(image)
    _, height, width = image.shape
    for row in range(height):
        for column in range(width):
            if 0 <= row + down < height and 0 <= column + right < width:
                out[:, row, column] = image[:, row + down, column + right]
    return torch.from_numpy(out)


@pytest.mark.parametrize(("augmentation", "shape"), [("shift", (40, 3, 16, 24)), ("shift-flip", (40, 2, 8, 8))])
def test_augmentation_is_a_shift_by_up_to_an_eighth(augmentation, shape):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(1)) + 0.1
    out = augment(images, augmentation, torch.Generator().manual_seed(2))
    assert out.shape == images.shape and out.is_contiguous()
    reach, shifts = shape[2] // 8, set()
    for image, augmented in zip(images, out, strict=True):
        matches = []
        for flip in (False, True):
            for down in range(-reach, reach + 1):
                for right in range(-reach, reach + 1):
                    candidate = shifted(image, down, right)
                    if torch.equal(candidate.flip(2) if flip else candidate, augmented):
                        matches.append((flip, down, right))
        assert len(matches) == 1
        shifts.update(matches)
    assert {flip for flip, _, _ in shifts} == ({False, True} if augmentation == "shift-flip" else {False})
    assert {down for _, down, _ in shifts} == {right for _, _, right in shifts} == set(range(-reach, reach + 1))


@pytest.mark.parametrize(("strength", "reach"), [(0.0, 0), (0.5, 1), (3.0, 6)])
def test_augmentation_strength(strength, reach):
    image = torch.zeros(200, 1, 16, 16)
    image[:, :, 8, 8] = 1
    rows = augment(image, "shift", torch.Generator().manual_seed(0), strength).amax(dim=(1, 3)).argmax(dim=1)
    assert rows.min() == 8 - reach and rows.max() == 8 + reach


def test_no_augmentation():
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(augment(images, "none", torch.Generator()), images)


def test_augmentation_does_not_depend_on_the_default_precision(in_float64):
    images = torch.rand(30, 1, 8, 8)
    wanted = augment(images, "shift-flip", torch.Generator().manual_seed(0))
    with in_float64():
        assert torch.equal(augment(images, "shift-flip", torch.Generator().manual_seed(0)), wanted)
