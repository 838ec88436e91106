"""Checks of sessions 1 to 3: CKA, inversion, STIR."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stir.course.judging import Unmet, check_guess, check_number, check_tensor, done, is_number, outcome
from stir.inversion.invert import Inversion, invert
from stir.inversion.representation import features
from stir.similarity.cka import linear_cka


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Session 1


def check_guess_of_cka(guesses: Any, x: Tensor) -> None:
    """Exercise 1.1: guesses of the CKA of x [n, p] with changed versions of x, and with noise."""
    turn = torch.linalg.qr(_noise(x.shape[1], x.shape[1]))[0].to(x)
    stretched = x.clone()
    stretched[:, 0] *= 10
    outcomes = {
        "turned": linear_cka(x, x @ turn),
        "stretched": linear_cka(x, stretched),
        "shuffled": linear_cka(x, x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]),
        "noise": linear_cka(x, _noise(*x.shape)),
    }
    done("1.1", check_guess(guesses, outcomes, is_number(0.0, 1.0), "a number from 0 to 1"))


def check_cka(cka: Any) -> None:
    """Exercise 1.2: `cka(x, y)` is linear CKA."""
    x = _noise(30, 5) + torch.arange(5.0)
    y = x @ _noise(5, 4, seed=1) + _noise(30, 4, seed=2) + 2
    centred = [each - each.mean(0) for each in (x, y)]
    across = [each - each.mean(1, keepdim=True) for each in (x, y)]
    mistakes = {
        "centre x and y first: take their means over the images, `x.mean(0)`, away.": _ratio(x, y, 2),
        "the mean is to be over the images, `x.mean(0)`, not over the features.": _ratio(*across, power=2),
        "the norm in the numerator is squared.": _ratio(*centred, power=1),
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


def check_table_of_layers(
    table: Any, layers: Sequence[str], trained: Sequence[nn.Module], fresh: Sequence[nn.Module], images: Tensor
) -> None:
    """Exercise 1.4: layer -> CKA of two trained networks, and of two fresh ones."""
    if not isinstance(table, Mapping):
        raise Unmet("`table` should be a dictionary from the names of layers to pairs of numbers.")
    if lacking := [layer for layer in layers if layer not in table]:
        raise Unmet(f"`table` lacks {', '.join(lacking)}.")
    for layer, pair in table.items():
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise Unmet(f"`table[{layer!r}]` should be a pair: CKA of the trained networks, CKA of the fresh ones.")
        wanted = [_cka_at(layer, networks, images) for networks in (trained, fresh)]
        for name, value, right, other in zip(("trained", "fresh"), pair, wanted, wanted[::-1]):
            mistakes = {"trained and fresh are exchanged.": other, "a network is compared with itself.": 1.0}
            check_number(value, right, f"CKA of the {name} networks at {layer}", mistakes)
    alike = ", ".join(layer for layer, (trained_cka, fresh_cka) in table.items() if fresh_cka >= trained_cka)
    remark = f"At {alike or 'no layer'} the fresh networks are as much alike as the trained ones, or more."
    done("1.4", f"{remark} Now say in one sentence how much of the agreement was learnt.")


def _cka_at(layer: str, networks: Sequence[nn.Module], images: Tensor) -> float:
    return linear_cka(*(features(network, images, layer=layer) for network in networks))


# Session 2


def check_guess_of_distance(guesses: Any, inversions: Mapping[str, Inversion]) -> None:
    """Exercise 2.1: guesses of the distance of inverted images from the originals, relative to that of their seeds."""
    outcomes = {name: inversion.towards.mean().item() for name, inversion in inversions.items()}
    done("2.1", check_guess(guesses, outcomes, is_number(0.0, 2.0), "a number from 0 to 2"))


def _linear_case() -> tuple[nn.Module, Tensor, Tensor]:
    """A linear representation of images of 4 x 4, images u and images x; some pixels of u are near the bounds."""
    layer = nn.Linear(16, 5, bias=False)
    layer.weight.data = _noise(5, 16)
    u, x = (torch.sigmoid(2 * _noise(3, 1, 4, 4, seed=seed)) for seed in (1, 2))
    return nn.Sequential(nn.Flatten(), layer).requires_grad_(False), u, x


def check_distance(distance: Any) -> None:
    """Exercise 2.2: `distance(represent, u, x)` is the relative distance of each image."""
    represent, u, x = _linear_case()
    apart, wanted = (represent(u) - represent(x)).norm(dim=1), represent(x).norm(dim=1)
    mistakes = {
        "divide by the length of the representation of x.": apart,
        "divide by the length of the representation of x, not of u.": apart / represent(u).norm(dim=1),
        "the distance is not squared.": (apart / wanted) ** 2,
    }
    value = outcome(distance, represent, u, x, name="distance")
    check_tensor(value, apart / wanted, "The distance of three test images", mistakes)
    done("2.2")


def check_step(step: Any) -> None:
    """Exercise 2.3: `step(represent, u, x, rate)` is a step of the authors' algorithm."""
    represent, u, x = _linear_case()
    start = u.clone().requires_grad_()
    distance = (represent(start) - represent(x)).norm(dim=1) / represent(x).norm(dim=1)
    gradient = torch.autograd.grad(distance.sum(), start)[0]
    unit = gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
    mistakes = {
        "it goes up the gradient; the distance is to fall.": (u + 0.5 * unit).clamp(0, 1),
        "clamp the pixels to [0, 1] after the step.": u - 0.5 * unit,
        "give the gradient of each image the length 1.": (u - 0.5 * gradient).clamp(0, 1),
        "each image's gradient is to have the length 1, not that of all images together.": (
            u - 0.5 * gradient / gradient.norm()
        ).clamp(0, 1),
    }
    value = outcome(step, represent, u, x, 0.5, name="step")
    check_tensor(value, (u - 0.5 * unit).clamp(0, 1), "The step", mistakes)
    done("2.3")


def check_shares(shares: Any, network: nn.Module, images: Tensor, counts: Sequence[int]) -> None:
    """Exercise 2.4: solver -> shares of the images that converge within each number of steps."""
    for solver in ("paper", "tethered"):
        values = shares.get(solver, ...) if isinstance(shares, Mapping) else ...
        if not isinstance(values, Sequence) or len(values) != len(counts):
            raise Unmet(f"`shares[{solver!r}]` is missing, or has not {len(counts)} numbers.")
        for count, value in zip(counts, values):
            run = invert(network, images, solver=solver, steps=count, progress=False)
            share = run.converged.float().mean().item()
            mistakes = {
                "this is the share that has not converged.": 1 - share,
                "this is the number of images, not their share.": share * len(images),
                "this is the median distance.": run.distance.median().item(),
            }
            check_number(value, share, f"The share of {solver} after {count} steps", mistakes)
    done("2.4")


# Session 3


def check_guess_of_direction(guesses: Any) -> None:
    """Exercise 3.1: guesses of STIR and CKA of a random linear network and of one that sees less."""
    a, b = _noise(24, 256), _noise(6, 24, seed=1)
    less = b @ a
    x, seed = _noise(200, 256, seed=2), _noise(200, 256, seed=3)
    same_to_first, same_to_second = (seed + (x - seed) @ (torch.linalg.pinv(each) @ each).T for each in (a, less))
    outcomes = {
        "STIR(m2 | m1)": linear_cka(x @ less.T, same_to_first @ less.T),
        "STIR(m1 | m2)": linear_cka(x @ a.T, same_to_second @ a.T),
        "CKA": linear_cka(x @ a.T, x @ less.T),
    }
    done("3.1", check_guess(guesses, outcomes, is_number(0.0, 1.0), "a number from 0 to 1"))


def check_stir(stir_of: Any, target: nn.Module, reference: nn.Module, images: Tensor, steps: int) -> None:
    """Exercise 3.2: `stir_of(target, given, images, steps)` is STIR(target | given)."""
    inverted, other = (invert(each, images, steps=steps, progress=False).images for each in (reference, target))

    def at(network: nn.Module, shown: Tensor) -> Tensor:
        return features(network, shown)

    wanted = linear_cka(at(target, images), at(target, inverted))
    mistakes = {
        "this is CKA of the two networks; nothing was inverted.": linear_cka(at(reference, images), at(target, images)),
        "this is STIR(given | target): it is `given` that makes X'.": linear_cka(
            at(reference, images), at(reference, other)
        ),
        "this is the ceiling: the target is to look at X', not the reference.": linear_cka(
            at(reference, images), at(reference, inverted)
        ),
        "this compares the two networks on X'; the target is to compare X with X'.": linear_cka(
            at(reference, inverted), at(target, inverted)
        ),
        "this inverts the target, which has to be `given`.": linear_cka(at(target, images), at(target, other)),
    }
    value = outcome(stir_of, target, reference, images, steps, name="stir_of")
    check_number(value, wanted, "STIR of two test networks", mistakes)
    done("3.2", f"STIR of the two is {wanted:.3f}, as the package's.")


def check_baselines(baselines: Any, target: nn.Module, reference: nn.Module, images: Tensor, steps: int) -> None:
    """Exercise 3.3: `baselines(target, images, inverted)` is the pair of the pixels' score and the floor."""
    inverted = invert(reference, images, steps=steps, progress=False).images
    value = outcome(baselines, target, images, inverted, name="baselines")
    if not isinstance(value, Sequence) or len(value) != 2:
        raise Unmet("`baselines` should return a pair: pixels, floor.")
    shown = features(target, images)
    pixels = linear_cka(images.flatten(1), inverted.flatten(1))
    floor = linear_cka(shown, features(target, inverted.roll(1, 0)))
    check_number(value[0], pixels, "The score of the pixels", {"pixels and floor are exchanged.": floor})
    unmoved = linear_cka(shown, features(target, inverted))
    check_number(value[1], floor, "The floor", {"X' is not dealt out to the wrong images: this is STIR.": unmoved})
    done("3.3")


def check_table_of_scores(
    table: Any, standard: Sequence[nn.Module], robust: Sequence[nn.Module], images: Tensor, steps: int
) -> None:
    """Exercise 3.4: kind of training -> CKA, STIR and pixels of its two networks, the first being the reference."""
    for name, (reference, target) in {"standard": standard, "robust": robust}.items():
        values = table.get(name) if isinstance(table, Mapping) else None
        if not isinstance(values, Mapping):
            raise Unmet(f"`table[{name!r}]` is missing: a dictionary with CKA, STIR and pixels.")
        inverted, other = (invert(each, images, steps=steps, progress=False).images for each in (reference, target))
        shown = features(target, images)
        exchanged = linear_cka(features(reference, images), features(reference, other))
        wanted = {
            "CKA": linear_cka(features(reference, images), shown),
            "STIR": linear_cka(shown, features(target, inverted)),
            "pixels": linear_cka(images.flatten(1), inverted.flatten(1)),
        }
        for key, right in wanted.items():
            mistakes = {f"this is its {each}.": value for each, value in wanted.items() if each != key}
            if key == "STIR":
                mistakes["reference and target are exchanged: the first of the two makes X'."] = exchanged
            check_number(values.get(key, ...), right, f"{key} of the {name} networks", mistakes, within=5e-3)
    done("3.4", "Beyond the pixels: STIR less pixels, for each of the two.")
