"""Strict execution of notebooks, and the book made of them.

A notebook runs in a folder of its own and is moved to its place only once it has run to its end,
so that a failure leaves the last good page where it was.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import nbformat
import papermill
import yaml

from stir.book import parameters
from stir.computing.devices import hardware, resolve_device
from stir.study.conclusions import tables_in

# How long an idle thread of PyTorch's spins before it sleeps. At OpenMP's own number, a busy second process makes two threads
# on two cores 60 times slower; at this one, not twice.
SPIN = {"GOMP_SPINCOUNT": "1000"}

# Parameters that name a folder which the notebook reads: for each, the files in it that matter.
FOLDERS = {"tables": tables_in, "benchmarks": lambda folder: sorted(folder.glob("*.jsonl"))}

VERSIONS = ("stir-companion", "torch", "torchvision", "numpy", "papermill")


def load_scale(project: Path, scale: str, notebook: Path) -> dict:
    """What `notebooks/scales/<scale>.yml` sets of the parameters that `notebook` declares.

    Raises:
        ValueError: there is no such scale, the file holds anything but `name: value` lines, or a
            name that no notebook declares.
    """
    path = project / "notebooks" / "scales" / f"{scale}.yml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yml")))
        raise ValueError(f"scale={scale!r} is unknown; use one of {known}, or add {path}")
    values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold lines of `name: value`")
    own = parameters.declared(notebook)
    if values.keys() - own.keys():  # another notebook's, or a slip
        everyones = {
            name: each for other in path.parents[1].glob("*.ipynb") for name, each in parameters.declared(other).items()
        }
        parameters.check(values, everyones | own)
    return {name: value for name, value in values.items() if name in own}


def find_notebook(project: Path, name: str) -> Path:
    """The source of the notebook called `name`."""
    path = project / "notebooks" / f"{name}.ipynb"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.ipynb")))
        raise ValueError(f"notebook={name!r} is unknown; use one of {known}")
    return path


def execute(notebook: Path, values: dict, folder: Path, *, scale: str) -> Path:
    """Run `notebook` with the parameters `values`; leave it and all that it writes in `folder`.

    Returns:
        The executed notebook, which opens with the hardware, the duration and the parameters.

    Raises:
        ValueError: a parameter that the notebook lacks, or of another type; nothing has run then.
        papermill.PapermillExecutionError: a cell failed; `folder` is as it was.
    """
    known = parameters.declared(notebook)
    parameters.check(values, known)
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in SPIN.items():
        os.environ.setdefault(name, value)  # read by the notebook's own process when it starts
    # Beside the final place, so that moving is renaming.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".running-") as name:
        staging = Path(name)
        made = staging / notebook.name
        start = time.perf_counter()
        papermill.execute_notebook(
            str(notebook), str(made), parameters=_absolute(values), kernel_name="python3", cwd=str(staging),
            progress_bar=True, request_save_on_cell_execute=False,
        )  # fmt: skip
        _annotate(made, notebook, known, values, scale, time.perf_counter() - start)
        made_of = fingerprint(notebook, values, folder)
        (staging / f"{notebook.stem}.json").write_text(json.dumps({"made_of": made_of}), encoding="utf-8")
        # The manifest last: without it the page counts as stale.
        for file in sorted(staging.iterdir(), key=lambda file: file.suffix == ".json"):
            os.replace(file, folder / file.name)
    return folder / notebook.name


def _absolute(values: dict) -> dict:
    # The notebook runs in another folder, where a relative path would mean something else.
    def absolute(value: object) -> object:
        if isinstance(value, list):
            return [absolute(each) for each in value]
        if isinstance(value, str) and value.startswith("folder:"):
            return f"folder:{Path(value.removeprefix('folder:')).expanduser().resolve()}"
        return value

    made = {name: absolute(value) for name, value in values.items()}
    return made | {name: str(Path(made[name]).expanduser().resolve()) for name in FOLDERS if name in made}


def reads_tables(notebook: Path) -> bool:
    """Whether the notebook is made of what others leave in its folder, and so has to run after them."""
    return "tables" in parameters.declared(notebook)


def fingerprint(notebook: Path, values: dict, folder: Path) -> str:
    """Hash of all that an executed notebook depends on: itself, its parameters, the package, the versions, files that it reads."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for path in [notebook, *_files_read(notebook, values, folder)]:
        digest.update(path.name.encode() + path.read_bytes())
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    for name in VERSIONS:
        digest.update(version(name).encode())
    return digest.hexdigest()


def _files_read(notebook: Path, values: dict, folder: Path) -> list[Path]:
    found = []
    for name, parameter in parameters.declared(notebook).items():
        if name in FOLDERS:
            # A relative default is meant from where the notebook runs, a folder below its place.
            named = _absolute(values).get(name, ast.literal_eval(parameter.default))
            found += FOLDERS[name]((folder / "running" / named).resolve())
    return found


def is_current(notebook: Path, values: dict, folder: Path) -> bool:
    """Whether `folder` holds what executing `notebook` with `values` would make."""
    try:
        manifest = json.loads((folder / f"{notebook.stem}.json").read_text(encoding="utf-8"))
        return manifest["made_of"] == fingerprint(notebook, values, folder) and (folder / notebook.name).exists()
    except (OSError, ValueError, KeyError):
        return False


def _annotate(
    made: Path, source: Path, known: dict[str, parameters.Parameter], values: dict, scale: str, seconds: float
) -> None:
    """Put what it ran on below the title, hide the injected cell, and drop this machine's paths."""
    notebook = nbformat.read(made, as_version=4)
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("remove-input")
    device = resolve_device(values.get("device", "auto"))
    versions = ", ".join(f"{package} {version(package)}" for package in VERSIONS)
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        f"*Ran at the scale `{scale}` on {hardware(device)} in {seconds:.0f} s, {date}, Python {sys.version.split()[0]}, {versions}.*",
        "",
        ":::{dropdown} Parameters of this run",
        "| parameter | value | what it is |",
        "| --- | --- | --- |",
    ]
    for name, parameter in known.items():
        value = str(values.get(name, parameter.default)).replace(str(Path.home()), "~")
        lines.append(f"| `{name}` | `{value}` | {parameter.help} |")
    lines.append(":::")
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell("\n".join(lines), id="provenance"))
    notebook.metadata.papermill.update(input_path=source.name, output_path=made.name)
    nbformat.write(notebook, made)


def build_book(project: Path) -> Path:
    """Build the Jupyter Book in `project/book`; warnings are errors.

    Returns:
        Its first page.

    Raises:
        ValueError: an executed notebook holds an error.
        RuntimeError: Jupyter Book failed; its output says why.
    """
    for path in sorted((project / "book").rglob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        errors = [
            output for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "error"
        ]
        if errors or notebook.metadata.get("papermill", {}).get("exception"):
            raise ValueError(f"{path} ended with an error; run it again before building the book")
    # The command of this very environment, also where it is not on the PATH.
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["build", "book", "--config", "_config.yml", "--path-output", ".", "-W", "-n", "--keep-going"]
    done = subprocess.run(jupyter_book + options, cwd=project, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"Jupyter Book failed:\n{done.stdout}")
    return project / "_build" / "html" / "index.html"
