"""Real processes: a parent that is killed, and what is left of its descendants."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from helpers.project import PROJECT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
# Two workers that never end; each leaves a file of its number once it works.
BUSY = """
import os, pathlib, torch
from stir.computing.parallel import side_by_side

def busy(folder):
    pathlib.Path(folder, str(os.getpid())).touch()
    while True:
        pass

torch.set_num_threads(2)
list(side_by_side(busy, [(FOLDER,), (FOLDER,)], torch.device("cpu")))
"""


def python(code: str, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code], **{"env": ENVIRONMENT, **options})


def wait_until(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    """Wait for `condition()`, while `process` runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


def descendants(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def left(processes: list[psutil.Process], seconds: float = 30) -> list[str]:
    """The commands of those that still run after so many seconds; ends them, so that no test leaves one."""
    deadline = time.monotonic() + seconds
    while running := [each for each in processes if _runs(each)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    commands = [" ".join(each.cmdline()) for each in running]
    for each in running:
        each.kill()
    return commands


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def write_busy(folder: Path) -> str:
    """Code of two workers that leave their numbers in `folder`, which is made."""
    folder.mkdir()
    return BUSY.replace("FOLDER", repr(str(folder)))
