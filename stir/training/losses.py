"""Training losses on the logits of clean and adversarial images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

LOSSES = ("standard", "adversarial-l2", "adversarial-linf", "trades", "trades-l2", "mart", "mart-l2")
# Weight of the robust term in the papers.
TRADEOFFS = {"trades": 6.0, "mart": 5.0}
# The usual radii in the literature on robustness, for pixels in [0, 1].
EPSILONS = {"l2": 0.5, "linf": 8 / 255}


def family(loss: str) -> str:
    """Return the family of a loss: "standard", "adversarial", "trades" or "mart"."""
    return loss.partition("-")[0]


def norm(loss: str) -> str | None:
    """Return the norm of the attack in a loss; "trades" and "mart" alone mean L-infinity, as published."""
    return None if loss == "standard" else loss.partition("-")[2] or "linf"


def trades_loss(
    clean: Float[Tensor, "n k"],
    adversarial: Float[Tensor, "n k"],
    labels: Int[Tensor, "n"],
    tradeoff: float = 6.0,
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Cross-entropy of the clean images, plus `tradeoff` times KL(clean || adversarial) (Zhang et al. 2019, eq. 5).

    Args:
        clean, adversarial: logits.
        tradeoff: 1 / lambda of the paper.
        smoothing: of the labels, in [0, 1).
    """
    divergence = F.kl_div(adversarial.log_softmax(1), clean.log_softmax(1), log_target=True, reduction="batchmean")
    return F.cross_entropy(clean, labels, label_smoothing=smoothing) + tradeoff * divergence


def mart_loss(
    clean: Float[Tensor, "n k"],
    adversarial: Float[Tensor, "n k"],
    labels: Int[Tensor, "n"],
    tradeoff: float = 5.0,
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Boosted cross-entropy of the adversarial images, plus `tradeoff` times a weighted KL(clean || adversarial).

    The boosted cross-entropy adds -log(1 - p) of the most likely wrong class; the weight is 1 - p of the right class
    for the clean image (Wang et al. 2020, eq. 9 and 11).

    Args:
        clean, adversarial: logits.
        tradeoff: lambda of the paper.
        smoothing: of the labels, in [0, 1), in the cross-entropy without the added term.
    """
    log_clean, log_adversarial = clean.log_softmax(1), adversarial.log_softmax(1)
    true_class = labels[:, None]
    wrong = log_adversarial.scatter(1, true_class, -torch.inf).amax(dim=1)
    # expm1 keeps log(1 - p) precise for p near 1; the clamp keeps it finite at p = 1.
    margin = -torch.log((-torch.expm1(wrong)).clamp_min(1e-6))
    boosted = F.cross_entropy(adversarial, labels, label_smoothing=smoothing) + margin.mean()
    divergence = F.kl_div(log_adversarial, log_clean, log_target=True, reduction="none").sum(dim=1)
    weight = 1 - log_clean.exp().gather(1, true_class)[:, 0]
    return boosted + tradeoff * (divergence * weight).mean()
