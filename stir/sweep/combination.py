"""One combination of a sweep: its parameters, its state, and its execution by the runner of `stir run`."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from papermill.exceptions import PapermillExecutionError

from stir.book import outcome, runner, running
from stir.book.freshness import fingerprint, is_current
from stir.files import lock, write_atomically
from stir.sweep.grid import in_words

DONE, FAILED, OPEN = "done", "failed", "open"


@dataclass(frozen=True)
class Combination:
    """A notebook with a set of parameters, and the folder of its results.

    Attributes:
        notebook: its source.
        scale: name of the scale, for the page.
        values: the parameters that the runner gets, those of the scale among them.
        varied: those of the grid.
        folder: where its results go.
    """

    notebook: Path
    scale: str
    values: dict[str, Any]
    varied: dict[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def words(self) -> str:
        """The parameters that distinguish it from the others of its sweep, written like a grid."""
        return in_words(self.varied)

    @property
    def partial(self) -> Path:
        """Path at which the partly executed notebook is kept if the run fails."""
        return self.folder / f"{self.notebook.stem}-failed.ipynb"

    @property
    def state(self) -> str:
        """`DONE` or `FAILED`, with the notebook, the parameters and the package of now; else `OPEN`."""
        if is_current(self.notebook, self.values, self.folder):
            return DONE
        return FAILED if self.failure is not None else OPEN

    @property
    def failure(self) -> str | None:
        """Reason why its last run failed; None if it did not, or if the notebook or the package have changed since."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
            return str(record["reason"]) if record["made_of"] == self._made_of else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep_failure(self, reason: str) -> None:
        """Keep the reason why this run failed, so that it is not tried again unasked."""
        text = json.dumps({"made_of": self._made_of, "reason": reason})
        write_atomically(self._record, lambda path: path.write_text(text, encoding="utf-8"))

    def forget_failure(self) -> None:
        self._record.unlink(missing_ok=True)

    @property
    def _record(self) -> Path:
        return self.folder / f"{self.notebook.stem}-failed.json"

    @cached_property
    def _made_of(self) -> dict[str, Any]:
        return fingerprint(self.notebook, self.values, self.folder)


@dataclass(frozen=True)
class Outcome:
    """End of a combination: the seconds that it took, 0 where it was done already, and why it failed, if it did."""

    combination: Combination
    seconds: float = 0.0
    failure: str | None = None


def execute(combination: Combination, store: str, cell_timeout: int) -> Outcome:
    """Run a combination, in a worker's process, unless it is done; the workers share the store.

    Whatever fails is part of the outcome, and kept.
    """
    os.environ["STIR_STORE"] = store
    running.silence_libraries()
    start = time.perf_counter()
    try:
        if not combination.notebook.exists():
            raise ValueError(f"{combination.notebook} is not on this worker; the project must lie in a common folder")
        combination.folder.mkdir(parents=True, exist_ok=True)
        # Another worker may still be at it, if it was only thought to be dead.
        with lock(combination.folder / ".running"):
            if combination.state == DONE:
                return Outcome(combination)
            runner.execute(
                combination.notebook,
                combination.values,
                combination.folder,
                scale=combination.scale,
                cell_timeout=cell_timeout,
                failed=combination.partial,
            )
            combination.forget_failure()
    except Exception as error:
        reason = _in_words(error)
        with contextlib.suppress(OSError):
            combination.keep_failure(reason)
        return Outcome(combination, time.perf_counter() - start, reason)
    return Outcome(combination, time.perf_counter() - start)


def _in_words(error: Exception) -> str:
    """One line on why a run failed."""
    if isinstance(error, PapermillExecutionError):
        text = outcome.what_failed(error)
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())[:500]
