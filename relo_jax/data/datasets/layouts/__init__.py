"""The official dataset layouts by name. Each has its own module, which is imported when it is first needed."""

from __future__ import annotations

import importlib

from relo_jax.config import DATASETS
from relo_jax.data.datasets.layout import DatasetLayout
from relo_jax.errors import UserError, did_you_mean

NAMES = tuple(name for name in DATASETS if name not in ("procedural", "photos", "folder"))


def dataset_layout(name: str, smallest_side: int | None = None) -> DatasetLayout:
    """The layout of the dataset with this name.

    Args:
      smallest_side: pixels that an object of "coco" exceeds; None: 50. Other datasets do not read it.

    Raises:
      UserError: there is no such dataset; the message suggests the nearest name.
    """
    if name not in NAMES:
        raise UserError(f"no dataset is called {name!r}{did_you_mean(name.lower(), NAMES, cutoff=0.4)}")
    module = importlib.import_module(f"relo_jax.data.datasets.layouts.{name}")
    return module.layout(smallest_side) if name == "coco" and smallest_side is not None else module.LAYOUT
