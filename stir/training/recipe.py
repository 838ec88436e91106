"""Training recipe: its settings, its attack and its loss."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial
from numbers import Integral
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stir.networks.frozen import Frozen
from stir.training import losses
from stir.training.attacks import PGD
from stir.training.augmentation import AUGMENTATIONS, Augmentation
from stir.training.losses import LOSSES


@dataclass(frozen=True)
class Recipe:
    """Settings of a training: SGD with Nesterov momentum 0.9, a one-cycle schedule, gradients clipped to length 1.

    Attributes:
        loss: "standard", cross-entropy; "adversarial-l2" or "adversarial-linf", cross-entropy on
            the adversarial images of `PGD` within `epsilon` (Madry et al. 2018, eq. 2.1); "trades" or
            "mart" (`stir.training.losses`) within the L-infinity ball, "trades-l2" or "mart-l2" within the L2 ball.
        epsilon: radius of the ball, for pixels in [0, 1]; None for 0.5 in L2 and 8/255 in
            L-infinity. Ignored by "standard", like the next two.
        attack_steps: number of steps of PGD.
        tradeoff: weight of the robust term; None for the papers' 6 (TRADES) and 5 (MART). Ignored
            by the other losses.
        epochs: passes over the training images.
        batch_size: images in a step.
        learning_rate: maximum of the schedule.
        weight_decay: of all parameters.
        label_smoothing: in [0, 1), the weight spread over all classes.
        augmentation: "none"; "shift", a random shift by up to an eighth of the image; or
            "shift-flip", that and a random mirroring.
        augmentation_strength: of the shift, as a multiple of that eighth, below 4. Ignored by "none".

    Raises:
        ValueError: an unknown name, or a number out of range.
    """

    loss: str = "standard"
    epsilon: float | None = None
    attack_steps: int = 4
    tradeoff: float | None = None
    epochs: int = 15
    batch_size: int = 128
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    augmentation: str = "none"
    augmentation_strength: float = 1.0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss={self.loss!r} is unknown; use one of {', '.join(LOSSES)}")
        if self.augmentation not in AUGMENTATIONS:
            raise ValueError(f"augmentation={self.augmentation!r} is unknown; use one of {', '.join(AUGMENTATIONS)}")
        for name in ("epochs", "batch_size", "attack_steps"):
            if not isinstance(getattr(self, name), Integral) or getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be a whole number, at least 1")
        optional = {"epsilon": self.epsilon, "tradeoff": self.tradeoff}
        positive = {"learning_rate": self.learning_rate} | {n: v for n, v in optional.items() if v is not None}
        for name, value in positive.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name}={value} must be above 0, and finite")
        for name, below in {"weight_decay": math.inf, "label_smoothing": 1, "augmentation_strength": 4}.items():
            if not 0 <= getattr(self, name) < below:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative, and less than {below:g}")

    @property
    def attack(self) -> PGD | None:
        """Attack of the loss; None for standard training."""
        norm = losses.norm(self.loss)
        return None if norm is None else PGD(norm, self.epsilon or losses.EPSILONS[norm], self.attack_steps)

    @property
    def augmenting(self) -> Augmentation:
        """Augmentation of the training images."""
        return Augmentation(self.augmentation, self.augmentation_strength)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that affect the training, by name, with the defaults of `epsilon` and `tradeoff` filled in."""
        values = asdict(self)
        attack, family = self.attack, losses.family(self.loss)
        if attack is None:
            del values["attack_steps"]
        if self.augmentation == "none":
            del values["augmentation_strength"]
        values["epsilon"] = attack and attack.epsilon
        values["tradeoff"] = self.tradeoff or losses.TRADEOFFS[family] if family in losses.TRADEOFFS else None
        # Convert to plain numbers, so that 1, 1.0 and NumPy's are one setting.
        settings = {
            name: type(field.default)(values[name])
            for name, field in self.__dataclass_fields__.items()
            if name in values and field.default is not None
        }
        settings |= {name: float(values[name]) for name in ("epsilon", "tradeoff") if values[name] is not None}
        return settings

    def batch_loss(
        self, frozen: Frozen, images: Tensor, labels: Tensor, *start: Tensor, half: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Compute the loss of a batch, and the logits of the images that it trains on (adversarial, if attacked).

        Args:
            frozen: runs the passes of the attack, so that they leave the batch statistics alone; `frozen.model` is
                the network to train, in train mode.
            start: where the attack begins, as `PGD.start` draws it, on the images' device; nothing without an attack.
            half: compute in bfloat16, where PyTorch considers that safe.
        """
        model, family, attack = frozen.model, losses.family(self.loss), self.attack
        inputs = images
        if attack is not None:
            with frozen:
                predict = partial(frozen, half=half)
                with torch.no_grad():  # TRADES attacks the network's prediction, the others the label
                    attacked = predict(images).float().softmax(1) if family == "trades" else labels
                inputs = attack.from_start(predict, images, attacked, *start)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            logits = model(inputs).float()
            clean = model(images).float() if family in losses.TRADEOFFS else logits
        if family not in losses.TRADEOFFS:
            return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing), logits
        robust_loss = losses.trades_loss if family == "trades" else losses.mart_loss
        return robust_loss(clean, logits, labels, self.settings["tradeoff"], self.label_smoothing), logits
