"""Checks a dataset on disk: counts its problems by kind, with the first examples of each and the remedy.

The index already holds the problems of the annotations. The check also decodes images, either all of them or a few
of every sequence, and compares their sizes with the boxes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from relo_jax.bars import tqdm
from relo_jax.data.datasets import split_lists
from relo_jax.data.datasets.index import FolderDataset, open_index, open_splits
from relo_jax.data.datasets.layout import DatasetLayout, Problem
from relo_jax.data.datasets.listing import list_archives
from relo_jax.data.sequence import Sequence
from relo_jax.media import images
from relo_jax.media.images import FrameError

FRAMES = ("sample", "all")
SAMPLE = 5  # frames per sequence
_EXAMPLES = 20  # problems to keep of each kind
_BLOCK = 512  # sequences that are queued for the threads at a time

ImageSize = Callable[[str], tuple[int, int]]  # path -> (height, width)


@dataclass
class Findings:
    """The problems of one split.

    Attributes:
      scanned: number of decoded frames.
      counts: kind of problem -> how often it was found.
      examples: kind of problem -> the first ones.
    """

    dataset: FolderDataset
    scanned: int = 0
    counts: Counter = field(default_factory=Counter)
    examples: dict[str, list[Problem]] = field(default_factory=dict)

    def add(self, problem: Problem) -> None:
        """Counts a problem, and keeps it as an example if there are few of its kind."""
        self.counts[problem.kind] += 1
        examples = self.examples.setdefault(problem.kind, [])
        if len(examples) < _EXAMPLES:
            examples.append(problem)

    @property
    def kinds(self) -> list[str]:
        """Kinds of problems: fatal ones first, then the more frequent."""
        return sorted(self.counts, key=lambda kind: (not self.fatal(kind), -self.counts[kind], kind))

    def fatal(self, kind: str) -> bool:
        """Whether problems of this kind make a sequence or an image unusable."""
        return self.examples[kind][0].fatal

    def as_json(self) -> dict:
        """The findings in JSON types."""
        dataset = self.dataset
        return {
            "dataset": dataset.layout.name,
            "split": dataset.split,
            "root": str(dataset.root),
            "sequences": len(dataset),
            "frames": int(dataset.lengths.sum()),
            "left_out": dataset.left_out,
            "missing": dataset.missing,
            "scanned_frames": self.scanned,
            "problems": [
                {
                    "kind": kind,
                    "fatal": self.fatal(kind),
                    "count": self.counts[kind],
                    "examples": [{"file": p.where, "detail": p.detail} for p in self.examples[kind]],
                }
                for kind in self.kinds
            ],
        }


def check(
    layout: DatasetLayout, splits: list[str], root: str | Path | None, cache: str | Path, frames: str = "sample"
) -> tuple[list[Findings], dict[str, str]]:
    """Checks splits of a dataset and their images.

    Args:
      splits: the splits to check; empty for all that can be opened.
      frames: "sample" decodes a few frames of each sequence, "all" decodes all.

    Returns:
      The findings of each split; and split -> reason for those that cannot be opened.

    Raises:
      UserError: see `open_splits`.
    """
    datasets, unopened = open_splits(layout, splits, root, cache, open_index)
    return [_check_split(dataset, frames) for dataset in datasets.values()], unopened


def _check_split(dataset: FolderDataset, frames: str) -> Findings:
    findings = Findings(dataset)
    for problem in dataset.problems:
        findings.add(problem)
    if dataset.missing:
        findings.add(_missing(dataset))

    @lru_cache(maxsize=4096)  # objects in one photograph, and sequences of one video, share files
    def image_size(path: str) -> tuple[int, int]:
        return images.decode(images.read_bytes(path), path).shape[:2]

    broken, count = set(), len(dataset)
    bar = tqdm(total=count, desc=f"reading {dataset.layout.title} {dataset.split}", unit="sequence", disable=None)
    with ThreadPoolExecutor(os.cpu_count()) as pool, bar:
        try:
            for start in range(0, count, _BLOCK):
                block = range(start, min(start + _BLOCK, count))
                for scanned, problems in pool.map(lambda k: _check_sequence(dataset, k, frames, image_size), block):
                    bar.update()
                    findings.scanned += scanned
                    for path, problem in problems:
                        if path not in broken:  # an image that sequences share counts once
                            findings.add(problem)
                        broken |= {path} - {None}
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return findings


def _missing(dataset: FolderDataset) -> Problem:
    """How many published sequences are missing, with a name if a list has them, and archives that may hold them."""
    published = dataset.layout.splits[dataset.split]
    file = split_lists.dataset_folder(dataset.layout.name) / f"{dataset.split}.txt"
    names = [line.split()[0] for line in split_lists.read_list(file)] if file.is_file() else []
    present = {sequence.name for sequence in dataset} if names else set()
    if present.isdisjoint(names):
        names = []  # the list holds numbers rather than names
    absent = [n for n in names if n not in present and not any(n in p.where for p in dataset.problems)]
    packed = list_archives(dataset.root)
    detail = f"{dataset.missing:,} of the published {published:,} are missing"
    detail += f", such as {absent[0]}" if absent else ""
    remedy = f"; unpack {len(packed)} archives such as {packed[0]}" if packed else ": download or unpack them"
    return Problem("sequences missing", ".", detail + remedy)


def _check_sequence(
    dataset: FolderDataset, index: int, frames: str, image_size: ImageSize
) -> tuple[int, list[tuple[str | None, Problem]]]:
    """Decodes frames of one sequence.

    Returns:
      The number of frames; and problems, each with the path of its image, or None for a problem of the sequence.
    """
    sequence = dataset[index]
    assert sequence.where is not None
    count = len(sequence)
    chosen = range(count) if frames == "all" else sorted({round(k) for k in np.linspace(0, count - 1, SAMPLE)})
    problems: list[tuple[str | None, Problem]] = []
    sizes: dict[int, tuple[int, int]] = {}
    for k in chosen:
        path = sequence.where(k)
        try:
            sizes[k] = image_size(path)
        except FrameError as error:
            detail = str(error).removeprefix(f"{path}: ")
            detail += "" if ": " in detail else ": copy or extract it again"
            problems.append((path, Problem(error.reason, _relative(dataset, path), detail)))
    different = list(dict.fromkeys(sizes.values()))
    where = _relative(dataset, sequence.where(0))
    if len(different) > 1:
        (h, w), (other_h, other_w) = different[:2]
        detail = f"frames are {w} x {h} and {other_w} x {other_h}: correct if the video changes, else extract it again"
        problems.append((None, Problem("frame size changes", where, detail, fatal=False)))
    detail = _boxes_outside(sequence, sizes, different)
    if detail:
        problems.append((None, Problem("box outside the image", where, detail, fatal=False)))
    return len(chosen), problems


def _boxes_outside(sequence: Sequence, sizes: dict[int, tuple[int, int]], different: list[tuple[int, int]]) -> str:
    """A line on visible boxes that lie completely outside their image; empty if there are none.

    Args:
      sizes: frame -> (height, width), of decoded frames.
      different: the different sizes among them.
    """
    # If all decoded frames have one size, the others have it too.
    frames = (
        np.flatnonzero(sequence.visible).tolist() if len(different) == 1 else [k for k in sizes if sequence.visible[k]]
    )
    height, width = np.array([sizes.get(k, different[0]) for k in frames]).reshape(-1, 2).T
    x, y, w, h = sequence.boxes_xywh[frames].T
    outside = np.flatnonzero((x >= width) | (y >= height) | (x + w <= 0) | (y + h <= 0))
    if not len(outside):
        return ""
    first = frames[outside[0]]
    box = ",".join(f"{v:g}" for v in sequence.boxes_xywh[first])
    return (
        f"{len(outside)} of {len(sequence)} boxes are outside the image, the first in frame {first + 1}: {box} in "
        f"{width[outside[0]]} x {height[outside[0]]}; if many are, the images are of another size than annotated"
    )


def _relative(dataset: FolderDataset, path: str) -> str:
    return path.removeprefix(f"{dataset.root}{os.sep}")
