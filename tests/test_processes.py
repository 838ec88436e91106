"""Processes that end with their parent: real ones, whose parent is killed."""

import signal
import time

import psutil
import pytest
from helpers.processes import descendants, left, python, wait_until, write_busy

from stir.computing import processes

WATCHING = f"""
import os, runpy, sys, time
if child := os.fork():
    print(child)
    time.sleep(PARENT)
    os._exit(0)
runpy.run_path({processes.__file__!r})["end_with"](os.getppid())
time.sleep(CHILD)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_process_ends_with_its_parent(end):
    process = python(WATCHING.replace("PARENT", "1000" if end else "2").replace("CHILD", "1000"), stdout=-1, text=True)
    child = psutil.Process(int(process.stdout.readline()))
    time.sleep(1.5)
    assert child.is_running()
    if end:
        process.send_signal(end)
    process.wait()
    assert left([child]) == []


def test_a_process_whose_parent_lives_ends_as_it_would():
    process = python(
        WATCHING.replace("time.sleep(PARENT)", "print(os.waitpid(child, 0)[1])").replace("CHILD", "1.5"),
        stdout=-1,
        text=True,
    )
    assert process.communicate()[0].split()[1] == "0"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_workers_of_a_killed_script_end(end, tmp_path):
    process = python(write_busy(tmp_path / "workers"))
    wait_until(lambda: len(list((tmp_path / "workers").iterdir())) == 2, process)
    family = descendants(process)
    assert {int(path.name) for path in (tmp_path / "workers").iterdir()} <= {each.pid for each in family}
    process.send_signal(end)
    process.wait()
    assert left(family) == []


def test_workers_that_wait_for_work_end_too(tmp_path):
    code = (
        write_busy(tmp_path / "workers").replace("while True:\n        pass", "pass") + "import time; time.sleep(1000)"
    )
    process = python(code)
    wait_until(lambda: len(list((tmp_path / "workers").iterdir())) >= 1, process)
    time.sleep(1)
    family = descendants(process)
    assert len(family) >= 2
    process.kill()
    process.wait()
    assert left(family) == []
