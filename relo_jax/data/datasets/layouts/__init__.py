"""The datasets by name, each in a module of its own that is imported when it is asked for."""

from __future__ import annotations

import difflib
import importlib

from relo_jax.config import DATASETS
from relo_jax.data.datasets.layout import DatasetLayout
from relo_jax.errors import UserError

NAMES = tuple(name for name in DATASETS if name not in ("procedural", "photos", "folder"))


def dataset_layout(name: str) -> DatasetLayout:
    """The dataset of this name.

    Raises:
      UserError: unknown; says the nearest.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name.lower(), NAMES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(NAMES)}"
        raise UserError(f"no dataset is called {name!r}: {hint}")
    return importlib.import_module(f"relo_jax.data.datasets.layouts.{name}").LAYOUT
