"""Where the project's own files are."""

from pathlib import Path

PROJECT = Path(__file__).parents[1]
NOTEBOOK = PROJECT / "notebooks" / "initialization.ipynb"
MEASURE = PROJECT / "notebooks" / "measure.ipynb"
NETWORKS = PROJECT / "notebooks" / "networks.ipynb"
# Enough for every cell to have something to show, and no more.
TINY_MEASURE = {"n_train": 200, "width": 4, "epochs": 1, "n_images": 12, "steps": 3, "step_counts": [1, 2], "image_counts": [10, 12]}
TINY = {
    "n_train": 200, "width": 4, "seeds": [0, 1], "epochs": 1, "attack_steps": 1, "n_images": 24,
    "layers": ["stage1", "penultimate"], "steps": 3,
}  # fmt: skip
TINY_NETWORKS = {
    "n_train": 200, "width": 4, "epochs": 2, "attack_steps": 1, "architectures": ["resnet10", "vgg11"], "losses": ["standard", "trades"],
}  # fmt: skip
