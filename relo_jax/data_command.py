"""`relo data`: what the datasets on this machine are like, before a run finds out."""

from __future__ import annotations

from pathlib import Path

from relo_jax.data import sources
from relo_jax.data.index import DEFAULT_CACHE, open_dataset
from relo_jax.errors import UserError


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


def build_command(
    name: str,
    out: str,
    root: Path | None = None,
    splits: list[str] | None = None,
    shard_mib: float = 256,
    cache: Path = DEFAULT_CACHE,
) -> None:
    """Builds splits of a dataset below `out` and prints what was done; by default those whose folders are there.

    Raises:
      UserError: what `tfds_build.build` raises; none of the splits is there.
    """
    from relo_jax.data import tfds_build

    source = sources.source(name)
    there, refused = [], {}
    for split in splits or source.splits:
        try:
            open_dataset(source, split, root, cache)
            there.append(split)
        except UserError as error:
            if splits:
                raise
            refused[split] = error
    if not there:
        raise next(iter(refused.values()))
    for split in there:
        print(tfds_build.build(source, split, out, root, shard_mib, cache))
    for split, error in refused.items():
        print(f"{source.title} {split}: not built: {error}")
