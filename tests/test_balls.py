"""Balls around images."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stir.data.balls import Ball, image_norms


@given(norm=st.sampled_from(["l2", "linf"]), radius=st.floats(1e-3, 10), seed=st.integers(0, 99))
def test_a_projection_is_the_nearest_point_of_the_ball(norm, radius, seed):
    generator = torch.Generator().manual_seed(seed)
    offset = 2 * torch.randn(5, 2, 3, 3, generator=generator)
    ball = Ball(norm, radius)
    inside = ball.project(offset)

    def size(x):
        return image_norms(x) if norm == "l2" else x.abs().amax(dim=(1, 2, 3), keepdim=True)

    assert (size(inside) <= radius * (1 + 1e-5)).all()
    assert torch.allclose(ball.project(inside), inside, atol=1e-6)
    small = offset * (0.9 * radius / size(offset))
    assert torch.allclose(ball.project(small), small, rtol=1e-6, atol=0)
    # The nearest: from it, no other point of the ball lies towards the offset.
    others = ball.project(torch.randn(5, 2, 3, 3, generator=generator) * radius)
    assert (((offset - inside) * (others - inside)).flatten(1).sum(dim=1) <= 1e-4).all()


def test_norms():
    images = torch.zeros(2, 1, 2, 2)
    images[0, 0, 0] = torch.tensor([3.0, 4.0])
    assert image_norms(images).flatten().tolist() == [5, 0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("l1", 1.0), "norm='l1' is unknown; use one of l2, linf"),
        (("l2", 0.0), "radius=0.0 must be above 0"),
        (("l2", float("nan")), "radius=nan must be above 0"),
        (("linf", float("inf")), "radius=inf must be above 0, and finite"),
    ],
)
def test_wrong_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        Ball(*arguments)
