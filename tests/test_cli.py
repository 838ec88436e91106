"""Command line: refused arguments and missing packages; `test_store` lists and removes networks with it."""

import os
import resource
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from click.testing import CliRunner
from helpers.project import PROJECT

import stir.book
from stir.book import runner
from stir.cli import main

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["initialisation"], "notebook='initialisation' is unknown; use one of architecture"),
        (["initialization", "--scale", "huge"], "scale='huge' is unknown; use one of cifar10-jpeg, digits"),
        (["initialization", "-p", "n_image", "3"], "did you mean 'n_images'"),
        (["initialization", "-p", "n_images", "many"], "must be of type int"),
        (["initialization", "-p", "seeds", "[0, 1"], "Error: parameter seeds='[0, 1' is no YAML: "),
        (["initialization", "--scale", "../scales/digits"], "scale='../scales/digits' is unknown; use one of"),
        (["../notebooks/initialization"], "notebook='../notebooks/initialization' is unknown; use one of"),
    ],
)
def test_the_command_line_refuses_before_it_runs(arguments, message, monkeypatch):
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(runner, "execute", lambda *_, **__: pytest.fail("it ran"))
    result = CliRunner().invoke(main, ["run", *arguments])
    assert result.exit_code == 1
    assert message in result.output and result.output.count("\n") == 1


@pytest.fixture
def project(tmp_path):
    """Write a project with one notebook, of the given code; the function returns a command that runs it."""

    def write(code, *arguments):
        (tmp_path / "notebooks" / "scales").mkdir(parents=True, exist_ok=True)
        (tmp_path / "notebooks" / "scales" / "digits.yml").write_text("")
        parameters = nbformat.v4.new_code_cell("n: int = 1  # help", metadata={"tags": ["parameters"]})
        cells = [nbformat.v4.new_markdown_cell("# Title"), parameters, nbformat.v4.new_code_cell(code)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebooks" / "own.ipynb")
        return [sys.executable, "-m", "stir", "run", "own", *arguments]

    return write


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\nassert x == 2", "Cell 2, `assert x == 2`: AssertionError"),
        (
            "raise ValueError('first\\nsecond')",
            "Cell 2, `raise ValueError('first\\nsecond')`: ValueError: first\nsecond",
        ),
        ("x = = 2", "Cell 2: SyntaxError: invalid syntax"),
        ("import os; os.kill(os.getpid(), 9)", "Its process died, most often for want of memory"),
        ("while True: pass", "A cell took longer than 5 s; give it more with --cell-timeout"),
        ("open('big', 'wb').write(bytes(10**7))", "OSError: [Errno 27] File too large"),
        ("print('x' * 2_000_000)", "[Errno 27] File too large"),  # of the executed notebook
    ],
)
def test_a_failing_notebook_is_one_message(project, tmp_path, code, message):
    def no_space():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    command = project(code, "--cell-timeout", "5")
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, preexec_fn=no_space)
    _, _, told = done.stderr.rpartition("Error: ")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert message in done.stderr[done.stderr.index("\nError: ") :], told
    assert not list((tmp_path / "book" / "runs" / "digits").iterdir())


def _heed_signals():
    """Undo what a parent in the background, or `nohup`, has its children ignore."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(("end", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_the_notebook_and_its_workers(project, tmp_path, end, code):
    pids = tmp_path / "pids"
    command = project(
        "import os, pathlib, subprocess, time\n"
        "other = subprocess.Popen(['sleep', '1000']).pid\n"
        f"pathlib.Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{other}}.')\n"
        "time.sleep(1000)"
    )
    process = subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_signals
    )
    while not (pids.exists() and pids.read_text().endswith(".")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(end)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in told
    time.sleep(0.2)
    for pid in map(int, pids.read_text().strip(".").split()):
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"
    assert not list((tmp_path / "book" / "runs" / "digits").iterdir())


@pytest.mark.parametrize("package", ["papermill", "nbformat", "yaml"])
@pytest.mark.parametrize("command", [["run", "initialization"], ["book"]])
def test_without_the_packages_of_the_book(command, package, monkeypatch):
    for module in ("build", "freshness", "parameters", "runner"):
        monkeypatch.delitem(sys.modules, f"stir.book.{module}", raising=False)
        monkeypatch.delattr(stir.book, module, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(PROJECT)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert f"{package}" in result.output and "pip install '.[book]'" in result.output


def test_networks_are_listed_without_the_packages_of_the_book(own_store):
    missing = ("papermill", "nbformat", "yaml", "jupyter_book", "ipykernel", "IPython")
    code = f"import sys; sys.modules |= dict.fromkeys({missing}); from stir.cli import main; main(['models'])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "No networks in" in result.stdout
