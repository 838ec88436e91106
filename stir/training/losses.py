"""The losses that networks are trained with, on the logits of clean and of adversarial images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

LOSSES = ("standard", "adversarial-l2", "adversarial-linf", "trades", "trades-l2", "mart", "mart-l2")
# What each source gives adversarial images against clean ones.
TRADEOFFS = {"trades": 6.0, "mart": 5.0}
# Radii that robustness is most often measured at, for pixels in [0, 1].
EPSILONS = {"l2": 0.5, "linf": 8 / 255}


def family(loss: str) -> str:
    """ "standard", "adversarial", "trades" or "mart"."""
    return loss.partition("-")[0]


def norm(loss: str) -> str | None:
    """The norm of the ball that is trained against; "trades" and "mart" alone mean L-infinity, as published."""
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
    """Boosted cross-entropy of the adversarial images, plus `tradeoff` times KL(clean || adversarial) weighted by the clean error.

    The boosted cross-entropy adds -log(1 - p) of the likeliest wrong class (Wang et al. 2020, eq. 9 and 11).

    Args:
        clean, adversarial: logits.
        tradeoff: lambda of the paper.
        smoothing: of the labels, in [0, 1), in the cross-entropy proper.
    """
    log_clean, log_adversarial = clean.log_softmax(1), adversarial.log_softmax(1)
    chosen = labels[:, None]
    wrong = log_adversarial.scatter(1, chosen, -torch.inf).amax(dim=1)
    # log(1 - p) by way of expm1 keeps its digits as p nears 1, where it would be infinite.
    margin = -torch.log((-torch.expm1(wrong)).clamp_min(1e-6))
    boosted = F.cross_entropy(adversarial, labels, label_smoothing=smoothing) + margin.mean()
    divergence = F.kl_div(log_adversarial, log_clean, log_target=True, reduction="none").sum(dim=1)
    doubt = 1 - log_clean.exp().gather(1, chosen)[:, 0]
    return boosted + tradeoff * (divergence * doubt).mean()
