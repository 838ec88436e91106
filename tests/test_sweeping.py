"""Sweeps on a real cluster of two workers, of which one is killed: each combination once; and what is refused."""

import re
import shutil
import subprocess
import sys

import pandas as pd
import psutil
import pytest
from click.testing import CliRunner
from helpers.processes import ENVIRONMENT, left, wait_until
from helpers.project import PROJECT, write_project

from stir.book.freshness import fingerprint
from stir.book.staging import move_files, staging
from stir.cli import main
from stir.sweep import sweeping
from stir.sweep.combination import Combination, Outcome

PARAMETERS = """
x: int = 0  # what is measured
kinds: list = ["a"]  # of what
unlucky: bool = False  # fail
deadly: bool = False  # end the worker
"""
CODE = """
import os, time
import pandas as pd

with open("../../log", "a") as log:  # in the folder of the sweep
    log.write(f"{x}\\n")
assert not unlucky or x != 3, "unlucky"
if deadly and x == 1 and not os.path.exists("../../cured"):
    os.kill(os.getppid(), 9)
    time.sleep(60)
time.sleep(2)
pd.DataFrame({"stir": [x / 10, x / 5], "kind": [kinds[0], "b"]}).to_csv("own.csv", index=False)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one notebook, `own`, which logs each run; the current folder."""
    write_project(tmp_path, "own", PARAMETERS, CODE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMAND = ["sweep", "own", "--grid", "x=0..5", "-p", "unlucky", "true", "--output", "out"]


def test_a_worker_that_is_killed_loses_its_combination_only(project):
    pytest.importorskip("distributed")
    command = [sys.executable, "-m", "stir", *COMMAND, "--workers", "2", "--plot", "stir"]
    process = subprocess.Popen(
        command, cwd=project, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = project / "out" / "log"
    wait_until(lambda: log.exists() and len(log.read_text().split()) >= 3, process)
    family = psutil.Process(process.pid).children(recursive=True)
    sockets = [each for one in [psutil.Process(process.pid), *family] for each in one.net_connections("inet")]
    listening = {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN}
    kernel = next(each for each in family if "ipykernel_launcher" in " ".join(each.cmdline()))
    kernel.parent().kill()
    out, err = process.communicate(timeout=300)
    assert listening == {"127.0.0.1"}
    assert "Dashboard: http://127.0.0.1:" in out in out
    assert re.search(r"\n\d+ s with 2 workers, of it \d+ s to start them; at work \d+% of the time\n", out)
    assert process.returncode == 1 and "Traceback" not in err
    # What varies tells one from another, not the folder's name.
    assert "1 of 6 combinations failed; --retry runs them again:\n  x=3: cell 3, `assert not unlucky" in err
    assert err.endswith("\n    as far as it came: out/own-x=3,unlucky=true/own-failed.ipynb\n")
    ends = re.findall(r"^\[(\d)/6\] (x=\d): (?:\d+ s|failed)$", out, re.MULTILINE)
    assert sorted(end[1] for end in ends) == [f"x={x}" for x in range(6)] and ends[5][0] == "6"
    assert "\nout/own-unlucky=true-by-x=0+1+2+3+4+5.csv\n" in out
    runs = [int(each) for each in log.read_text().split()]
    # The one that was lost twice, if it had begun; and no other.
    assert sorted(set(runs)) == [0, 1, 2, 3, 4, 5] and len(runs) in (6, 7)
    table = pd.read_csv(project / "out" / "own-unlucky=true-by-x=0+1+2+3+4+5.csv")
    assert table.columns[0] == "x" and sorted(table.x) == sorted([0, 1, 2, 4, 5] * 2)
    assert (project / "out" / "own-unlucky=true-by-x=0+1+2+3+4+5-stir-x.png").stat().st_size > 1_000
    assert left(family) == []

    # What is done, or has failed, is not run again, and needs no cluster.
    again = CliRunner().invoke(main, COMMAND)
    assert "6 combinations: 5 done, 0 to run\n" in again.output and again.exit_code == 1
    assert log.read_text().split() == [str(each) for each in runs]
    plan = sweeping.plan(project, "own", "digits", [("unlucky", "true")], ["x=0..5"], project / "out")
    assert [each.state for each in plan.combinations] == ["done"] * 3 + ["failed"] + ["done"] * 2
    (project / "notebooks" / "own.ipynb").write_text((project / "notebooks" / "own.ipynb").read_text() + " ")
    plan = sweeping.plan(project, "own", "digits", [("unlucky", "true")], ["x=0..5"], project / "out")
    assert {each.state for each in plan.combinations} == {"open"}  # all is of another notebook


def test_a_combination_that_kills_each_of_its_workers_fails_alone(project):
    pytest.importorskip("distributed")
    command = [sys.executable, "-m", "stir", "sweep", "own", "--grid", "x=0..2", "-p", "deadly", "true"]
    command += ["--output", "out", "--workers", "2"]
    ended = subprocess.run(command, cwd=project, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    reason = "its workers died, time and again; most often for want of memory"
    assert f"1 of 3 combinations failed; --retry runs them again:\n  x=1: {reason}\n" in ended.stderr
    table = project / "out" / "own-deadly=true-by-x=0+1+2.csv"
    assert sorted(pd.read_csv(table).x) == [0, 0, 2, 2]
    log = (project / "out" / "log").read_text().split()
    assert log.count("0") == log.count("2") == 1 and log.count("1") == 3
    assert "3 combinations: 2 done, 0 to run\n" in CliRunner().invoke(main, command[3:]).output
    (project / "out" / "cured").touch()
    again = [*command, "--retry"]
    subprocess.run(again, cwd=project, env=ENVIRONMENT, capture_output=True, check=True, timeout=900)
    assert sorted(pd.read_csv(table).x) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["own"], "a sweep needs a grid; give one, such as --grid epsilon=0.25,0.5,1"),
        (["won", "--grid", "x=1"], "notebook='won' is unknown; "),
        (["own", "--grid", "y=1"], "parameter 'y' does not exist; "),
        (["own", "--grid", "x=1,a"], "parameter x='a' is of type str; it must be of type int"),
        (["own", "--grid", "x=1", "-p", "x", "2"], "'x' is given by -p and in the grid; leave one of them out"),
        (["own", "--grid", "x=1", "-p", "kinds", "5"], "parameter kinds=5 is of type int"),
        (["own", "--grid", "x=1", "--against", "kinds"], "against='kinds' is no parameter of the grid; use one of x"),
        (["own", "--grid", "x=1", "--scale", "huge"], "scale='huge' is unknown; use one of digits"),
        (["own", "--grid", "x=1", "--scheduler", "tcp://a:1", "--workers", "2"], "leave --workers and --cluster out"),
    ],
)
def test_a_sweep_is_checked_before_anything_runs(project, arguments, message):
    result = CliRunner().invoke(main, ["sweep", *arguments])
    assert result.exit_code == 1 and message in result.output and result.output.count("\n") == 1
    assert not (project / "runs").exists()


def finish(combination, **columns):
    """Leave what a run of a combination does."""
    made_of = fingerprint(combination.notebook, combination.values, combination.folder)
    with staging(combination.folder, ".running-") as staged:
        shutil.copy(combination.notebook, staged)
        pd.DataFrame(columns).to_csv(staged / "own.csv", index=False)
        move_files(staged, combination.folder / "own.json", made_of)


def test_a_figure_is_checked_before_anything_runs_where_a_run_tells_the_columns(project, monkeypatch):
    monkeypatch.setattr("stir.sweep.commands._run", lambda *_: pytest.fail("it ran"))
    earlier, *_ = sweeping.plan(project, "own", "digits", [], ["x=5"]).combinations
    finish(earlier, stir=[0.5], kind=["a"])
    for column, meant in {"stri": "did you mean 'stir', of own.csv?", "kind": "use one of stir (of own.csv)"}.items():
        result = CliRunner().invoke(main, ["sweep", "own", "--grid", "x=1,2", "--plot", column])
        assert result.exit_code == 1 and result.output == (
            f"Error: plot={column!r} is no column of numbers in the tables of own; {meant}\n"
        )


def test_what_ended_counts_though_the_notebook_changes_meanwhile(project, monkeypatch):
    def run(pending, *_):
        outcomes = []
        for each in pending:
            if each.varied["x"] == 2:
                each.keep_failure("cell 2: unlucky")
                outcomes.append(Outcome(each, 1.0, "cell 2: unlucky"))
            else:
                finish(each, stir=[0.5])
                outcomes.append(Outcome(each, 1.0))
            each.notebook.write_text(f"{each.notebook.read_text()} ")
        return outcomes

    monkeypatch.setattr("stir.sweep.commands._run", run)
    result = CliRunner().invoke(main, ["sweep", "own", "--grid", "x=1..3", "--output", "out", "--plot", "stri"])
    stale = "2 of the 2 that are done are stale; of x=1, since it ran, there changed the notebook"
    assert result.output.splitlines() == [
        "No run of own is here to tell whether its tables have a column 'stri'.",
        "3 combinations: 0 done, 3 to run",
        "out/own-by-x=1+2+3.csv",
        f"{stale}. The same command runs them again.",
        "Error: No figure is drawn: plot='stri' is no column of numbers; did you mean 'stir', of own-by-x=1+2+3.csv?",
        "1 of 3 combinations failed; --retry runs them again:",
        "  x=2: cell 2: unlucky",
    ]
    assert result.exit_code == 1 and pd.read_csv(project / "out" / "own-by-x=1+2+3.csv").x.tolist() == [1, 3]


def test_every_combination_is_checked_as_its_notebook_does(monkeypatch):
    monkeypatch.chdir(PROJECT)
    result = CliRunner().invoke(main, ["sweep", "loss", "--grid", "epsilon=1.0,0.0", "--grid", "seeds=[0, 1]"])
    assert result.exit_code == 1 and result.output == "Error: seeds=[0, 1]: epsilon=0.0 must be above 0\n"
    result = CliRunner().invoke(main, ["sweep", "loss", "--grid", "n_images=100,2000"])
    assert result.output == "Error: n_images=2000 must lie between 5 and 397, all test images\n"


def test_without_dask_the_remedy_is_told(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask", None)
    result = CliRunner().invoke(main, ["sweep", "own", "--grid", "x=1"])
    assert result.exit_code == 1 and "pip install '.[sweep]'" in result.output


def test_each_set_of_parameters_has_a_folder_of_its_own(project):
    plan = sweeping.plan(project, "own", "digits", [("unlucky", "true")], ["x=0,1", "kinds=[a],[a, b]"])
    names = [each.folder.relative_to(project / "runs" / "digits").as_posix() for each in plan.combinations]
    given = ["unlucky=true", "kinds=a+b,unlucky=true", "x=1,unlucky=true", "x=1,kinds=a+b,unlucky=true"]
    assert names == [f"own-{each}" for each in given]
    assert plan.combinations[1].values == {"unlucky": True, "kinds": ["a", "b"]}  # x=0 is the default
    assert re.fullmatch("own-unlucky=true-by-x=0\\+1,kinds=a\\+a\\+b-[0-9a-f]{8}", plan.name)


def test_efficiency_is_work_over_time():
    combination = Combination(PROJECT, "digits", {}, {}, PROJECT)
    outcomes = [Outcome(combination, seconds) for seconds in (30.0, 20.0, 0.0)]
    assert sweeping.efficiency(outcomes, workers=2, seconds=50.0) == 0.5
