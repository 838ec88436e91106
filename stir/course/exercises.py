"""Checks of the exercises, called from the sessions' notebooks; each prints that one is done, or raises `Unmet`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stir.course.judging import Unmet, check_guess, check_number, done, outcome
from stir.inversion.representation import features
from stir.similarity.cka import linear_cka


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def is_share(value: Any) -> bool:
    """Whether a value is a number in [0, 1]."""
    return isinstance(value, int | float) and 0 <= value <= 1


# Session 1


def check_guess_of_cka(guesses: Any, x: Tensor) -> None:
    """Exercise 1.1: guesses of the CKA of x [n, p] with what it is changed to."""
    turn = torch.linalg.qr(_noise(x.shape[1], x.shape[1]))[0].to(x)
    stretched = x.clone()
    stretched[:, 0] *= 10
    outcomes = {
        "turned": linear_cka(x, x @ turn),
        "stretched": linear_cka(x, stretched),
        "shuffled": linear_cka(x, x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]),
        "noise": linear_cka(x, _noise(*x.shape)),
    }
    done("1.1", check_guess(guesses, outcomes, is_share, "a number from 0 to 1"))


def check_cka(cka: Any) -> None:
    """Exercise 1.2: `cka(x, y)` is linear CKA."""
    x = _noise(30, 5) + torch.arange(5.0)
    y = x @ _noise(5, 4, seed=1) + _noise(30, 4, seed=2) + 2
    centred = [each - each.mean(0) for each in (x, y)]
    across = [each - each.mean(1, keepdim=True) for each in (x, y)]
    mistakes = {
        "centre x and y first: take their means over the images, `x.mean(0)`, away.": _ratio(x, y, 2),
        "the mean is to be over the images, `x.mean(0)`, not over the features.": _ratio(*across, 2),
        "the norm in the numerator is squared.": _ratio(*centred, 1),
    }
    check_number(outcome(cka, x, y, name="cka"), linear_cka(x, y), "CKA of two test matrices", mistakes)
    if abs(float(cka(x, 3 * x + 5)) - 1) > 1e-3:
        raise Unmet("CKA of x and 3 x + 5 should be 1.")
    done("1.2", f"Your CKA of two test matrices is {float(cka(x, y)):.3f}, as the package's.")


def _ratio(x: Tensor, y: Tensor, power: int) -> float:
    return ((x.T @ y).norm() ** power / ((x.T @ x).norm() * (y.T @ y).norm())).item()


def check_images_needed(images_needed: Any) -> None:
    """Exercise 1.3: `images_needed(p, score)` is the least n with p / (n + p) <= score."""
    for p, score in ((64, 0.1), (512, 0.5), (10, 0.3)):
        wanted = float(math.ceil(round(p / score - p, 9)))
        mistakes = {
            "this is the largest number that does not suffice; round up.": wanted - 1,
            "solve p / (n + p) = score for n; p is still to be taken away.": float(math.ceil(round(p / score, 9))),
        }
        value = outcome(images_needed, p, score, name="images_needed")
        check_number(value, wanted, f"images_needed({p}, {score})", mistakes, within=1e-6)
    done("1.3", "A layer of 512 features asks for 4,608 images until noise scores no more than 0.1.")


def check_table_of_layers(table: Any, trained: Sequence[nn.Module], fresh: Sequence[nn.Module], images: Tensor) -> None:
    """Exercise 1.4: layer -> CKA of two trained networks, and of two fresh ones."""
    if not isinstance(table, Mapping) or not table:
        raise Unmet("`table` should be a dictionary from the names of layers to pairs of numbers.")
    for layer, pair in table.items():
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise Unmet(f"`table[{layer!r}]` should be a pair: CKA of the trained networks, CKA of the fresh ones.")
        wanted = [_cka_at(layer, networks, images) for networks in (trained, fresh)]
        for name, value, right, other in zip(("trained", "fresh"), pair, wanted, wanted[::-1]):
            mistakes = {"trained and fresh are exchanged.": other, "a network is compared with itself.": 1.0}
            check_number(value, right, f"CKA of the {name} networks at {layer}", mistakes)
    done("1.4", "Now say in one sentence how much of the agreement was learnt.")


def _cka_at(layer: str, networks: Sequence[nn.Module], images: Tensor) -> float:
    return linear_cka(*(features(network, images, layer=layer) for network in networks))
