"""What is wrong with a dataset on disk, by kind: how often, where first, and what to do about it.

The index of a split knows what its annotations tell. Here its images are decoded too, all of them or some of every
sequence, and their sizes are compared with the boxes.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from relo_jax.data.datasets import split_lists
from relo_jax.data.datasets.index import FolderDataset, open_index
from relo_jax.data.datasets.layout import DatasetLayout, Problem, list_archives
from relo_jax.errors import UserError
from relo_jax.media import images
from relo_jax.media.images import FrameError

FRAMES = ("sample", "all")
SAMPLE = 5  # frames of a sequence
_EXAMPLES = 20  # of each kind of problem
_BLOCK = 512  # sequences that are handed to threads at a time


@dataclass
class Findings:
    """What a check found in one split.

    scanned: how many frames were decoded. counts: of each kind of problem; examples: the first of each kind.
    """

    dataset: FolderDataset
    scanned: int = 0
    counts: Counter = field(default_factory=Counter)
    examples: dict[str, list[Problem]] = field(default_factory=dict)

    def add(self, problem: Problem) -> None:
        """Counts one, and keeps it while there are few of its kind."""
        self.counts[problem.kind] += 1
        kept = self.examples.setdefault(problem.kind, [])
        if len(kept) < _EXAMPLES:
            kept.append(problem)

    @property
    def kinds(self) -> list[str]:
        """Kinds of problems: fatal ones first, then the more frequent."""
        return sorted(self.counts, key=lambda kind: (not self.fatal(kind), -self.counts[kind], kind))

    def fatal(self, kind: str) -> bool:
        """Whether what such a problem speaks of cannot be used."""
        return self.examples[kind][0].fatal

    def as_json(self) -> dict:
        """All of it in plain types."""
        dataset = self.dataset
        return {
            "dataset": dataset.source.name,
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
    source: DatasetLayout, splits: list[str], root: str | Path | None, cache: str | Path, frames: str = "sample"
) -> tuple[list[Findings], dict[str, str]]:
    """Opens splits of a dataset and looks at their images.

    Args:
      splits: those to check; empty: all that are there.
      frames: "sample" decodes a few frames of each sequence, "all" each one.

    Returns:
      What was found in each split, and by split that is not there, why.

    Raises:
      UserError: a split that was asked for is not there, or none is.
    """
    found, absent = [], {}
    for split in splits or source.splits:
        try:
            dataset = open_index(source, split, root, cache)
        except UserError as error:
            if splits:
                raise
            absent[split] = error
            continue
        found.append(_check_split(dataset, frames))
    if not found:
        raise next(iter(absent.values()))
    return found, {split: str(error) for split, error in absent.items()}


def _check_split(dataset: FolderDataset, frames: str) -> Findings:
    findings = Findings(dataset)
    for problem in dataset.problems:
        findings.add(problem)
    if dataset.missing:
        findings.add(_missing(dataset))

    @lru_cache(maxsize=4096)  # objects of one photograph, and sequences of one video, share files
    def size(path: str) -> tuple[int, int]:
        return images.decode(images.read_bytes(path), path).shape[:2]

    broken, count = set(), len(dataset)
    bar = tqdm(total=count, desc=f"reading {dataset.source.title} {dataset.split}", unit="sequence", disable=None)
    with ThreadPoolExecutor(os.cpu_count()) as pool, bar:
        try:
            for start in range(0, count, _BLOCK):
                block = range(start, min(start + _BLOCK, count))
                for looked_at, problems in pool.map(lambda k: _look(dataset, k, frames, size), block):
                    bar.update()
                    findings.scanned += looked_at
                    for path, problem in problems:
                        if path not in broken:  # None: it is the sequence's own problem
                            findings.add(problem)
                        broken |= {path} - {None}
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return findings


def _missing(dataset: FolderDataset) -> Problem:
    """How much of a split is not there, with a name where the split has a list, and archives that may hold it."""
    published = dataset.source.splits[dataset.split]
    file = split_lists.dataset_folder(dataset.source.name) / f"{dataset.split}.txt"
    names = [line.split()[0] for line in split_lists.read_list(file)] if file.is_file() else []
    known = {sequence.name for sequence in dataset} if names else set()
    if known.isdisjoint(names):
        names = []  # the list has another form than names
    gone = [n for n in names if n not in known and not any(n in p.where for p in dataset.problems)]
    packed = list_archives(dataset.root)
    detail = f"{dataset.missing:,} of the published {published:,} are not here"
    detail += f", such as {gone[0]}" if gone else ""
    remedy = f"; unpack {len(packed)} archives such as {packed[0]}" if packed else ": download or unpack them"
    return Problem("sequences missing", ".", detail + remedy)


def _look(dataset: FolderDataset, index: int, frames: str, size) -> tuple[int, list[tuple[str | None, Problem]]]:
    """Decodes frames of one sequence: how many, and problems, each with the image it is of, None for the sequence."""
    sequence = dataset[index]
    count = len(sequence)
    chosen = range(count) if frames == "all" else sorted({round(k) for k in np.linspace(0, count - 1, SAMPLE)})
    problems, sizes = [], {}
    for k in chosen:
        path = sequence.where(k)
        try:
            sizes[k] = size(path)
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
    # Where all have one size, frames that were not decoded have it too.
    which = np.flatnonzero(sequence.visible) if len(different) == 1 else [k for k in sizes if sequence.visible[k]]
    height, width = np.array([sizes.get(k, different[0]) for k in which]).reshape(-1, 2).T
    x, y, w, h = sequence.boxes_xywh[which].T
    outside = np.flatnonzero((x >= width) | (y >= height) | (x + w <= 0) | (y + h <= 0))
    if len(outside):
        first = which[outside[0]]
        box = ",".join(f"{v:g}" for v in sequence.boxes_xywh[first])
        detail = (
            f"{len(outside)} of {count} boxes are outside of the image, the first in frame {first + 1}: {box} in "
            f"{width[outside[0]]} x {height[outside[0]]}; if many are, the images are of another size than annotated"
        )
        problems.append((None, Problem("box outside the image", where, detail, fatal=False)))
    return len(chosen), problems


def _relative(dataset: FolderDataset, path: str) -> str:
    return path.removeprefix(f"{dataset.root}{os.sep}")
