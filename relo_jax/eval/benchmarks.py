"""Datasets as benchmarks: the sequences of a split, the rules that count their frames, and the missing ones.

    benchmark = open_benchmark("lasot", "/data")      # or got10k with split="val", procedural, ...
    benchmark = open_benchmark("/data/my_sequences")  # a folder of sequences
    for sequence in benchmark: ...

`relo_jax.data` reads the folders (docs/datasets.md). A benchmark adds the rules by which the published numbers were
counted, and a list of the published sequences that this folder lacks: a mean over 279 of 280 is another number than the
mean over all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relo_jax.config.data_options import Options
from relo_jax.data.datasets import layouts, split_lists
from relo_jax.data.datasets.folder import read_folder
from relo_jax.data.datasets.index import DEFAULT_CACHE, IndexedDataset, open_dataset
from relo_jax.data.datasets.layout import ENVIRONMENT, DatasetLayout
from relo_jax.data.records.read import is_built, open_built
from relo_jax.data.sequence import Sequence
from relo_jax.data.synthetic.procedural import heldout
from relo_jax.errors import UserError, did_you_mean
from relo_jax.eval.metrics import HEADINGS
from relo_jax.eval.servers import SERVERS
from relo_jax.tables import counted

NAMES = ("folder", "procedural", *(name for name in layouts.NAMES if name != "coco"))  # COCO has photographs only
_RULES = {"lasot": "lasot", "lasot_ext": "lasot_ext", "uav123": "uav123"}  # the others are plain
_SHOWN = 5  # names in a line; summary.json has all


@dataclass(frozen=True)
class Benchmark:
    """A split of a dataset to evaluate on; iterates over its sequences and has their number as its length.

    name: of the dataset; None for sequences that a caller put together. split: None if there are no splits.
    title: as papers print it. sequences: those that can be opened. rules: a name of `metrics.RULES`.
    published: number of sequences of the published split, None if unknown. absent: names of published sequences that
    are not among `sequences`, as far as names are known. reasons: a line for each sequence that is here but broken.
    broken: their number. missing: the number of absent and of broken sequences, named or not. server: whether an
    evaluation server alone has the boxes (except the first of each sequence), so that nothing can be measured here.
    """

    name: str | None
    split: str | None
    title: str
    sequences: tuple[Sequence, ...]
    rules: str = "plain"
    published: int | None = None
    absent: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    broken: int = 0
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
        """The numbers that papers report on it, the one that ranks first: name -> heading."""
        names = ("ao", "sr50", "sr75") if self.name == "got10k" else ("auc", "p20", "np20")
        return {name: HEADINGS[name] for name in names}

    def fingerprint(self) -> str:
        """A digest of the ground truth, wherever it is stored: names, boxes and flags of the sequences, in order. The
        images are not part of it."""
        state = hashlib.blake2b(digest_size=8)
        for sequence in self:
            state.update(f"{sequence.name}\0{len(sequence)}\0".encode(errors="surrogateescape"))
            state.update(np.ascontiguousarray(sequence.boxes_xywh, np.float64).tobytes())
            state.update(np.ascontiguousarray(sequence.counted, bool).tobytes())
        return state.hexdigest()

    def omissions(self) -> list[str]:
        """Lines on the published sequences that are missing here; empty if none is."""
        if not self.missing:
            return []
        of = f" of the published {self.published:,}" if self.published else ""
        names = f": {first_few(self.absent)}" if self.absent else ""
        here = f"{len(self):,}{of} sequences" if of else counted(len(self), "sequence")
        line = f"{self.title}: {here}; {self.missing:,} could not be opened{names}"
        return [line, *(f"  {reason}" for reason in self.reasons[:_SHOWN])]


def open_benchmark(
    name: str | Path, root: str | Path | None = None, split: str | None = None, one_based: bool = False, *,
    count: int | None = None, seed: int | None = None, cache: str | Path = DEFAULT_CACHE,
) -> Benchmark:  # fmt: skip
    """Opens a dataset as a benchmark: folders in their official layout, a dataset built by `relo data build`, a folder
    of sequences, or procedural sequences.

    Args:
      name: one of `NAMES`; or a folder of sequences, NAME/img/*.jpg with NAME/groundtruth.txt.
      root: the dataset's folder, or its parent; None takes RELO_DATA_DIR from the environment.
      split: None takes the one that papers report, "test". "folder" and "procedural" have no splits.
      one_based: the annotations of a "folder" count pixels from 1.
      count, seed: number of procedural sequences (20), and their seed (0).
      cache: folder of the dataset indices.

    Raises:
      UserError: unknown dataset or split; no such folder, or nothing of the dataset in it.
    """
    name = str(name)
    if root is None:
        name, root = _folder_or_name(name)
    if name == "coco":
        raise UserError("coco has photographs, not videos: there is nothing to track in it")
    if name not in NAMES:
        raise UserError(f"no dataset is called {name!r}{did_you_mean(name.lower(), NAMES, cutoff=0.4)}")
    check_choice(name, root, split, one_based, count, seed)
    if name == "procedural":
        drawn = heldout(0 if seed is None else seed, 20 if count is None else count, Options())
        return Benchmark(name, None, "procedural", tuple(drawn))
    if name == "folder":
        root = root or os.environ.get(ENVIRONMENT)
        if not root:
            raise UserError(f"no folder of sequences: give --data-root, or set {ENVIRONMENT}")
        # No frame is read twice, and the frames of hundreds of sequences would not fit into memory.
        found = read_folder(root, one_based=one_based, cache=0)
        title, missing = Path(root).absolute().name, len(found.left_out)
        return Benchmark(name, None, title, found.sequences, reasons=found.left_out, broken=missing, missing=missing)
    layout = layouts.dataset_layout(name)
    dataset = _open(layout, root, split, cache)
    split, published = dataset.split, layout.splits[dataset.split]
    everything = tuple(dataset)
    sequences = tuple(s for s in everything if (s.boxes_xywh[0, 2:] > 0).all())  # NaN is not above 0
    opened = {s.name for s in sequences}
    startless = [s.name for s in everything if s.name not in opened]
    fatal = sorted((p.is_of_absent(dataset.root), str(p)) for p in dataset.problems if p.fatal)  # absent ones last
    broken = sum(not is_absent for is_absent, _ in fatal)
    without = tuple(f"{sequence}: its first frame has no box to start from" for sequence in startless)
    return Benchmark(
        name, split, f"{layout.title} {split}", sequences, _RULES.get(name, "plain"), published,
        absent=tuple(n for n in published_names(layout, split) if n not in opened),
        reasons=(*without, *(reason for _, reason in fatal)),
        broken=min(broken, dataset.left_out) + len(without),
        missing=max(0, published - len(sequences)) if published else dataset.left_out + len(without),
        server=split == "test" and name in SERVERS and not any(np.isfinite(s.boxes_xywh[1:]).any() for s in sequences),
    )  # fmt: skip


def _folder_or_name(name: str) -> tuple[str, Path | None]:
    """Name and root of a dataset, of which a path stands for a folder of sequences. Raises UserError."""
    folder = Path(name).expanduser()
    if name in NAMES or not (os.sep in name or folder.is_dir()):
        return name, None
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: give one of sequences, or a dataset's name: {', '.join(NAMES)}")
    return "folder", folder


def check_choice(
    name: str, root: str | Path | None, split: str | None, one_based: bool, count: int | None, seed: int | None
) -> None:
    """Refuses arguments of `open_benchmark` that do not apply to the dataset. Raises UserError."""
    if name in ("folder", "procedural") and split is not None:
        raise UserError(f"dataset {name} has no splits: leave --split {split} out")
    if one_based and name != "folder":
        raise UserError(f"--one-based is for a folder of sequences (--dataset folder), not for {name}")
    if name == "procedural" and root is not None:
        raise UserError(f"procedural sequences are drawn, not read: name the dataset in {root} with --dataset")
    if name != "procedural" and not (count is None and seed is None):
        raise UserError(f"--count and --seed choose procedural sequences; {name} is always evaluated whole")


def default_split(layout: DatasetLayout) -> str:
    """The split that papers report."""
    return layout.heldout if layout.heldout and "test" not in layout.splits else "test"


def published_names(layout: DatasetLayout, split: str) -> list[str]:
    """The names of a split's sequences, in the order of the official list; [] if there is no list of names."""
    if layout.name == "got10k" and split in ("val", "test"):
        return [f"GOT-10k_{split.title()}_{k + 1:06d}" for k in range(layout.splits[split] or 0)]
    if split == "test" and (split_lists.dataset_folder(layout.name) / "test.txt").is_file():
        lines = split_lists.official(layout.name, "test.txt")
        return [line.split()[0] for line in lines] if layout.name == "uav123" else lines
    return []


def first_few(names: SequenceOf[str]) -> str:
    """`a, b and 3 more`."""
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _open(layout: DatasetLayout, root: str | Path | None, split: str | None, cache: str | Path) -> IndexedDataset:
    chosen = split or default_split(layout)
    try:
        if is_built(root or os.environ.get(ENVIRONMENT), layout.name):
            return open_built(root or os.environ[ENVIRONMENT], layout.name, chosen, cache)
        return open_dataset(layout, chosen, root, cache)
    except UserError as error:
        others = ", ".join(other for other in layout.splits if other != chosen)
        if split is not None or not others:
            raise
        raise UserError(f"{error} (looked for its {chosen} split; --split has {others})") from error
