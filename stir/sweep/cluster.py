"""Clusters of Dask that a sweep runs on: this machine's cores or GPUs, an existing one, or jobs of a queueing system.

Each worker runs one combination at a time. Nothing listens beyond the loopback address, except where a file for a
queueing system names a network. Dask is imported only here, and when a cluster is asked for.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from stir.book.parameters import load_yaml

if TYPE_CHECKING:
    from distributed import Client

LOOPBACK = "127.0.0.1"
DASHBOARD = f"{LOOPBACK}:8787"  # where that is taken, another port
TIMEOUT = 30  # seconds for an existing scheduler to answer
# Queueing system -> its class in dask_jobqueue.
QUEUES = {
    "slurm": "SLURMCluster", "pbs": "PBSCluster", "sge": "SGECluster", "lsf": "LSFCluster", "oar": "OARCluster",
    "moab": "MoabCluster", "htcondor": "HTCondorCluster",
}  # fmt: skip
SETTINGS = {
    "distributed.scheduler.worker-saturation": 1.0,  # a worker that dies has no second combination waiting
    "distributed.scheduler.allowed-failures": 2,  # deaths of workers under one combination; the next one makes it fail
    "distributed.worker.profile.enabled": False,
}


def _import(module: str) -> Any:
    """Import one of the packages of `[sweep]`.

    Raises:
        RuntimeError: it is not installed; with the remedy.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RuntimeError(f"a sweep needs Dask ({error}); in your clone: pip install '.[sweep]'") from error


def gpus() -> list[str]:
    """Names of this machine's GPUs for `CUDA_VISIBLE_DEVICES`; those that this variable leaves, if it is set."""
    if not torch.cuda.is_available():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]


def shares(workers: int, cores: int, devices: Sequence[str]) -> list[dict[str, str]]:
    """The environment of each worker: its share of the cores, and the GPU that it uses, if there is one."""
    threads = {"OMP_NUM_THREADS": str(max(1, cores // workers))}
    if not devices:
        return [threads] * workers
    return [threads | {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} for number in range(workers)]


@contextmanager
def _settings() -> Iterator[None]:
    dask = _import("dask")
    _import("distributed")
    with dask.config.set(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*Port .* is already in use")  # another one is taken, and printed
        yield


@contextmanager
def local(workers: int | None = None, devices: Sequence[str] = (), *, at_most: int = sys.maxsize) -> Iterator[Client]:
    """A cluster on this machine, which ends with the `with` block, or with this process.

    Args:
        workers: their number; None for one for each of the GPUs, or, without these, one for each core.
        devices: GPUs to use; none for the CPU.
        at_most: more workers than this would have nothing to do.
    """
    with _settings():
        from dask.system import CPU_COUNT
        from distributed import Client, Nanny, Scheduler, SpecCluster

        quiet: Any = logging.CRITICAL  # a level, though Dask annotates a bool
        options = {"host": LOOPBACK, "nthreads": 1, "memory_limit": 0, "silence_logs": quiet, "dashboard": False}
        environments = shares(min(workers or len(devices) or CPU_COUNT, at_most), CPU_COUNT, devices)
        with (
            SpecCluster(
                scheduler={
                    "cls": Scheduler,
                    "options": {"host": LOOPBACK, "port": 0, "dashboard": True, "dashboard_address": DASHBOARD},
                },
                workers={
                    number: {"cls": Nanny, "options": options | {"env": environment}}
                    for number, environment in enumerate(environments)
                },
                silence_logs=quiet,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client


@contextmanager
def existing(address: str) -> Iterator[Client]:
    """The cluster whose scheduler listens at `address`, such as "tcp://10.0.0.1:8786"; it goes on afterwards.

    Raises:
        ValueError: nobody answers there, there is no worker, or one of them runs several tasks at a time.
    """
    with _settings():
        from distributed import Client

        try:
            client = Client(address, timeout=TIMEOUT)
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(
                f"scheduler={address!r} does not answer; give the address that `dask scheduler` prints, such as "
                "tcp://10.0.0.1:8786"
            ) from error
        with client:
            workers = client.scheduler_info(n_workers=-1)["workers"]
            if not workers:
                raise ValueError(
                    f"scheduler={address!r} has no workers; start some: dask worker {address} --nthreads 1"
                )
            crowded = [name for name, worker in workers.items() if worker["nthreads"] != 1]
            if crowded:
                raise ValueError(
                    f"scheduler={address!r}: the worker {crowded[0]} runs {workers[crowded[0]]['nthreads']} tasks at a "
                    "time; start workers with --nthreads 1, and give each its cores by OMP_NUM_THREADS"
                )
            yield client


def read_queue(path: Path) -> tuple[str, dict[str, Any]]:
    """Read a file that describes jobs: a queueing system, and below it the arguments of its class in dask_jobqueue.

    Raises:
        ValueError: it cannot be read; names no system of `QUEUES`; or no network for the workers to be reached by.
    """
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"cluster={str(path)!r} cannot be read: {error}") from error
    if not isinstance(content, dict) or len(content) != 1 or not isinstance(content[next(iter(content))], dict):
        raise ValueError(f"cluster={str(path)!r} must hold one name of {', '.join(QUEUES)}, and settings below it")
    ((system, settings),) = content.items()
    if system not in QUEUES:
        raise ValueError(f"cluster={str(path)!r}: {system!r} is unknown; use one of {', '.join(QUEUES)}")
    if not settings.get("interface"):
        raise ValueError(
            f"cluster={str(path)!r} names no network; add the interface by which the nodes reach this machine, such as "
            "interface: ib0, which the scheduler then listens at (`ip address` lists them)"
        )
    if settings.get("cores", 1) != settings.get("processes", 1):
        raise ValueError(
            f"cluster={str(path)!r}: a worker runs one combination at a time; set cores and processes to the same "
            "number, and ask for more cores in a job by the system's own setting, such as job_cpu of slurm"
        )
    return system, {"cores": 1, "processes": 1} | settings


def jobs(system: str, settings: Mapping[str, Any]) -> Any:
    """The cluster of a queueing system, without workers; its method `job_script()` returns the text of a job."""
    options = {"dashboard_address": DASHBOARD} | dict(settings.get("scheduler_options", {}))
    cluster_class = getattr(_import("dask_jobqueue"), QUEUES[system])
    return cluster_class(**{**settings, "scheduler_options": options, "silence_logs": logging.CRITICAL})


@contextmanager
def queued(path: Path, workers: int) -> Iterator[Client]:
    """A cluster of jobs of a queueing system, which end with the `with` block. A job that ends is followed by another.

    Args:
        path: as in `read_queue`.
        workers: number of jobs.

    Raises:
        ValueError: as `read_queue`, or settings that the system's class in dask_jobqueue refuses.
    """
    system, settings = read_queue(path)
    with _settings():
        from distributed import Client

        try:
            cluster = jobs(system, settings)
        except (ValueError, TypeError, OSError) as error:
            raise ValueError(f"cluster={str(path)!r}: {' '.join(str(error).split())}") from error
        with cluster, Client(cluster) as client:
            cluster.adapt(minimum=workers, maximum=workers)  # replaces jobs that the queueing system ended
            yield client
