"""Command line: refused arguments and missing packages; `test_store` lists and removes networks with it."""

import os
import resource
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from threading import Thread

import nbformat
import psutil
import pytest
from click.testing import CliRunner
from helpers.processes import descendants, left, wait_until, write_busy
from helpers.project import PROJECT, write_project

import stir.book
from stir.book import runner
from stir.cli import main
from stir.data import libraries

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["initialisation"], "notebook='initialisation' is unknown; did you mean 'initialization'?"),
        (["quite-another"], "notebook='quite-another' is unknown; use one of architecture, "),
        (
            ["initialization", "--scale", "huge"],
            "scale='huge' is unknown; use one of cifar10, cifar10-cpu, cifar10-cpu-l2, digits",
        ),
        (["initialization", "--scale", "digit"], "scale='digit' is unknown; did you mean 'digits'?"),
        (["notebooks/initialization.ipynb", "-p", "solver", "papr"], "solver='papr' is unknown; did you mean 'paper'?"),
        (["initialization.ipynb", "-p", "losses", "[standard]"], "losses=['standard'] must be 'standard' and then"),
        (
            ["loss", "--scale", "cifar10-cpu", "-p", "n_train", "9"],
            "dataset='cifar10-jpeg': the images of CIFAR-10 (JPEG) are needed",
        ),
        (["initialization", "-p", "n_image", "3"], "did you mean 'n_images'"),
        (["initialization", "-p", "n_images", "many"], "must be of type int"),
        (["initialization", "-p", "seeds", "[0, 1"], "Error: parameter seeds='[0, 1' is no YAML: "),
        (["initialization", "--scale", "../scales/digits"], "scale='../scales/digits' is unknown; use one of"),
        (
            ["loss", "-p", "n_images", "50", "-p", "seed_images", "white", "-p", "n_images", "60"],
            "Error: parameter 'n_images' is given twice, as 50 and as 60; leave one of them out",
        ),
        (["../notebooks/initialization"], "notebook='../notebooks/initialization' is unknown; "),
    ],
)
def test_the_command_line_refuses_before_it_runs(arguments, message, monkeypatch):
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(runner, "execute", lambda *_, **__: pytest.fail("it ran"))
    result = CliRunner().invoke(main, ["run", *arguments])
    assert result.exit_code == 1
    assert message in result.output and result.output.count("\n") == 1


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write a project with one notebook, of the given code, into the current folder; the function returns the arguments
    of the command that runs it."""
    monkeypatch.chdir(tmp_path)

    def write(code, *arguments):
        write_project(tmp_path, "own", "n: int = 1  # help", code, text="# Title\n\nSo {cite}`nobody1900`.")
        return ["run", "own", *arguments]

    return write


COMMAND = [sys.executable, "-m", "stir"]


def in_a_process(arguments):
    """Run the command as a user does, whose process may tell more at its end."""
    environment = {"PYTHONPATH": str(PROJECT), **os.environ}
    return subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, text=True)


def here(arguments):
    """Run the command in this process, which has already loaded what takes seconds to load."""
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception  # no traceback
    return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def small_files():
    """As on a full disk: no file may grow beyond a megabyte, of this process and of those that it starts."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("start", "code", "message"),
    [
        (here, "x = 1\nassert x == 2", "Cell 2, `assert x == 2`: AssertionError"),
        (
            here,
            "raise ValueError('first\\nsecond')",
            "Cell 2, `raise ValueError('first\\nsecond')`: ValueError: first\nsecond",
        ),
        (here, "x = = 2", "Cell 2: SyntaxError: invalid syntax"),
        (here, "import os; os.kill(os.getpid(), 9)", "Its process was killed, most often for want of memory"),
        (here, "import os; os.kill(os.getpid(), 11)", "Its process died of SIGSEGV"),
        (here, "import os; os._exit(3)", "Its process ended with exit code 3"),
        (here, "x = bytes(10**15)", "Cell 2, `x = bytes(10**15)`: MemoryError"),
        (in_a_process, "while True: pass", "A cell took longer than 3 s; give it more with --cell-timeout"),
        (here, "open('big', 'wb').write(bytes(10**7))", "OSError: [Errno 27] File too large"),
        (here, "print('x' * 2_000_000)", "[Errno 27] File too large"),  # of the executed notebook
    ],
)
def test_a_failing_notebook_is_one_message(project, tmp_path, small_files, start, code, message):
    done = start(project(code, "--cell-timeout", "3" if "while" in code else "60"))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("Error: ") and message in done.stderr
    assert not list((tmp_path / "book" / "runs" / "digits").iterdir())
    partial = tmp_path / "runs" / "digits" / "own-failed.ipynb"
    assert partial.exists() == ("As far as it came, it is kept as runs/digits/own-failed.ipynb\n" in done.stderr)
    assert partial.exists() or "2_000_000" in code  # which no file may hold
    if partial.exists():  # with texts that any viewer shows
        assert "# Title\n\nSo (nobody1900)." in [cell.source for cell in nbformat.read(partial, as_version=4).cells]


def test_runs_with_other_parameters_have_their_own_folders_and_tell_their_outcome(project, tmp_path):
    verdicts = "claim,verdict,difference_value,difference_low,difference_high\\nIt holds,supported,1,0.5,1.5"
    code = "import os, warnings\nassert os.path.isdir(os.environ['STIR_PROGRESS'])\n"  # which the terminal shows
    code += f"open('own-verdicts.csv', 'w').write('{verdicts}')\nwarnings.warn('thin ice')"
    done = in_a_process(project(code, "-p", "n", "2"))
    assert done.returncode == 0 and done.stderr == "" and not (tmp_path / "book").exists()
    assert done.stdout.splitlines() == [
        "supported      +1.00 [+0.50, +1.50]   It holds",
        "",
        "Warning: thin ice",
        "",
        "page     runs/digits/own-n=2/own.ipynb",
        "tables   beside it: own-verdicts.csv",
    ]
    names = {path.name for path in (tmp_path / "runs" / "digits" / "own-n=2").iterdir()}
    assert names == {"own.ipynb", "own.json", "own-verdicts.csv"}
    # A folder of the user's choice is not overwritten either.
    refused = here(project(code, "-p", "n", "3", "--output", "runs/digits/own-n=2"))
    assert refused.returncode == 1 and "holds own.ipynb with other parameters (n=2); name another" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [["list", "loss"], *([command, "loss", "--help"] for command in ("list", "run", "check", "sweep"))],
)
def test_the_parameters_of_a_notebook_are_listed(arguments, monkeypatch):
    monkeypatch.chdir(PROJECT)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0 and max(map(len, result.output.splitlines())) <= 100
    assert "n_images               int    150                   5 or more               test images" in result.output


def test_help_names_the_notebook_wherever_it_stands_and_refuses_one_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.chdir(PROJECT)
    assert "seed_images " in CliRunner().invoke(main, ["run", "--help", "-p", "n_images", "9", "loss"]).output
    assert "seed_images " not in CliRunner().invoke(main, ["run", "--help"]).output
    for command in ("list", "run", "check", "sweep"):
        refused = CliRunner().invoke(main, [command, "lss", "--help"])
        assert refused.exit_code == 2 and "Error: notebook='lss' is unknown; did you mean 'loss'?\n" in refused.output
    monkeypatch.chdir(tmp_path)  # where no project is
    assert CliRunner().invoke(main, ["run", "loss", "--help"]).exit_code == 0
    for arguments in (["run", "loss"], ["sweep", "loss", "--grid", "seed=0"]):
        assert f"{tmp_path} is not this project's folder; go to" in CliRunner().invoke(main, arguments).output


@pytest.mark.parametrize("group", [[], ["course"]])
def test_the_summaries_of_commands_are_whole(group):
    listed = CliRunner().invoke(main, [*group, "--help"]).output.partition("Commands:")[2]
    assert listed.count("\n  ") > 1 and "..." not in listed


def test_the_version():
    assert version("stir-companion") in CliRunner().invoke(main, ["--version"]).output


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["list"], ["course", "--help"]])
def test_what_needs_no_computing_loads_none_of_it(arguments):
    """Each of these takes seconds to load."""
    heavy = {"torch", "scipy", "pandas", "nbformat", "papermill", "matplotlib"}
    code = f"import sys; from stir.cli import main; main({arguments}, standalone_mode=False); "
    code += f"assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT, env=ENVIRONMENT, capture_output=True)


def test_parameters_are_checked_without_running(monkeypatch):
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(runner, "execute", lambda *_, **__: pytest.fail("it ran"))
    good = CliRunner().invoke(main, ["check", "loss", "-p", "n_images", "100"])
    assert (good.exit_code, good.output) == (
        0,
        "loss at the scale digits can run, into runs/digits/loss-n_images=100\n",
    )
    bad = CliRunner().invoke(main, ["check", "loss", "-p", "n_images", "1000"])
    assert bad.exit_code == 1 and "n_images=1000 must lie between 5 and 397" in bad.output
    assert CliRunner().invoke(main, ["check", "-p", "n_images", "100"]).exit_code == 2


def test_what_will_be_downloaded_is_told_before_anything_starts(tmp_path, monkeypatch):
    """From a server that is there, or is not any more; its answers do not matter."""
    monkeypatch.chdir(PROJECT)
    monkeypatch.setenv("STIR_STORE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(runner, "execute", lambda *_, **__: pytest.fail("it ran"))
    command = ["check", "loss", "-p", "dataset", "mnist", "-p", "image_size", "16"]
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        Thread(target=server.serve_forever, daemon=True).start()
        able = CliRunner().invoke(main, command)
        server.shutdown()
    folder = tmp_path / "downloads" / "MNIST" / "raw"
    assert able.exit_code == 0 and able.output.splitlines()[1] == (
        f"mnist is not here yet: torchvision downloads 12 MB into {folder}"
    )
    libraries._unanswered.cache_clear()
    for arguments in (command, ["run", *command[1:]], ["sweep", *command[1:], "--grid", "n_images=9"]):
        unable = CliRunner().invoke(main, arguments)
        assert unable.exit_code == 1 and unable.output.count("\n") == 1, unable.output
        assert "dataset='mnist' is not in " in unable.output and f"put its files into {folder}" in unable.output
    folder.mkdir(parents=True)
    for file in libraries.TORCHVISION_DATASETS["mnist"].files:
        (folder / file).touch()
    assert CliRunner().invoke(main, command).output.count("\n") == 1


@pytest.mark.parametrize(
    ("start", "package", "module", "message"),
    [
        (here, "ipykernel_launcher", "raise OSError(98, 'Address in use')", "OSError: [Errno 98] Address in use"),
        (
            in_a_process,
            "ipykernel",
            "raise ImportError('broken')",
            "this command needs the packages of the book (broken)",
        ),
    ],
)
def test_why_a_notebooks_process_cannot_start_is_told(project, tmp_path, monkeypatch, start, package, module, message):
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / f"{package}.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'first'}:{PROJECT}")
    done = start(project("1"))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert message in done.stderr.splitlines()[-1]


def test_other_kernels_of_its_name_do_not_matter(project, tmp_path, monkeypatch):
    kernel = tmp_path / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text('{"argv": ["/nowhere/python", "{connection_file}"], "display_name": "x", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))  # whose kernels come before all others
    assert here(project("1")).returncode == 0


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "Error: memory does not suffice"),
        (
            MemoryError("memory does not suffice for a single image"),
            "Error: memory does not suffice for a single image",
        ),
        (RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory\nframe 1\nframe 2"), "Error: [enforce] D"),
        (FloatingPointError("the loss is nan in step 3"), "Error: the loss is nan in step 3"),
        (OSError(28, "No space left on device", "file"), "Error: [Errno 28] No space left on device: 'file'"),
        (KeyboardInterrupt(), "Aborted!"),
    ],
)
def test_errors_of_memory_numbers_and_disks_are_one_line(error, message, monkeypatch):
    def fail():
        raise error

    monkeypatch.setattr("stir.training.store.stored_models", fail)
    result = CliRunner().invoke(main, ["models"])
    assert result.exit_code == 1 and result.output.strip().startswith(message)
    assert result.output.strip().count("\n") == 0


def test_nothing_outlives_a_run_that_is_killed(project, tmp_path):
    command = [*COMMAND, *project(write_busy(tmp_path / "workers"))]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list((tmp_path / "workers").iterdir())) == 2, process)
    family = descendants(process)
    assert len(family) >= 3  # the notebook's process and two workers
    process.kill()
    process.wait()
    assert left(family) == []
    assert len(list((tmp_path / "book" / "runs" / "digits").glob(".running-*"))) == 1
    assert " files of killed runs or superseded, " in here(["models"]).stdout
    assert here(project("1")).returncode == 0
    names = {path.name for path in (tmp_path / "book" / "runs" / "digits").iterdir()}
    assert names == {"own.ipynb", "own.json"}  # the next run removes what the killed one left


def _heed_signals():
    """Undo what a parent in the background, or `nohup`, has its children ignore."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(("end", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_the_notebook_and_its_workers(project, tmp_path, end, code):
    pids = tmp_path / "pids"
    arguments = project(
        "import os, pathlib, subprocess, time\n"
        "other = subprocess.Popen(['sleep', '1000']).pid\n"
        f"pathlib.Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{other}}.')\n"
        "time.sleep(1000)"
    )
    process = subprocess.Popen(
        [*COMMAND, *arguments], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_signals
    )
    while not (pids.exists() and pids.read_text().endswith(".")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(end)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in told
    stopping = "Stopping ... The same command goes on from the networks and measurements that are kept so far.\n"
    assert (stopping in told) == (end == signal.SIGINT)
    time.sleep(0.2)
    for pid in map(int, pids.read_text().strip(".").split()):
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"
    assert not list((tmp_path / "book" / "runs" / "digits").iterdir())


@pytest.mark.parametrize("package", ["papermill", "nbformat", "yaml"])
@pytest.mark.parametrize("command", [["run", "initialization"], ["book"]])
def test_without_the_packages_of_the_book(command, package, monkeypatch):
    for module in ("build", "freshness", "lookup", "own", "parameters", "runner", "running"):
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
