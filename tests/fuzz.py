"""Fuzzing, `make fuzz`: random inputs of what users write, each judged by an independent reference.

Every outcome has to be a refusal of one line that names what is wrong, or the result that the reference has. The
inputs follow from --seed, so that a second run with the same versions tries the same ones.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.fuzzing import classes, folders, parameters, store
from hypothesis import HealthCheck, Phase, given, seed, settings
from tqdm import tqdm

# Target -> its share of the inputs: files take more time than texts.
TARGETS = {
    "parameters": (parameters.command_line, 0.40),
    "scales": (parameters.scale_files, 0.20),
    "classes": (classes.selected_classes, 0.25),
    "folders": (folders.image_folders, 0.05),
    "cards": (store.cards, 0.05),
    "checkpoints": (store.checkpoints, 0.05),
}
# Inputs of one run of Hypothesis: it remembers all inputs of a run.
CHUNK = 500
# Seconds that an input may take; most take some milliseconds.
PATIENCE = 60


@dataclass
class Report:
    """What became of the inputs of a target: a count for each outcome, and the wrong outcomes in words."""

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[str, None] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def count(self) -> int:
        return self.outcomes.total()


def fuzz(target: str, count: int, random_seed: int = 0, *, progress: bool = False) -> Report:
    """Try `count` inputs of a target."""
    report, start = Report(), time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
        tqdm(total=count, desc=target, unit="input", disable=not progress) as bar,
    ):
        patch.setenv("STIR_STORE", str(Path(folder) / "store"))
        place = Path(folder).resolve() / "place"
        place.mkdir()
        strategy, check = TARGETS[target][0](place)

        def one(drawn: object) -> None:
            if report.count < end:  # beyond it, Hypothesis tries smaller inputs of the same wrong outcome
                report.outcomes["wrong"] += 1
                bar.update()
                report.outcomes[_in_time(check, drawn)] += 1
                report.outcomes["wrong"] -= 1
            else:
                _in_time(check, drawn)

        for chunk in itertools.count():  # a wrong outcome ends a chunk early
            end = min(count, report.count + CHUNK)
            if report.count == end:
                break
            try:
                _hypothesis(one, strategy, end - report.count, f"{random_seed} {target} {chunk}")
            except Exception as error:
                report.findings |= {_described(each): None for each in _single(error)}
    report.seconds = time.perf_counter() - start
    return report


def _hypothesis(test, strategy, count: int, name: str) -> None:
    options = settings(
        max_examples=count, database=None, deadline=None, derandomize=False, print_blob=False,
        suppress_health_check=[*HealthCheck], phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    seed(name)(options(given(strategy)(test)))()


def _in_time(check: Callable[[Any], str], drawn: object) -> str:
    """Check an input; what blocks for `PATIENCE` is wrong, too."""

    def tell(*_: object) -> None:
        raise AssertionError(f"it takes longer than {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, tell)
    signal.alarm(PATIENCE)
    try:
        return check(drawn)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _single(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _single(each)
    else:
        yield error


def _described(error: BaseException) -> str:
    """The exception, where it was raised, and the smallest input that Hypothesis found for it."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    notes = "\n".join(getattr(error, "__notes__", []))
    return f"{type(error).__name__}: {error}\n{frame.f_code.co_filename}:{line}\n{notes}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000, help="inputs of all targets")
    parser.add_argument("--seed", type=int, default=0, help="what the inputs follow from")
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=[*TARGETS], help="some of the targets")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    shares = sum(TARGETS[name][1] for name in options.only)
    found = 0
    for name in options.only:
        report = fuzz(name, max(1, round(options.count * TARGETS[name][1] / shares)), options.seed, progress=True)
        outcomes = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(report.outcomes.items()) if number)
        print(f"{name}: {report.count:,} inputs in {report.seconds:.0f} s: {outcomes}", flush=True)
        for finding in report.findings:
            print(f"\n{finding}\n")
        found += len(report.findings)
    print(f"{found} wrong outcomes" if found else "no wrong outcome")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
