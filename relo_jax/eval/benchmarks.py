"""Datasets as benchmarks: which sequences of which split, what their frames count for, and what of them is not here.

    benchmark = open_benchmark("lasot", "/data")      # or got10k with split="val", folder, procedural, ...
    for sequence in benchmark: ...

The folders are read by the sources of `relo_jax.data` (docs/datasets.md); this adds the rules that published numbers
were counted by, and an account of the sequences that the published split has and this folder has not: a mean over 279
of 280 is another number than the mean over all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relo_jax.data.datasets import layouts, split_lists
from relo_jax.data.datasets.folder import read_folder
from relo_jax.data.datasets.index import DEFAULT_CACHE, IndexedDataset, open_dataset
from relo_jax.data.datasets.layout import ENVIRONMENT, DatasetLayout
from relo_jax.data.records.read import is_built, open_built
from relo_jax.data.sequence import Sequence
from relo_jax.data.synthetic.compose import Options
from relo_jax.data.synthetic.procedural import heldout
from relo_jax.errors import UserError

NAMES = ("folder", "procedural", *(name for name in layouts.NAMES if name != "coco"))  # COCO is photographs
SERVERS = (("got10k", "test"), ("trackingnet", "test"))  # whose boxes are with a server, but for the first
CURVE_COLUMNS = {"auc": "AUC", "p20": "P20", "np20": "NP20"}
GOT10K_COLUMNS = {"ao": "AO", "sr50": "SR.50", "sr75": "SR.75"}
_RULES = {"lasot": "lasot", "lasot_ext": "lasot_ext", "uav123": "uav123"}  # the others are plain
_NAMED = 5  # sequences in a line; summary.json has all


@dataclass(frozen=True)
class Benchmark:
    """A split of a dataset to evaluate on; iterates over its sequences and has their number as its length.

    name: of the dataset; None for sequences that somebody put together. split: None where there are none.
    title: as papers print it. sequences: those that can be opened. rules: a name of `metrics.RULES`.
    published: how many sequences the split has as published, None where nobody says.
    absent: names of published sequences that are not among `sequences`, as far as names are known. reasons: a line for
    each that is here but broken. missing: how many are absent altogether, named or not.
    server: whether all boxes but the first are with an evaluation server: there is nothing to measure here.
    """

    name: str | None
    split: str | None
    title: str
    sequences: tuple[Sequence, ...]
    rules: str = "plain"
    published: int | None = None
    absent: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    missing: int = 0
    server: bool = False

    def __len__(self) -> int:
        return len(self.sequences)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self.sequences)

    def __getitem__(self, index: int) -> Sequence:
        return self.sequences[index]

    @property
    def columns(self) -> dict[str, str]:
        """The numbers that papers give of it, in order: name -> heading."""
        return GOT10K_COLUMNS if self.name == "got10k" else CURVE_COLUMNS

    def fingerprint(self) -> str:
        """A digest of what is measured against, wherever it lies: names, boxes and flags of the sequences, in order. It
        says nothing of the images."""
        state = hashlib.blake2b(digest_size=8)
        for sequence in self:
            state.update(f"{sequence.name}\0{len(sequence)}\0".encode(errors="surrogateescape"))
            state.update(np.ascontiguousarray(sequence.boxes_xywh, np.float64).tobytes())
            state.update(np.ascontiguousarray(sequence.counted, bool).tobytes())
        return state.hexdigest()

    def account(self) -> list[str]:
        """Lines on what the published split has and this one has not; empty when all is here."""
        if not self.missing:
            return []
        of = f" of the published {self.published:,}" if self.published else ""
        said = [f"{self.title}: {len(self):,}{of} sequences; {self.missing:,} could not be opened{_some(self.absent)}"]
        return said + [f"  {reason}" for reason in self.reasons[:_NAMED]]


def open_benchmark(
    name: str, root: str | Path | None = None, split: str | None = None, one_based: bool = False, *,
    count: int | None = None, seed: int | None = None, cache: str | Path = DEFAULT_CACHE,
) -> Benchmark:  # fmt: skip
    """A dataset as a benchmark: folders in their official layout, a dataset that `relo data build` made, a folder of
    sequences, or procedural ones.

    Args:
      name: one of `NAMES`.
      root: the dataset's folder, or one that has it by its name; None takes the environment's RELO_DATA_DIR.
      split: None takes the one that papers report, "test". Neither "folder" nor "procedural" has any.
      one_based: the annotations of a "folder" count pixels from 1.
      count, seed: how many procedural sequences (20), and which (0).
      cache: where indices of datasets are kept.

    Raises:
      UserError: unknown dataset or split; no such folder, or nothing of the dataset in it.
    """
    if name not in NAMES:
        raise _unknown(name)
    check_choice(name, root, split, one_based, count, seed)
    if name == "procedural":
        sequences = heldout(0 if seed is None else seed, 20 if count is None else count, Options())
        return Benchmark(name, None, "procedural", tuple(sequences))
    if name == "folder":
        root = root or os.environ.get(ENVIRONMENT)
        if not root:
            raise UserError(f"no folder of sequences: give --data-root, or set {ENVIRONMENT}")
        # No frame is looked at twice, and frames of hundreds of sequences would not fit into memory.
        sequences = read_folder(root, one_based=one_based, cache=0).sequences
        return Benchmark(name, None, Path(root).absolute().name, sequences)
    source = layouts.dataset_layout(name)
    found = _open(source, root, split, cache)
    split, everything = found.split, tuple(found)
    starts = lambda s: bool((s.boxes_xywh[0, 2:] > 0).all())  # NaN is not
    sequences = tuple(filter(starts, everything))
    unstarted = tuple(f"{s.name}: its first frame has no box to start from" for s in everything if not starts(s))
    absent = _absent(source, split, {s.name for s in sequences})
    published = source.splits[split]
    return Benchmark(
        name, split, f"{source.title} {split}", sequences, _RULES.get(name, "plain"), published, absent,
        reasons=tuple(str(p) for p in found.problems if p.fatal) + unstarted,
        missing=max(0, published - len(sequences)) if published else found.left_out + len(unstarted),
        server=(name, split) in SERVERS and not any(np.isfinite(s.boxes_xywh[1:]).any() for s in sequences),
    )  # fmt: skip


def check_choice(name, root, split, one_based, count, seed) -> None:
    """Refuses what a dataset would not look at; arguments of `open_benchmark`."""
    if name in ("folder", "procedural") and split is not None:
        raise UserError(f"dataset {name} has no splits: leave --split {split} out")
    if one_based and name != "folder":
        raise UserError(f"only a folder of sequences may count from 1 (--dataset folder), and this is {name}")
    if name == "procedural" and root is not None:
        raise UserError(f"procedural sequences are drawn, not read: name the dataset that is at {root} with --dataset")
    if name != "procedural" and not (count is None and seed is None):
        raise UserError(f"--count and --seed choose procedural sequences; those of {name} are all evaluated")


def default_split(source: DatasetLayout) -> str:
    """The split that papers report."""
    return "test" if "test" in source.splits else source.heldout


def _open(source: DatasetLayout, root: str | Path | None, split: str | None, cache: str | Path) -> IndexedDataset:
    chosen = split or default_split(source)
    try:
        if is_built(root or os.environ.get(ENVIRONMENT), source.name):
            return open_built(root or os.environ[ENVIRONMENT], source.name, chosen, cache)
        return open_dataset(source, chosen, root, cache)
    except UserError as error:
        others = ", ".join(other for other in source.splits if other != chosen)
        if split is not None or not others:
            raise
        raise UserError(f"{error} (looked for its {chosen} split; --split has {others})") from error


def _absent(source: DatasetLayout, split: str, opened: set[str]) -> tuple[str, ...]:
    """Published names that were not opened, in the order of the list; none where there is no list of names."""
    if source.name == "got10k" and split in ("val", "test"):
        names = [f"GOT-10k_{split.title()}_{k + 1:06d}" for k in range(source.splits[split])]
    elif split == "test" and (split_lists.dataset_folder(source.name) / "test.txt").is_file():
        lines = split_lists.official(source.name, "test.txt")
        names = [line.split()[0] for line in lines] if source.name == "uav123" else lines
    else:
        names = []
    return tuple(name for name in names if name not in opened)


def _some(names: tuple[str, ...]) -> str:
    """`: a, b and 3 more`."""
    if not names:
        return ""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f": {', '.join(names[:_NAMED])}{more}"


def _unknown(name: str) -> UserError:
    if name == "coco":
        return UserError("coco has photographs, not videos: there is nothing to track in it")
    try:
        layouts.dataset_layout(name)
    except UserError as error:
        return UserError(f"{error}, folder, procedural" if "known are" in str(error) else str(error))
    return UserError(f"dataset {name!r} cannot be evaluated on")
