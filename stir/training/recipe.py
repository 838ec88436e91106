"""How a network is trained: every setting of the one recipe, and the loss that it means."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor

from stir.networks.frozen import Frozen
from stir.training import losses
from stir.training.attacks import PGD
from stir.training.losses import LOSSES

AUGMENTATIONS = ("none", "shift", "shift-flip")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum 0.9 on a one-cycle schedule, gradients clipped to length 1.

    Attributes:
        loss: "standard", cross-entropy; "adversarial-l2" or "adversarial-linf", cross-entropy on
            the images that `PGD` finds within `epsilon` (Madry et al. 2018, eq. 2.1); "trades" or
            "mart" (`stir.training.losses`) within the L-infinity ball, "trades-l2" or "mart-l2" within the L2 ball.
        epsilon: radius of the ball, for pixels in [0, 1]; None for 0.5 in L2 and 8/255 in
            L-infinity. Of no effect on "standard", like the next two.
        attack_steps: PGD's steps.
        tradeoff: weight of the robust term; None for the papers' own, 6 (TRADES) and 5 (MART). Of
            no effect on other losses.
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: the schedule's peak.
        weight_decay: on every parameter.
        label_smoothing: in [0, 1), what the other classes get of a label's weight.
        augmentation: "none"; "shift", a random move by up to an eighth of the image; or
            "shift-flip", that and a random mirroring.
        augmentation_strength: of the shift, as a multiple of that eighth, below 4. Of no effect on "none".

    Raises:
        ValueError: a name that is unknown or a number out of range.
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
        for name in ("learning_rate", "epsilon", "tradeoff"):
            value = getattr(self, name)
            if not (value is None and name != "learning_rate") and not 0 < value < math.inf:
                raise ValueError(f"{name}={value} must be above 0, and finite")
        for name, below in {"weight_decay": math.inf, "label_smoothing": 1, "augmentation_strength": 4}.items():
            if not 0 <= getattr(self, name) < below:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative, and less than {below:g}")

    @property
    def attack(self) -> PGD | None:
        """The attack that is trained against; None for standard training."""
        norm = losses.norm(self.loss)
        return None if norm is None else PGD(norm, self.epsilon or losses.EPSILONS[norm], self.attack_steps)

    @property
    def settings(self) -> dict:
        """All that has an effect on the training, by name."""
        found = asdict(self)
        attack, kind = self.attack, losses.family(self.loss)
        if attack is None:
            del found["attack_steps"]
        if self.augmentation == "none":
            del found["augmentation_strength"]
        found["epsilon"] = attack and attack.epsilon
        found["tradeoff"] = self.tradeoff or losses.TRADEOFFS[kind] if kind in losses.TRADEOFFS else None
        # Plain numbers: 1, 1.0 and NumPy's are the same setting.
        plain = {
            name: type(field.default)(found[name])
            for name, field in self.__dataclass_fields__.items()
            if name in found and field.default is not None
        }
        plain |= {name: float(found[name]) for name in ("epsilon", "tradeoff") if found[name] is not None}
        return plain

    def loss_of(
        self, frozen: Frozen, images: Tensor, labels: Tensor, generator: torch.Generator, half: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and the logits of what was trained on.

        Args:
            frozen: what the attack looks at, whose many passes leave the batch statistics alone; `frozen.model` is
                the network that is trained, in train mode.
            half: compute in bfloat16, where PyTorch finds that safe.
        """
        model, kind, attack = frozen.model, losses.family(self.loss), self.attack
        given = images
        if attack is not None:
            with frozen:
                answer = partial(frozen, half=half)
                with torch.no_grad():  # TRADES looks for images that change the answer, whatever it was
                    aim = answer(images).float().softmax(1) if kind == "trades" else labels
                given = attack(answer, images, aim, generator)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            logits = model(given).float()
            clean = model(images).float() if kind in losses.TRADEOFFS else logits
        if kind not in losses.TRADEOFFS:
            return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing), logits
        formula = losses.trades_loss if kind == "trades" else losses.mart_loss
        return formula(clean, logits, labels, self.settings["tradeoff"], self.label_smoothing), logits
