"""The course's notebooks, run in this process with little networks."""

import ast
import io
from contextlib import redirect_stdout
from functools import cache
from typing import Any, NamedTuple

from nbformat import NotebookNode

from stir.course import sources
from stir.course.judging import Unmet

# In place of the sessions' own; the checks compare with what is right for the networks at hand, so that these do.
LITTLE = dict(n_train=200, width=4, epochs=1, n_images=16, steps=8)


class Ran(NamedTuple):
    """What running a session's cells gave, by the names of the cells."""

    told: dict[str, str]  # what a cell tagged `check` printed, or the message of `Unmet`
    shown: dict[str, Any]  # the value of the expression that a cell ends with, which a notebook shows


@cache
def compiled(code: str, name: str):
    """The statements of a cell, and the expression that it ends with, if it does."""
    body, last = ast.parse(code).body, None
    if body and isinstance(body[-1], ast.Expr):
        last = compile(ast.Expression(body.pop().value), name, "eval")
    return compile(ast.Module(body, []), name, "exec"), last


def run(notebook: NotebookNode) -> Ran:
    """Run the cells of a session in one namespace, with the parameters of `LITTLE`."""
    namespace, ran = {}, Ran({}, {})
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        said = io.StringIO()
        try:
            with redirect_stdout(said):
                statements, last = compiled(cell.source, cell.id)
                exec(statements, namespace)
                value = eval(last, namespace) if last else None
            if value is not None:
                ran.shown[cell.id] = value
        except Unmet as error:
            if not sources.has_tag(cell, "check"):
                raise
            said.write(f"Unmet: {error}")
        if sources.has_tag(cell, "check"):
            ran.told[cell.id] = said.getvalue()
        if sources.has_tag(cell, "parameters"):
            namespace |= {name: value for name, value in LITTLE.items() if name in namespace}
    return ran
