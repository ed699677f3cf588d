"""Reads miniature datasets, for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.index import FolderDataset, open_dataset
from relo_jax.data.sequence import Sequence


def opened(name: str, split: str, root: Path, cache: Path) -> FolderDataset:
    """A split of a dataset, by the dataset's name."""
    return open_dataset(layouts.dataset_layout(name), split, root, cache)


def names(dataset) -> list[str]:
    return [sequence.name for sequence in dataset]


def by_name(dataset) -> dict[str, Sequence]:
    return {sequence.name: sequence for sequence in dataset}


def hidden(sequence: Sequence) -> list[int]:
    """Numbers of the frames that are not visible."""
    return np.flatnonzero(~sequence.visible).tolist()


def frame_file(sequence: Sequence, frame: int) -> str:
    """Folder and file name of a frame."""
    return "/".join(sequence.where(frame).split("/")[-2:])
