"""Build of the book from pages that ran to their end; `test_book` looks at a built one."""

import shutil

import nbformat
import pytest
from helpers.project import PROJECT

from stir.book.build import build_book


def test_a_failed_page_is_never_built(tmp_path):
    shutil.copytree(PROJECT / "book", tmp_path / "book", ignore=shutil.ignore_patterns("runs"))
    error = nbformat.v4.new_output("error", ename="E", evalue="e", traceback=[])
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[error])])
    nbformat.write(page, tmp_path / "book" / "page.ipynb")
    with pytest.raises(ValueError, match="page.ipynb ended with an error"):
        build_book(tmp_path)
