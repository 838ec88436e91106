"""The notebooks and the scales of a project, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stir.book import parameters
from stir.names import suggest


def current_project() -> Path:
    """The project's folder, which is the current one.

    Raises:
        ValueError: it is another.
    """
    project = Path.cwd()
    if not (project / "notebooks" / "scales").is_dir():
        raise ValueError(f"{project} is not this project's folder; go to your clone of it")
    return project


def own_files(project: Path, pattern: str) -> list[Path]:
    """The files of a pattern in the project; links that lead out of it do not count."""
    return [path for path in sorted(project.glob(pattern)) if path.resolve().is_relative_to(project.resolve())]


def find_notebook(project: Path, name: str) -> Path:
    """Return the path of the notebook called `name`, one of the project's own; its file's name or path does as well."""
    notebooks = {path.stem: path for path in own_files(project, "notebooks/*.ipynb")}
    path = Path(name)
    inside = (project / path.parent).resolve() == (project / "notebooks").resolve()
    stem = path.name.removesuffix(".ipynb") if inside or path.parent == Path() else name
    if stem not in notebooks:
        raise ValueError(f"notebook={name!r} is unknown; {suggest(stem, sorted(notebooks))}")
    return notebooks[stem]


def load_scale(project: Path, scale: str, notebook: Path) -> dict[str, Any]:
    """Load from `notebooks/scales/<scale>.yml` the values of the parameters that `notebook` declares.

    Raises:
        ValueError: the scale is unknown, or its file holds anything but lines of `name: value`, with names that
            some notebook declares, and values of their types, in all or in a section for one notebook.
    """
    folder = project / "notebooks" / "scales"
    scales = {path.stem: path for path in own_files(project, "notebooks/scales/*.yml")}
    if scale not in scales:
        raise ValueError(f"scale={scale!r} is unknown; {suggest(scale, sorted(scales))} (or add one to {folder})")
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
