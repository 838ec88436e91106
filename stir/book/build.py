"""Build of the book from executed notebooks and prose."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nbformat

from stir.book.staging import is_whole, remove_leftovers, staging, vouch
from stir.computing import processes

STAGED = ".building-"  # begins the name of the folder that a book is built in
VERSIONS = ("jupyter-book", "sphinx", "myst-nb", "sphinx-book-theme")


def build_book(project: Path) -> Path:
    """Build the Jupyter Book in `project/book`, with warnings as errors, and return its first page.

    The book is built aside, from nothing that an earlier build left, and takes its place when it is whole; one that is
    current is not built again.

    Raises:
        ValueError: an executed notebook holds an error.
        RuntimeError: Jupyter Book failed; the message has its warnings, or the last line of its output.
    """
    sources = [
        path for path in sorted((project / "book").rglob("*")) if path.is_file() and not _is_hidden(path, project)
    ]
    for path in sources:
        if path.suffix == ".ipynb":
            _check_page(path)
    build, html = project / "_build", project / "_build" / "html"
    manifest, made_of = build / "html.json", _fingerprint(project, sources)
    remove_leftovers(build, STAGED)  # one that was killed at its end leaves them beside a book that is current
    if not is_whole(manifest, html, made_of):
        with staging(build, STAGED) as staged:
            run_jupyter_book(project, staged)
            manifest.unlink(missing_ok=True)
            if html.exists():
                os.replace(html, staged / "before")
            os.replace(staged / "_build" / "html", html)
            files = [path.relative_to(html) for path in sorted(html.rglob("*")) if path.is_file()]
            vouch(staged, manifest, html, files, made_of)
    return html / "index.html"


def _is_hidden(path: Path, project: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(project).parts)


def _check_page(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    failed = any(output.output_type == "error" for output in outputs)
    if failed or notebook.metadata.get("papermill", {}).get("exception"):
        raise ValueError(f"{path} ended with an error; run it again before building the book")


def _fingerprint(project: Path, sources: list[Path]) -> str:
    """Hash of the sources, the settings and the programs that build."""
    digest = hashlib.sha256(repr([(name, version(name)) for name in VERSIONS]).encode())
    package = sorted(Path(__file__).parents[1].rglob("*.py"))  # its docstrings are pages
    for path in [project / "_config.yml", *package, *sorted((project / "notebooks").glob("*.ipynb")), *sources]:
        content = path.read_bytes()
        digest.update(f"{os.path.relpath(path, project)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def run_jupyter_book(project: Path, output: Path, *options: str) -> None:
    """Run the command of Jupyter Book, with warnings as errors, into `output/_build`.

    Raises:
        RuntimeError: it failed.
    """
    # The command of this environment, which need not be on the PATH; it ends with this process. Run by its path, the
    # module comes without all of the package.
    watch = f"import runpy; runpy.run_path({processes.__file__!r})['end_with']({os.getpid()})"
    command = [sys.executable, "-c", f"{watch}; from jupyter_book.cli.main import main; main()"]
    command += ["build", "book", "--config", "_config.yml", "--path-output", str(output), "-W", "-n", "--keep-going"]
    command += options
    process = subprocess.run(
        command, cwd=project, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if process.returncode:
        lines = process.stdout.splitlines()
        # Where it ends by an exception, that is the last line.
        told = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-1:]
        raise RuntimeError("\n".join(["Jupyter Book failed:", *told]))
