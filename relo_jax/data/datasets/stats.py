"""Sizes of datasets and statistics of their boxes, from the index and a sample of images."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.index import FolderDataset, open_splits
from relo_jax.data.datasets.layout import ENVIRONMENT, DatasetLayout
from relo_jax.errors import UserError
from relo_jax.media.images import FrameError, decode

QUANTILES = (5, 25, 50, 75, 95)
_SAMPLE = 32  # images


def present(root: str | Path | None) -> list[str]:
    """Names of the datasets that have a folder of their own below `root`.

    Raises:
      UserError: no root was given, it does not exist, or it has no dataset.
    """
    all_layouts = [layouts.dataset_layout(name) for name in layouts.NAMES]
    names = [layout.name for layout in all_layouts if _has_own_folder(layout, root)]
    if not names:
        folders = ", ".join(layout.folders[0] for layout in all_layouts)
        raise UserError(f"{root or ENVIRONMENT}: no dataset below it (folders such as {folders}); or name one")
    return names


def _has_own_folder(layout: DatasetLayout, root: str | Path | None) -> bool:
    return layout.find_root(root).name.lower() in {name.lower() for name in layout.folders}


def describe(layout: DatasetLayout, root: str | Path | None, cache: str | Path) -> tuple[list[dict], dict[str, str]]:
    """Statistics of a dataset.

    Returns:
      A row for each split that is on disk; and split -> reason for those that cannot be opened.

    Raises:
      UserError: no split can be opened.
    """
    datasets, unopened = open_splits(layout, (), root, cache)
    return [_describe_split(dataset) for dataset in datasets.values()], unopened


def _describe_split(dataset: FolderDataset) -> dict:
    """Statistics of one split.

    box_side_px: quantiles of sqrt(w h) over visible boxes. frame_sizes: of a sample of images. disk_bytes: mean size of
    that sample times the number of files.
    """
    frames, sizes, stored = int(dataset.lengths.sum()), Counter[str](), []
    sides, categories, photographs = [], set(), set()
    for sequence in dataset:
        assert sequence.where is not None
        if sequence.still:
            photographs.add(sequence.where(0))  # several objects, each a sequence, may share one
        sides.append(np.sqrt(sequence.boxes_xywh[sequence.visible, 2:].prod(1)).astype(np.float32))
        categories |= {sequence.category} - {None}
    for index in sorted({round(k) for k in np.linspace(0, len(dataset) - 1, _SAMPLE)}):
        sequence = dataset[index]
        assert sequence.where is not None and sequence.read_encoded is not None
        try:
            encoded = sequence.read_encoded(len(sequence) // 2)
            height, width = decode(encoded, sequence.where(0)).shape[:2]
        except FrameError:
            continue  # `relo data check` names it
        sizes[f"{width} x {height}"] += 1
        stored.append(len(encoded))
    side_px = np.concatenate(sides)
    return {
        "dataset": dataset.layout.name,
        "split": dataset.split,
        "root": str(dataset.root),
        "sequences": len(dataset),
        "left_out": dataset.left_out,
        "missing": dataset.missing,
        "frames": frames,
        "visible_share": round(int(dataset.visible_counts.sum()) / frames, 4),
        "classes": len(categories),
        "box_side_px": {f"{q}%": round(float(np.percentile(side_px, q)), 1) for q in QUANTILES},
        "frame_sizes": dict(sizes.most_common()),
        "disk_bytes": round(np.mean(stored) * (len(photographs) or frames)) if stored else None,
    }
