"""TRADES and MART against their papers' formulas, written out with NumPy, one image at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stir.training.losses import LOSSES, family, mart_loss, norm, trades_loss


def softmax(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def divergence(p, q):
    return sum(a * np.log(a / b) for a, b in zip(p, q, strict=True))


def trades(clean, adversarial, labels, tradeoff):
    """Zhang et al. 2019, eq. 5, with the cross-entropy for the first loss and KL for the second."""
    values = [
        -np.log(softmax(c)[y]) + tradeoff * divergence(softmax(c), softmax(a))
        for c, a, y in zip(clean, adversarial, labels, strict=True)
    ]
    return np.mean(values)


def mart(clean, adversarial, labels, tradeoff):
    """Wang et al. 2020, eq. 9 to 11."""
    values = []
    for c, a, y in zip(clean, adversarial, labels, strict=True):
        p, q = softmax(c), softmax(a)
        boosted = -np.log(q[y]) - np.log(1 - max(q[k] for k in range(len(q)) if k != y))
        values.append(boosted + tradeoff * divergence(p, q) * (1 - p[y]))
    return np.mean(values)


@given(seed=st.integers(0, 1000), n=st.integers(1, 6), k=st.integers(2, 5), tradeoff=st.floats(0.1, 10))
@pytest.mark.parametrize(("ours", "formula"), [(trades_loss, trades), (mart_loss, mart)])
def test_formulas(ours, formula, seed, n, k, tradeoff):
    generator = torch.Generator().manual_seed(seed)
    clean, adversarial = (2 * torch.randn(2, n, k, generator=generator)).unbind()
    labels = torch.randint(k, (n,), generator=generator)
    expected = formula(clean.double().numpy(), adversarial.double().numpy(), labels.numpy(), tradeoff)
    assert ours(clean, adversarial, labels, tradeoff).item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("ours", [trades_loss, mart_loss])
def test_extreme_logits_have_finite_gradients(ours):
    adversarial = torch.tensor([[60.0, -60.0], [-60.0, 60.0]], requires_grad=True)
    ours(torch.tensor([[60.0, -60.0], [60.0, -60.0]]), adversarial, torch.tensor([1, 0])).backward()
    assert adversarial.grad is not None and adversarial.grad.isfinite().all()


@pytest.mark.parametrize("ours", [trades_loss, mart_loss])
def test_smoothing_raises_the_loss_of_sure_answers(ours):
    logits, labels = torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([0])
    assert ours(logits, logits, labels, smoothing=0.2) > ours(logits, logits, labels) + 0.5


def test_names():
    assert [norm(loss) for loss in LOSSES] == [None, "l2", "linf", "linf", "l2", "linf", "l2"]
    assert {family(loss) for loss in LOSSES} == {"standard", "adversarial", "trades", "mart"}
