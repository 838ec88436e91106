"""Results of checks: an exercise is done, or has a mistake, found by comparison with usual ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from stir.study.naming import decimal


class Unmet(AssertionError):
    """An exercise that is not done yet; a notebook shows the message without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet. {self}"]


def done(exercise: str, remark: str = "") -> None:
    """Say that an exercise is done."""
    print(f"✓ Exercise {exercise}. {remark}".rstrip(" "))


def outcome(function: Any, *arguments: Any, name: str) -> Any:
    """Return the result of the student's function.

    Raises:
        Unmet: it is no function, or returns nothing.
    """
    if not callable(function):
        raise Unmet(f"`{name}` is {function!r}, not a function; write `def {name}(...):`.")
    value = function(*arguments)
    if value is None or value is ...:
        raise Unmet(f"`{name}` returns nothing yet: write its lines, and end them with `return`.")
    return value


def number(value: Any, what: str) -> float:
    """A number that the student has found.

    Raises:
        Unmet: it is none.
    """
    if value is ... or value is None:
        raise Unmet(f"{what} is still missing: put a number in place of the dots.")
    try:
        result = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise Unmet(f"{what} should be one number, not {_short(value)}.") from None
    if math.isnan(result):
        raise Unmet(f"{what} is not a number (NaN): is there a division by zero?")
    return result


def check_number(
    value: Any, wanted: float, what: str, mistakes: Mapping[str, float] | None = None, within: float = 1e-3
) -> None:
    """Compare a number with the right one.

    Args:
        mistakes: what is wrong, in words -> the number that this leads to.
        within: largest difference that counts as none, in parts of the right one if that is above 1.

    Raises:
        Unmet: it is another; if a mistake explains it, the message says so.
    """
    answer = number(value, what)
    near = within * max(1.0, abs(wanted))
    if abs(answer - wanted) <= near:
        return
    for reason, wrong in (mistakes or {}).items():
        if abs(answer - wrong) <= near:
            raise Unmet(f"{what} is {answer:.3f}, and should be {wanted:.3f}: {reason}")
    raise Unmet(f"{what} is {answer:.3f}, and should be {wanted:.3f}.")


def check_tensor(
    value: Any, wanted: Tensor, what: str, mistakes: Mapping[str, Tensor] | None = None, within: float = 1e-3
) -> None:
    """Compare a tensor with the right one; as `check_number`.

    Args:
        within: largest difference of an entry that counts as none.
    """
    if not isinstance(value, Tensor):
        raise Unmet(f"{what} should be a tensor, not {_short(value)}.")
    if value.shape != wanted.shape:
        raise Unmet(f"{what} has the shape {tuple(value.shape)}, and should have {tuple(wanted.shape)}.")
    value = value.detach()
    if _apart(value, wanted) <= within:
        return
    for reason, wrong in (mistakes or {}).items():
        if wrong.shape == value.shape and _apart(value, wrong) <= within:
            raise Unmet(f"{what} is not right: {reason}")
    raise Unmet(f"{what} differs by up to {_apart(value, wanted):.3g} from what it should be.")


def check_guess(guesses: Any, outcomes: Mapping[str, Any], allowed: Callable[[Any], bool], of: str) -> str:
    """Compare predictions, which need not be right, with what came out; return a table as text.

    Raises:
        Unmet: a prediction is missing, or none of those that are allowed.
    """
    if not isinstance(guesses, Mapping):
        raise Unmet(f"The prediction should be a dictionary with {', '.join(map(repr, outcomes))}.")
    for name in outcomes:
        if guesses.get(name, ...) is ...:
            raise Unmet(f"Predict first: {name!r} is still missing. A guess is enough.")
        if not allowed(guesses[name]):
            raise Unmet(f"The prediction {name!r} should be {of}, not {_short(guesses[name])}.")
    width = max(map(len, outcomes))
    rows = {"": ("guessed", "came out")} | {name: (_cell(guesses[name]), _cell(outcomes[name])) for name in outcomes}
    lines = [f"{name:<{width}}  {guess:>7}  {outcome:>8}" for name, (guess, outcome) in rows.items()]  # on a phone too
    return "\n".join(["Your predictions:", *lines])


def is_number(low: float, high: float) -> Callable[[Any], bool]:
    """A function that tells whether a value is a number from `low` to `high`."""
    return lambda value: isinstance(value, int | float) and low <= value <= high


def _cell(value: Any) -> str:
    return decimal(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _apart(one: Tensor, other: Tensor) -> float:
    difference = (one.to(torch.float64) - other.to(torch.float64)).abs().max().item()
    return math.inf if math.isnan(difference) else difference


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
