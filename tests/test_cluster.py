"""Clusters: shares of cores and GPUs, files for queueing systems, and jobs of a stand-in for SLURM that really run."""

import sys

import pytest
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
