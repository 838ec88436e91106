"""Progress of long computations: as bars, and as lines in files for another process to show."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

INTERVAL = 0.5  # seconds between two lines of one computation
_numbers = count()


class Told:
    """Stand-in for a bar of tqdm's that writes its text into a file of its own, which exists while it runs.

    Args:
        iterable: what is counted, if anything.
        folder: of the files; their names sort by process and by start.
        total, desc, initial: as of tqdm.
    """

    def __init__(self, iterable: Iterable | None, folder: str, total: int | None, desc: str, initial: int = 0) -> None:
        self._iterable, self._total, self._desc, self._done = iterable, total, desc, initial
        self._path = Path(folder, f"{os.getpid()}-{next(_numbers):06}")
        self._written = -INTERVAL
        self.update(0)

    def __iter__(self) -> Iterator[Any]:
        with self:
            for each in self._iterable or ():
                yield each
                self.update()

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def update(self, n: int = 1) -> None:
        """Count `n` more."""
        self._done += n
        now = time.monotonic()
        if now - self._written >= INTERVAL:
            self._written = now
            with suppress(OSError):
                self._path.write_text(self._line, encoding="utf-8")

    def set_postfix(self, **_: object) -> None:
        """Nothing: there is no room for it."""

    @property
    def _line(self) -> str:
        if self._total is None:
            return self._desc
        few = self._total < 1_000
        return f"{self._desc}: " + (f"{self._done} of {self._total}" if few else f"{self._done / self._total:.0%}")


Bar = tqdm | Told


def progress_bar(
    iterable: Iterable | None = None,
    *,
    show: bool,
    desc: str,
    total: int | None = None,
    initial: int = 0,
    **options: Any,
) -> Bar:
    """A bar of tqdm's; if it is not shown and `$STIR_PROGRESS` names a folder, a line in a file there instead.

    Args:
        show: show the bar.
        iterable, desc, total, initial, **options: as of tqdm.
    """
    folder = os.environ.get("STIR_PROGRESS")
    if folder and not show:
        return Told(iterable, folder, total, desc, initial)
    return tqdm(iterable, desc=desc, total=total, initial=initial, disable=not show, leave=False, **options)


@contextmanager
def telling(text: str) -> Iterator[None]:
    """Show `text` within the `with` block: in a file if `$STIR_PROGRESS` names a folder, or else once, on stderr."""
    folder = os.environ.get("STIR_PROGRESS")
    if not folder:
        print(text, file=sys.stderr, flush=True)
        yield
        return
    with Told(None, folder, None, text):
        yield


def lines(folder: Path) -> list[str]:
    """Progress lines in a folder, the outer computation of a process first."""
    texts = []
    for path in sorted(folder.glob("*-*")):
        with suppress(OSError):  # it has just ended
            texts.append(path.read_text(encoding="utf-8"))
    return [line for line in texts if line]
