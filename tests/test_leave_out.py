"""Linear CKA without groups of images equals that of the remaining images."""

import pytest
import torch

from stir.similarity.cka import linear_cka
from stir.similarity.leave_out import linear_cka_without


@pytest.mark.parametrize("p", [3, 40, 200])  # fewer features than images, and more
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_without_each_group_it_is_that_of_the_others(p, offset):
    generator = torch.Generator().manual_seed(p)
    x = torch.randn(60, p, generator=generator, dtype=torch.float64) + offset
    y = x[:, :3] ** 2 + torch.randn(60, 3, generator=generator)
    groups = [*torch.randperm(60, generator=generator).chunk(7), torch.arange(56), torch.arange(0)]
    rows = torch.arange(60)
    wanted = [linear_cka(x[~torch.isin(rows, group)], y[~torch.isin(rows, group)]) for group in groups]
    assert linear_cka_without(x, y, groups).tolist() == pytest.approx(wanted, rel=1e-7)


@pytest.mark.parametrize("size", [1e3, 1e6, 1e12])
@pytest.mark.parametrize("p", [3, 90])
def test_without_an_image_that_outweighs_all_others(p, size):
    generator = torch.Generator().manual_seed(p)
    x = torch.randn(60, p, generator=generator)
    y = x + torch.randn(60, p, generator=generator)
    x[7] *= size
    groups, rows = [torch.tensor([7, 8]), torch.tensor([9])], torch.arange(60)
    wanted = [linear_cka(x[~torch.isin(rows, group)], y[~torch.isin(rows, group)]) for group in groups]
    assert linear_cka_without(x, y, groups).tolist() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("p", [2, 50])
def test_without_the_only_image_that_differs_nothing_can_be_said(p):
    x = torch.zeros(20, p)
    x[3] = 1
    with pytest.raises(ValueError, match="x is constant"):
        linear_cka_without(x, torch.rand(20, 4), [torch.tensor([5]), torch.tensor([3])])
    with pytest.raises(ValueError, match="groups leave 3 of"):
        linear_cka_without(torch.rand(20, p), torch.rand(20, 4), [torch.arange(17)])
