"""Strict execution of notebooks.

A notebook runs in a temporary folder, and its files move to their place only once it has run to its end, so that a
failure leaves the last good page.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import string
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
import papermill
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError

from stir.book import contents, evidence, parameters
from stir.book.freshness import VERSIONS, absolute_paths, fingerprint
from stir.book.staging import move_files, staging
from stir.computing.devices import hardware, resolve_device
from stir.files import write_atomically

# Spin count after which an idle thread of PyTorch's sleeps. With OpenMP's default, a second busy process makes two
# threads on two cores 60 times slower; with this one, less than twice.
THREAD_SETTINGS = {"GOMP_SPINCOUNT": "1000"}
START_TIMEOUT = 600  # seconds; on a busy machine a kernel may take one minute to start
CELL_TIMEOUT = 24 * 3600  # seconds; a cell may train all networks of a finding


def own_files(project: Path, pattern: str) -> list[Path]:
    """The files of a pattern in the project; links that lead out of it do not count."""
    return [path for path in sorted(project.glob(pattern)) if path.resolve().is_relative_to(project.resolve())]


def find_notebook(project: Path, name: str) -> Path:
    """Return the path of the notebook called `name`, one of the project's own."""
    notebooks = {path.stem: path for path in own_files(project, "notebooks/*.ipynb")}
    if name not in notebooks:
        raise ValueError(f"notebook={name!r} is unknown; use one of {', '.join(sorted(notebooks))}")
    return notebooks[name]


def load_scale(project: Path, scale: str, notebook: Path) -> dict[str, Any]:
    """Load from `notebooks/scales/<scale>.yml` the values of the parameters that `notebook` declares.

    Raises:
        ValueError: the scale is unknown, or its file holds anything but lines of `name: value`, with names that
            some notebook declares, and values of their types, in all or in a section for one notebook.
    """
    folder = project / "notebooks" / "scales"
    scales = {path.stem: path for path in own_files(project, "notebooks/scales/*.yml")}
    if scale not in scales:
        raise ValueError(f"scale={scale!r} is unknown; use one of {', '.join(sorted(scales))}, or add one to {folder}")
    path = scales[scale]
    try:
        values = parameters.load_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold lines of `name: value`, not {str(values)[:40]!r}")
    # A section called like a notebook, such as `loss.ipynb:`, holds values for it alone.
    sections = {name: values.pop(name) for name in [*values] if str(name).endswith(".ipynb")}
    for name, section in sections.items():
        other = path.parents[1] / name
        if not other.is_file() or other.parent != path.parents[1] or not isinstance(section, dict):
            raise ValueError(f"{path}: {name!r} must be a notebook of this project, and hold lines of `name: value`")
        try:
            parameters.check_values(section, parameters.declared(other))
        except ValueError as error:
            raise ValueError(f"{path}, {name}: {error}") from error
    declared = known = parameters.declared(notebook)
    if values.keys() - declared.keys():  # parameters of other notebooks, or misspelt ones
        for other in path.parents[1].glob("*.ipynb"):
            known = parameters.declared(other) | known
    try:
        parameters.check_values(values, known)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    values |= sections.get(notebook.name, {})
    return {name: value for name, value in values.items() if name in declared}


def execute(
    notebook: Path,
    values: dict[str, Any],
    folder: Path,
    *,
    scale: str,
    cell_timeout: int = CELL_TIMEOUT,
    fresh: bool = False,
    alone: bool = False,
) -> Path:
    """Execute `notebook` with the parameters `values`; move it and all files that it writes to `folder`.

    Whatever ends it, no process that the notebook started is left.

    Args:
        cell_timeout: seconds that a cell may take, at least 1.
        fresh: measure again what was kept.
        alone: use no store but the evidence, so that the page is the same on every machine.

    Returns:
        The executed notebook, which opens with the hardware, the duration, the parameters, and how many measurements
        were made now. Beside it `<notebook>-used.json` lists the files of the stores that the run has used, if any.

    Raises:
        ValueError: a parameter that the notebook does not declare, or of another type; nothing runs then.
        papermill.PapermillExecutionError: a cell failed; `folder` is as it was, as after the next two.
        nbclient.exceptions.DeadKernelError: the notebook's process died, or did not start; the message says of what.
        nbclient.exceptions.CellTimeoutError: a cell took longer than `cell_timeout`.
        OSError: a file could not be written, as on a full disk.
    """
    declared = parameters.declared(notebook)
    parameters.check_values(values, declared)
    if cell_timeout < 1:
        raise ValueError(f"cell_timeout={cell_timeout} must be at least 1 second")
    for name, value in THREAD_SETTINGS.items():
        os.environ.setdefault(name, value)  # the process of the notebook inherits it
    # Before it runs: of what changes meanwhile, the page may be made of the one or of the other.
    made_of = fingerprint(notebook, values, folder)
    with staging(folder, ".running-") as staged:
        executed, log = staged / notebook.name, staged / ".used"
        evidence_folder = evidence.folder_of(notebook.parents[1])
        environment = {"STIR_USED": str(log)}
        environment |= {"STIR_EVIDENCE": str(evidence_folder)} if evidence_folder.is_dir() else {}
        environment |= {"STIR_FRESH": "1"} if fresh else {}
        environment |= {"STIR_STORE": str(staged / ".store")} if alone else {}
        start = time.perf_counter()
        with _kernels_that_end(staged, environment) as kernel_manager_class:
            papermill.execute_notebook(
                str(notebook), str(executed), parameters=absolute_paths(values), kernel_name="python3", cwd=str(staged),
                progress_bar=True, request_save_on_cell_execute=False, execution_timeout=cell_timeout,
                start_timeout=START_TIMEOUT, kernel_manager_class=kernel_manager_class,
            )  # fmt: skip
        used = evidence.read_log(log)
        provenance = _provenance(declared, values, scale, time.perf_counter() - start)
        about = contents.about(notebook, folder)
        _annotate(executed, notebook, folder, about, provenance, evidence.described(used, evidence_folder))
        log.unlink(missing_ok=True)
        shutil.rmtree(staged / ".store", ignore_errors=True)
        if used:
            (staged / f"{notebook.stem}{evidence.USED}").write_text(json.dumps(used, indent=1), encoding="utf-8")
        move_files(staged, folder / f"{notebook.stem}.json", made_of)
    return folder / notebook.name


def write_notice(notebook: Path, folder: Path, scale: str, reason: str) -> None:
    """Write a page that says why the evidence does not make the page of `notebook`, unless an earlier page is there.

    Nothing vouches for it, so that the notebook is tried again.
    """
    page = folder / notebook.name
    if page.exists():
        return
    title = nbformat.read(notebook, as_version=4).cells[0]
    text = f"The evidence at the scale `{scale}` does not make this page: {_code(reason)}"
    notice = nbformat.v4.new_notebook(cells=[title, nbformat.v4.new_markdown_cell(text)])
    write_atomically(page, lambda partial: nbformat.write(notice, partial))


@contextmanager
def _kernels_that_end(staged: Path, environment: dict[str, str]) -> Iterator[type[AsyncKernelManager]]:
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
                """Of this Python, whatever kernels others have installed under its name."""
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


def _annotate(executed: Path, source: Path, folder: Path, *provenance: str) -> None:
    """Add the provenance below the title, hide the cell of injected parameters, and drop this machine's paths.

    Links lead to pages that the book has, if it is to be a page of it, in `folder`.
    """
    notebook = nbformat.read(executed, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = contents.with_links(cell.source, source.parents[1], folder)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("remove-input")
    text = "\n\n".join(filter(None, provenance))
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(text, id="provenance"))
    notebook.metadata.papermill.update(input_path=source.name, output_path=executed.name)
    nbformat.write(notebook, executed)


def _provenance(declared: dict[str, parameters.Parameter], values: dict[str, Any], scale: str, seconds: float) -> str:
    """Text of the scale, hardware, duration, date, versions and parameters of a run."""
    device = resolve_device(values.get("device", "auto"))
    versions = ", ".join(f"{package} {version(package)}" for package in VERSIONS)
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        f"*Ran at the scale `{scale}` on {hardware(device)} in {seconds:.0f} s, {date}, "
        f"Python {sys.version.split()[0]}, {versions}.*",
        "",
        ":::{dropdown} Parameters of this run",
        "| parameter | value | what it is |",
        "| --- | --- | --- |",
    ]
    for name, parameter in declared.items():
        value = str(values.get(name, parameter.default)).replace(str(Path.home()), "~")
        lines.append(f"| `{name}` | {_code(value)} | {parameter.help} |")
    return "\n".join([*lines, ":::"])


def _code(value: str) -> str:
    """Markdown of a value in a cell of a table, whatever it holds."""
    if not set(value) & set("`|\\\n\r"):
        return f"`{value}`"
    text = " ".join(value.split())
    return f"<code>{''.join(f'&#{ord(each)};' if each in string.punctuation else each for each in text)}</code>"
