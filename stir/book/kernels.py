"""Processes of notebooks: started with this Python, ended with their children, and their deaths in words."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError

START_TIMEOUT = 600  # seconds; on a busy machine a kernel may take one minute to start


@contextmanager
def kernels_that_end(staged: Path, environment: dict[str, str]) -> Iterator[type[AsyncKernelManager]]:
    """Yield a class of kernel managers; at the end, end what is left of the process groups of their kernels.

    The kernels have `environment` beside this process's. One that is killed leaves processes that its cells have
    started. (It ends itself if this process is killed.)

    Raises:
        DeadKernelError: a kernel died, or did not start; with the reason in words.
    """
    processes: list[Any] = []

    # Outputs of cells come another way. What a kernel says of its interruption would hide why it was.
    with tempfile.TemporaryFile() as said:

        class KernelManager(AsyncKernelManager):
            @property
            def kernel_spec(self) -> KernelSpec:
                """Specification of a kernel of this Python, whatever kernels are installed under its name."""
                return KernelSpec(**get_kernel_dict())

            async def start_kernel(self, **options: Any) -> None:
                self.connection_file = str(staged / ".kernel.json")
                options["env"] = {**(options.get("env") or os.environ), **environment}
                await super().start_kernel(**options, stderr=said)
                provisioner: Any = self.provisioner
                processes.append(provisioner.process)

        try:
            yield KernelManager
        except RuntimeError as error:
            if not str(error).startswith("Kernel d"):
                raise
            how = "did not answer" if "respond" in str(error) else _end(processes[-1].returncode)
            reason = f"its process {how}"
            if not isinstance(error, DeadKernelError):  # it never ran
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines() or ["no reason is given"]
                reason += f" before its first cell: {lines[-1]}"
            raise DeadKernelError(reason) from error
        finally:
            for process in processes:
                _end_group(process.pid)


def _end(code: int | None) -> str:
    """Describe in words how a process ended."""
    if code == -9:
        return "was killed, most often for want of memory"
    return f"died of {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"


def _end_group(group: int) -> None:
    """End the processes of a group, if any is left."""
    if os.name != "posix":
        return
    with suppress(ProcessLookupError, PermissionError):  # gone, as it should be
        os.killpg(group, signal.SIGTERM)
        for _ in range(100):  # joblib removes what it shares between workers once they are gone
            os.killpg(group, 0)
            time.sleep(0.02)
        os.killpg(group, signal.SIGKILL)
