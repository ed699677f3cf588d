"""`relo data`: what the datasets on this machine are like, before a run finds out."""

from __future__ import annotations

from pathlib import Path

from relo_jax.data import sources
from relo_jax.data.index import DEFAULT_CACHE, open_dataset


def check_command(name: str, root: Path | None = None, split: str | None = None, cache: Path = DEFAULT_CACHE) -> int:
    """Opens a dataset's splits and prints a line of each.

    Returns:
      The exit status: 1 where sequences had to be left out or are missing.

    Raises:
      UserError: no such dataset, split or folder, or another layout than the official one.
    """
    source = sources.source(name)
    opened = [open_dataset(source, s, root, cache) for s in ([split] if split else source.splits)]
    for dataset in opened:
        print(dataset.summary())
    return int(any(d.left_out or d.missing for d in opened))
