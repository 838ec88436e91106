"""Build of the book from executed notebooks and prose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat


def build_book(project: Path) -> Path:
    """Build the Jupyter Book in `project/book`, with warnings as errors, and return its first page.

    Raises:
        ValueError: an executed notebook holds an error.
        RuntimeError: Jupyter Book failed; the message has its output.
    """
    for path in sorted((project / "book").rglob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        failed = any(output.output_type == "error" for output in outputs)
        if failed or notebook.metadata.get("papermill", {}).get("exception"):
            raise ValueError(f"{path} ended with an error; run it again before building the book")
    # The command of this environment, which need not be on the PATH.
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command += ["build", "book", "--config", "_config.yml", "--path-output", ".", "-W", "-n", "--keep-going"]
    process = subprocess.run(
        command, cwd=project, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if process.returncode:
        raise RuntimeError(f"Jupyter Book failed:\n{process.stdout}")
    return project / "_build" / "html" / "index.html"
