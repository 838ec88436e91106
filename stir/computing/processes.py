"""Processes that end when their parent does, however that ends.

It imports nothing of the package, so that a process can begin with it at once.
"""

from __future__ import annotations

import os
import signal
import threading
import time

# Seconds between two looks at the parent. Linux could send a signal instead, but at the end of the parent's thread.
INTERVAL = 0.5


def end_with(parent: int) -> None:
    """Have this process kill itself by SIGKILL soon after its parent is gone; on Windows this does nothing.

    Args:
        parent: number of the process that started this one.
    """
    if os.name == "posix":
        threading.Thread(target=_watch, args=(parent,), name="end_with", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(INTERVAL)
    os.kill(os.getpid(), signal.SIGKILL)
