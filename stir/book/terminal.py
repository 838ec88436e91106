"""Progress of a running notebook on the terminal: its cell, the time so far, and what is computed."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stir.computing import progress

SETTING_UP = "setting up"  # the cells before the first heading: imports, checks, data
REFRESH, REPORT = 0.5, 60.0  # seconds between two looks: in a terminal's one line, and between two lines of a log


@contextmanager
def noted(text: str, stream: Any = None) -> Iterator[None]:
    """Show a text while the `with` block lasts, where the stream, stderr by default, is a terminal."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield
        return
    stream.write(text)
    stream.flush()
    try:
        yield
    finally:
        stream.write(f"\r{' ' * len(text)}\r")
        stream.flush()


@contextmanager
def following(name: str, cells: Sequence[Any], folder: Path, stream: Any = None) -> Iterator[dict[str, Any]]:
    """Follow a run in one line while it lasts; where the stream is no terminal, in a new line a minute.

    Args:
        name: of the notebook.
        cells: its cells.
        folder: of what its process tells (`stir.computing.progress`); it is made.
        stream: a text file; stderr by default.

    Yields:
        Hooks for nbclient.
    """
    stream = stream or sys.stderr
    folder.mkdir(exist_ok=True)
    status, over = Status(name, cells, folder), threading.Event()
    thread = threading.Thread(target=_show, args=(status, over, stream), name="status", daemon=True)
    thread.start()
    try:
        yield {"on_cell_start": status.cell_starts}
    finally:
        over.set()
        thread.join()


def _show(status: Status, over: threading.Event, stream: Any) -> None:
    if not stream.isatty():
        while not over.wait(REPORT):
            print(status.text, file=stream, flush=True)
        return
    while not over.wait(REFRESH):
        width = shutil.get_terminal_size().columns - 1
        stream.write(f"\r{status.text[:width].ljust(width)}")
        stream.flush()
    stream.write(f"\r{' ' * (shutil.get_terminal_size().columns - 1)}\r")
    stream.flush()


class Status:
    """The notebook's current cell, its time so far, and its process's progress; arguments as of `following`."""

    def __init__(self, name: str, cells: Sequence[Any], folder: Path) -> None:
        self._name, self._folder = name, folder
        self._start = time.monotonic()
        self._numbers, self._headings = _outline(cells)
        self._cell = 0  # none yet: the process starts

    async def cell_starts(self, cell: Any, cell_index: int) -> None:
        """Hook of nbclient's."""
        if cell.cell_type == "code":
            self._cell = self._numbers[min(cell_index, len(self._numbers) - 1)]

    @property
    def text(self) -> str:
        """The line as of now."""
        place = f"cell {self._cell} of {self._numbers[-1]}" if self._cell else "starting"
        heading = self._headings.get(self._cell)
        place += f" ({heading})" if heading else ""
        return " | ".join([self._name, place, duration(time.monotonic() - self._start), *progress.lines(self._folder)])


def _outline(cells: Sequence[Any]) -> tuple[list[int], dict[int, str]]:
    """For each cell the number of code cells up to it; and, by that number, the heading above a code cell."""
    numbers, headings, number = [], {}, 0
    titles = [
        [line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("##")]
        if cell.cell_type == "markdown"
        else []
        for cell in cells
    ]
    heading = SETTING_UP if any(titles) else ""
    for cell, own in zip(cells, titles, strict=True):
        heading = own[-1] if own else heading
        if cell.cell_type == "code":
            number += 1
            headings[number] = heading
        numbers.append(number)
    return numbers, headings


def duration(seconds: int | float) -> str:
    """A time in words: `7 s`, `3:05 min` or `2:03:05 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = f"{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{whole // 3600}:{minutes} h" if whole >= 3600 else f"{minutes.lstrip('0').rjust(4, '0')} min"
