"""The project's files, and parameters with which each notebook runs in seconds."""

from pathlib import Path

import nbformat

PROJECT = Path(__file__).parents[2]

FEW = {"n_train": 200, "width": 4, "epochs": 1}
LITTLE = FEW | {"attack_steps": 1, "n_images": 24, "steps": 3, "measures": ["linear-cka", "procrustes"]}
LITTLE |= {"solver_images": 8, "solver_steps": 2, "tolerance": 2.0}  # so few steps converge to nothing less
# Parameters of each notebook: enough for every cell to have something to show, and no more.
TINY = {
    "networks": {
        **FEW,
        "epochs": 2,
        "attack_steps": 1,
        "architectures": ["resnet10", "vgg11"],
        "losses": ["standard", "trades"],
    },
    "measure": {
        **FEW,
        "n_copies": 1,
        "known_seeds": [0, 1],
        "n_images": 12,
        "steps": 3,
        "step_counts": [1, 2],
        "image_counts": [10, 12],
    },
    "performance": {
        **FEW,
        "image_size": 0,
        "n_images": 12,
        "paper_steps": [2, 4],
        "our_steps": [2, 3],
        "image_counts": [10, 12],
        "widths": [2, 4],
        "architectures": ["resnet10", "vgg11"],
        "few_steps": 1,
        "benchmarks": str(PROJECT / "tests" / "benchmarks"),
    },
    "initialization": LITTLE | {"seeds": [0, 1], "layers": ["stage1", "penultimate"]},
    "explorer": {name: value for name, value in LITTLE.items() if not name.startswith("solver_")}
    | {"seeds": [0, 1], "layers": ["stage1", "penultimate"], "at": [1, 3]},
    "architecture": LITTLE | {"architectures": ["resnet10", "resnet18", "resnet10-noskip", "resnet18-noskip"]},
    "loss": LITTLE | {"losses": ["standard", "adversarial-l2", "trades"], "seeds": [0, 1]},
    "dataset": LITTLE | {"seeds": [0, 1], "given_layer": "stage2"},
    "robustness": LITTLE | {"epsilons": [0, 0.5, 1.0], "seeds": [0, 1]},
    "updates": {name: value for name, value in LITTLE.items() if name != "n_train"} | {"sizes": [100, 150, 200]},
    "controversial": {name: value for name, value in LITTLE.items() if name != "solver_images"}
    | {"worst_steps": 3, "given_layer": "stage2", "image_size": 12},
    "glance": {},
    "cost": {},
    "measures": {},
    "solvers": {},
}


def notebook(name: str, project: Path = PROJECT) -> Path:
    """The source of a notebook."""
    return project / "notebooks" / f"{name}.ipynb"


def execute_tiny(name: str, folder: Path, **more) -> None:
    """Execute a notebook with its parameters in `TINY`, and more, into the folder `book/runs/<scale>` of a project."""
    from stir.book import runner  # tests/conftest.py says why here

    runner.execute(notebook(name, folder.parents[2]), TINY[name] | more, folder, scale="digits")


def write_project(folder: Path, name: str, parameters: str, *code: str, text: str = "# Title") -> Path:
    """Write a project with one notebook, of these cells, and an empty scale `digits`; return the notebook."""
    (folder / "notebooks" / "scales").mkdir(parents=True, exist_ok=True)
    (folder / "notebooks" / "scales" / "digits.yml").touch()
    cells = [
        nbformat.v4.new_markdown_cell(text),
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *map(nbformat.v4.new_code_cell, code),
    ]
    python = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    path = folder / "notebooks" / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=python), path)
    return path
