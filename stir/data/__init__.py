"""Data sets as tensors of images in [0, 1], in mixed order; folders of images; checks of images; norm balls."""

from stir.data.datasets import Dataset, Split, load_dataset

__all__ = ["Dataset", "Split", "load_dataset"]
