"""Result of a score: the value, all that defines it, and the diagnostics that tell how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from stir.inversion.controversial import Controversy
from stir.inversion.invert import Inversion
from stir.similarity.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = (
    "reference", "target", "reference_layer", "target_layer",
    "stir", "stir_low", "stir_high", "cka", "cka_low", "cka_high",
    "ceiling", "floor", "pixels", "untrained",
    "distance_median", "distance_p90", "converged", "moved", "towards",
    "n_images", "n_draws", "seeds", "seed", "solver", "steps", "measure",
)  # fmt: skip
REFUSED = "refused"  # column of the rows that stand for scores that a measure refuses: its reason


@dataclass(frozen=True)
class StirResult:
    """STIR(target | reference), with all that defines it and the diagnostics that tell how far to trust it.

    Attributes:
        value: S(m2(X), m2(X')), the mean over draws of X'; at most 1.
        interval: 95% confidence interval of `value` over images and seeds.
        cka: plain similarity S(m1(X), m2(X)) on the images themselves, by the same measure.
        cka_interval: its 95% confidence interval over images.
        ceiling: STIR(reference | reference) on the same X': 1 if the inversion is exact. A value
            above it says nothing.
        floor: the value with the X' permuted at random: the score of a target to which X' says nothing about X.
        pixels: S(X, X') of the images' own pixels, the mean over draws: the score of a target without any invariance.
            NaN where the measure refuses them.
        untrained: the value of the target's architecture with fresh weights, of one seed, see
            `stir.scoring.baselines`; NaN where they cannot be had. STIR says something about what the target learnt to
            the extent that it is above `pixels` and `untrained`.
        images: [N, C, H, W], X.
        inversion: X', from the first draw.
        distances: [draws, N], the relative distance that each X' reached.
        moved, towards: those of `stir.Inversion`, the means over all draws.
        reference, target: names.
        reference_layer, target_layer: where X' was made and where it was looked at, as the question named it.
        reference_taken, target_taken: the places in the networks that this was, such as "penultimate (fc)".
        measure, seeds: names.
        seed: of the first draw; each further draw has the next.
    """

    value: float
    interval: Interval
    cka: float
    cka_interval: Interval
    ceiling: float
    floor: float
    pixels: float
    untrained: float
    images: Float[Tensor, "n c h w"]
    inversion: Inversion
    distances: Float[Tensor, "draws n"]
    moved: float
    towards: float
    reference: str
    target: str
    reference_layer: str
    target_layer: str
    reference_taken: str
    target_taken: str
    measure: str
    seeds: str
    seed: int

    @property
    def solver(self) -> str:
        """Name of the solver that made X'."""
        return self.inversion.solver

    @property
    def worst_case(self) -> bool:
        """True if each X' was chosen to look as different to the target as it can."""
        return isinstance(self.inversion, Controversy)

    @property
    def converged(self) -> float:
        """Share of all X' within the tolerance."""
        return (self.distances <= self.inversion.tolerance).float().mean().item()

    def __repr__(self) -> str:
        low, high = self.interval
        name = "worst-case STIR" if self.worst_case else "STIR"
        layers = dict.fromkeys((self.target_taken, self.reference_taken))
        return (
            f"{name}({self.target} | {self.reference}) = {self.value:.3f} [{low:.3f}, {high:.3f}], "
            f"{self.measure} {self.cka:.3f}, pixels {self.pixels:.3f}, untrained {self.untrained:.3f}, "
            f"floor {self.floor:.3f}, ceiling {self.ceiling:.3f}, "
            f"median distance {self.distances.median():.3g} ({self.distances.shape[1]} images), "
            f"at {' | '.join(layers)}"
        )

    def as_row(self) -> dict[str, object]:
        """Its values by the names of `COLUMNS`."""
        row = {
            "stir": self.value,
            "stir_low": self.interval[0],
            "stir_high": self.interval[1],
            "cka_low": self.cka_interval[0],
            "cka_high": self.cka_interval[1],
            "distance_median": self.distances.median().item(),
            "distance_p90": self.distances.flatten().quantile(0.9).item(),
            "n_images": self.distances.shape[1],
            "n_draws": self.distances.shape[0],
            "steps": self.inversion.steps,
        }
        return {name: row[name] if name in row else getattr(self, name) for name in COLUMNS}

    def to_frame(self) -> pd.DataFrame:
        """One row with the columns of `COLUMNS`."""
        return pd.DataFrame([self.as_row()])

    def plot(self) -> Figure:
        """Figure of the value beside baselines, ceiling and plain similarity, the distances reached, and some of X'."""
        try:
            from stir.scoring.result_plot import plot_score  # here, as drawing libraries load slowly
        except ImportError as error:
            raise ImportError(f"plot() needs {error.name}; in your clone: pip install '.[book]'") from error
        rows = {"$x$": self.images, "seed": self.inversion.seeds, "$x'$": self.inversion.images}
        return plot_score(self.as_row(), self.distances, self.inversion.tolerance, rows)
