"""How large a dataset is and what its boxes are like: from its index, and a sample of its images."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.index import FolderDataset, open_dataset
from relo_jax.data.datasets.layout import DatasetLayout
from relo_jax.errors import UserError
from relo_jax.media.images import FrameError, decode

QUANTILES = (5, 25, 50, 75, 95)
_SAMPLE = 32  # images


def present(root: str | Path | None) -> list[str]:
    """Names of the datasets that have a folder by their name below `root`.

    Raises:
      UserError: no root was given, or it does not exist, or has none.
    """
    found = [name for name in layouts.NAMES if _has_own_folder(layouts.dataset_layout(name), root)]
    if not found:
        folders = ", ".join(layouts.dataset_layout(name).folders[0] for name in layouts.NAMES)
        raise UserError(f"{root or 'RELO_DATA_DIR'}: no dataset below it (folders such as {folders}); or name one")
    return found


def _has_own_folder(source: DatasetLayout, root: str | Path | None) -> bool:
    return source.find_root(root).name.lower() in {name.lower() for name in source.folders}


def describe(source: DatasetLayout, root: str | Path | None, cache: str | Path) -> tuple[list[dict], dict[str, str]]:
    """Figures of every split that is there, and by split that is not, why.

    Raises:
      UserError: none is.
    """
    rows, absent = [], {}
    for split in source.splits:
        try:
            rows.append(_describe(open_dataset(source, split, root, cache)))
        except UserError as error:
            absent[split] = error
    if not rows:
        raise next(iter(absent.values()))
    return rows, {split: str(error) for split, error in absent.items()}


def _describe(dataset: FolderDataset) -> dict:
    """Of one split: box_side_px are quantiles of the root of the area of visible boxes; frame_sizes and disk_bytes are
    of a sample of images, the latter scaled to all files."""
    frames, sizes, stored = int(dataset.lengths.sum()), Counter(), []
    sides, categories, photographs = [], set(), set()
    for sequence in dataset:
        if sequence.still:
            photographs.add(sequence.where(0))  # several sequences, its objects, may share one
        sides.append(np.sqrt(sequence.boxes_xywh[sequence.visible, 2:].prod(1)).astype(np.float32))
        categories |= {sequence.category} - {None}
    for index in sorted({round(k) for k in np.linspace(0, len(dataset) - 1, _SAMPLE)}):
        sequence = dataset[index]
        try:
            encoded = sequence.read_encoded(len(sequence) // 2)
            height, width = decode(encoded, sequence.where(0)).shape[:2]
        except FrameError:
            continue  # `relo data check` names it
        sizes[f"{width} x {height}"] += 1
        stored.append(len(encoded))
    sides = np.concatenate(sides)
    return {
        "dataset": dataset.source.name,
        "split": dataset.split,
        "root": str(dataset.root),
        "sequences": len(dataset),
        "left_out": dataset.left_out,
        "missing": dataset.missing,
        "frames": frames,
        "visible_share": round(int(dataset.visible_counts.sum()) / frames, 4),
        "classes": len(categories),
        "box_side_px": {f"{q}%": round(float(np.percentile(sides, q)), 1) for q in QUANTILES},
        "frame_sizes": dict(sizes.most_common()),
        "disk_bytes": round(np.mean(stored) * (len(photographs) or frames)) if stored else None,
    }
