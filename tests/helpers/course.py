"""The course's notebooks, run in this process with little networks."""

import io
from contextlib import redirect_stdout
from functools import cache

from nbformat import NotebookNode

from stir.course import sources
from stir.course.judging import Unmet

# In place of the sessions' own; the checks compare with what is right for the networks at hand, so that these do.
LITTLE = dict(n_train=200, width=4, epochs=1, n_images=16, steps=8)


@cache
def compiled(code: str, name: str):
    return compile(code, name, "exec")


def run(notebook: NotebookNode) -> dict[str, str]:
    """Run the cells of a session in one namespace, with the parameters of `LITTLE`.

    Returns:
        For each cell tagged `check`, its name -> what was printed, or the message of `Unmet`.
    """
    namespace, told = {}, {}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        said = io.StringIO()
        try:
            with redirect_stdout(said):
                exec(compiled(cell.source, cell.id), namespace)
        except Unmet as error:
            if not sources.has_tag(cell, "check"):
                raise
            said.write(f"Unmet: {error}")
        if sources.has_tag(cell, "check"):
            told[cell.id] = said.getvalue()
        if sources.has_tag(cell, "parameters"):
            namespace |= {name: value for name, value in LITTLE.items() if name in namespace}
    return told
