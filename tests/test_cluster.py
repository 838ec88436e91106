"""Clusters: shares of cores and GPUs, files for queueing systems, and jobs of a stand-in for SLURM that really run."""

import os
import subprocess
import sys

import psutil
import pytest
from helpers.processes import ENVIRONMENT, left
from helpers.project import PROJECT

from stir.sweep import cluster

SLURM = PROJECT / "notebooks" / "clusters" / "slurm.yml"


def test_each_worker_has_its_share_of_cores_and_one_gpu():
    assert cluster.shares(2, 8, []) == [{"OMP_NUM_THREADS": "4"}] * 2
    assert cluster.shares(3, 2, []) == [{"OMP_NUM_THREADS": "1"}] * 3
    devices = [each["CUDA_VISIBLE_DEVICES"] for each in cluster.shares(3, 8, ["2", "GPU-5"])]
    assert devices == ["2", "GPU-5", "2"]


def test_gpus_are_those_that_are_visible(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert cluster.gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert cluster.gpus() == ["3", "5"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert cluster.gpus() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: "),
        ("slurm: [", "cannot be read: "),
        ("slurm", "must hold one name of slurm, pbs"),
        ("queue: gpu\nmemory: 1GB", "must hold one name of slurm, pbs"),
        ("sulrm: {memory: 1GB}", "'sulrm' is unknown; use one of slurm, pbs"),
        ("slurm: {memory: 1GB}", "names no network; add the interface by which the nodes reach this machine"),
        ("slurm: {interface: lo, cores: 4}", "a worker runs one combination at a time; set cores and processes"),
    ],
)
def test_what_is_no_file_of_a_queueing_system(tmp_path, text, message):
    path = tmp_path / "own.yml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        cluster.read_queue(path)


@pytest.mark.parametrize("more", ["nonsense: 1", "memory: null"])
def test_settings_that_the_systems_class_refuses_are_one_line(tmp_path, more):
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "own.yml").write_text(f"slurm:\n  interface: lo\n  {more}\n")
    with pytest.raises(ValueError, match="cluster='.*own.yml': ") as error, cluster.queued(tmp_path / "own.yml", 1):
        pass
    assert "\n" not in str(error.value)


def test_the_job_of_the_documented_file():
    pytest.importorskip("dask_jobqueue")
    system, settings = cluster.read_queue(SLURM)
    with cluster.jobs(system, settings | {"interface": "lo"}) as made:
        script = made.job_script()
        assert made.scheduler_address.startswith("tcp://127.0.0.1:")
        assert "//127.0.0.1:" in made.dashboard_link
    lines = script.splitlines()
    for line in ("-p gpu", "-n 1", "--cpus-per-task=4", "--mem=15G", "-t 08:00:00", "--gres=gpu:1"):
        assert f"#SBATCH {line}" in lines
    assert "export OMP_NUM_THREADS=4" in lines
    assert f"{sys.executable} -m distributed.cli.dask_worker tcp://127.0.0.1:" in lines[-1]
    assert "--nthreads 1 " in lines[-1] and "--interface lo" in lines[-1]


# As SLURM does, it holds a copy of the script: dask_jobqueue deletes the file as soon as sbatch returns.
SBATCH = """#!{python}
import subprocess, sys
with open(sys.argv[-1]) as file, open("{log}", "a") as log:
    script = file.read()
    log.write(script)
    job = subprocess.Popen(["bash", "-c", script], start_new_session=True, stdout=log, stderr=log)
with open("jobs", "a") as jobs:
    print(job.pid, file=jobs)
print("Submitted batch job", job.pid)
"""
SCANCEL = "#!/usr/bin/env bash\nkill -- -$1\n"
SWEEP = """
from pathlib import Path
from stir.sweep import cluster

with cluster.queued(Path("own.yml"), 1) as client:
    print(client.submit(sum, [1, 2]).result(timeout=120))
    print(*{each["nthreads"] for each in client.scheduler_info()["workers"].values()})
"""


def test_a_job_of_a_stand_in_for_slurm_works_and_is_cancelled(tmp_path):
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "bin").mkdir()
    for name, code in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        file = tmp_path / "bin" / name
        file.write_text(code.replace("{python}", sys.executable).replace("{log}", str(tmp_path / "log")))
        file.chmod(0o755)
    (tmp_path / "own.yml").write_text(SLURM.read_text().replace("ib0", "lo"))
    environment = ENVIRONMENT | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-c", SWEEP], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "3\n1\n", done.stderr + (tmp_path / "log").read_text()
    jobs = [int(pid) for pid in (tmp_path / "jobs").read_text().split()]
    assert len(jobs) == 1 and left([psutil.Process(pid) for pid in jobs if psutil.pid_exists(pid)]) == []


def test_an_existing_cluster_has_to_answer_and_to_have_workers_of_one_task(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "TIMEOUT", 0.5)
    with (
        pytest.raises(ValueError, match="scheduler='tcp://127.0.0.1:1' does not answer; "),
        cluster.existing("tcp://127.0.0.1:1"),
    ):
        pass
    options = dict(threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None)
    monkeypatch.setattr(cluster, "TIMEOUT", 30)
    with distributed.LocalCluster(n_workers=0, **options) as made:
        address = made.scheduler_address
        with (
            pytest.raises(ValueError, match=f"has no workers; start some: dask worker {address} "),
            cluster.existing(address),
        ):
            pass
        made.scale(1)
        made.wait_for_workers(1)
        with cluster.existing(address) as client:
            assert client.submit(sum, [1, 2]).result() == 3
    with distributed.LocalCluster(n_workers=1, **(options | {"threads_per_worker": 2})) as made:
        address = made.scheduler_address
        with (
            pytest.raises(ValueError, match="runs 2 tasks at a time; start workers with --nthreads 1"),
            cluster.existing(address),
        ):
            pass
