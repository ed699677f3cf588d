"""The index of a dataset: all its annotations, read once in parallel and kept as a few arrays in `runs/data_index`.

Opening a dataset of 30,000 sequences again only lists it and compares sizes and times of its files. Annotations are
read again if one of them changed, or `INDEX_VERSION`. The arrays are memory-mapped, so processes share them and a
sequence costs nothing until it is used.
"""

from __future__ import annotations

import abc
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from relo_jax.bars import tqdm
from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.frame_names import FrameNames
from relo_jax.data.datasets.index_store import ANY_NAME, INDEX_VERSION, IndexWriter, open_or_build
from relo_jax.data.datasets.layout import MISSING_PART, Annotation, DatasetLayout, Entry, Problem
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.media import images
from relo_jax.media.images import read_bytes
from relo_jax.tables import counted

DEFAULT_CACHE = Path("runs/data_index")
_READERS = 16  # threads: an index is built from many small files, perhaps on a network disk
_ENTRIES_PER_TASK = 1000  # whose files one thread stats


class IndexedDataset(abc.ABC):
    """The sequences of one split of a dataset on disk; clips draw from them at random.

    A subclass knows where the frames are: in files (`FolderDataset`), or in the records of a built dataset.

    Attributes:
      problems: defects of sequences and of the root. A sequence with a fatal one is left out.
      left_out: number of such sequences.
      missing: how many of the published sequences are neither in the dataset nor left out.
    """

    each_once = False

    def __init__(self, layout: DatasetLayout, root: Path | str, split: str, folder: Path):
        self.layout, self.root, self.split, self._folder = layout, root, split, folder
        self.name = f"{layout.name} {split}"
        load = lambda name: np.load(folder / f"{name}.npy", mmap_mode="r")
        self._boxes, self._visible, self._shown = load("boxes"), load("visible"), load("shown")
        self._text = load("text")
        self._start, self._text_start = np.asarray(load("start")), np.asarray(load("text_start"))
        self._visible_count, self._still = np.asarray(load("visible_count")), np.asarray(load("still"))
        stored = json.loads((folder / "problems.json").read_text())
        self.problems = [Problem(*fields) for fields in stored["problems"]]
        self.left_out = stored["left_out"]
        published = layout.splits[split]
        self.missing = max(0, published - len(self) - self.left_out) if published else 0

    def __len__(self) -> int:
        return len(self._start) - 1

    def __iter__(self) -> Iterator[Sequence]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, index: int) -> Sequence:
        index = range(len(self))[index]
        start, end = self._start[index], self._start[index + 1]
        name, _, category, _ = self._texts(index)
        where, read_encoded = self._frame_reader(index)
        return Sequence(
            name,
            np.array(self._boxes[start:end]),
            np.array(self._visible[start:end]),
            read_frame=lambda k: images.decode(read_encoded(k), where(k)),
            category=category or None,
            read_encoded=read_encoded,
            where=where,
            still=bool(self._still[index]),
            shown=np.array(self._shown[start:end]),
        )

    @abc.abstractmethod
    def _frame_reader(self, index: int) -> tuple[Callable[[int], str], Callable[[int], bytes]]:
        """`where` and `read_encoded` of a sequence."""

    def _texts(self, index: int) -> list[str]:
        """A sequence's name, folder, category and frame names."""
        text = bytes(self._text[self._text_start[index] : self._text_start[index + 1]])
        return text.decode(errors=ANY_NAME).split("\0")

    def __getstate__(self):
        return self.layout.name, self.root, self.split, self._folder

    def __setstate__(self, state):
        """Maps the arrays again in another process, instead of copying them."""
        name, root, split, folder = state
        self.__init__(layouts.dataset_layout(name), root, split, folder)

    @property
    def lengths(self) -> np.ndarray:
        """int64 [sequences], number of frames."""
        return np.diff(self._start)

    @property
    def visible_counts(self) -> np.ndarray:
        """int64 [sequences], number of visible frames."""
        return self._visible_count

    @property
    def stills(self) -> np.ndarray:
        """bool [sequences], whether the sequence is one image that stands for a video."""
        return self._still

    def summary(self) -> str:
        """One line: the number of sequences and frames, what was left out and what is missing."""
        size = f"{counted(len(self), 'sequence')}, {counted(int(self._start[-1]), 'frame')}"
        parts = [f"{self.layout.title} {self.split}: {size}"]
        fatal = [p for p in self.problems if p.fatal and p.kind != MISSING_PART]
        if self.left_out:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in Counter(p.kind for p in fatal).most_common())
            parts.append(f"{self.left_out:,} left out ({kinds}; first: {fatal[0]})")
        if self.missing:
            parts.append(f"{self.missing:,} of the published {self.layout.splits[self.split]:,} are missing")
        missing_parts = [p for p in self.problems if p.kind == MISSING_PART]
        if missing_parts:
            names = ", ".join(p.where for p in missing_parts)
            parts.append(f"{len(missing_parts)} parts are missing ({names}; {missing_parts[0].detail})")
        return "; ".join(parts)


class FolderDataset(IndexedDataset):
    """Sequences in the folders that their authors publish, with one image file per frame."""

    root: Path

    def files(self, index: int) -> tuple[str, FrameNames]:
        """A sequence's folder of frames, relative to the root, and the names of the files in it."""
        _, folder, _, frames = self._texts(index)
        return folder, FrameNames(frames, int(self._start[index + 1] - self._start[index]))

    def _frame_reader(self, index: int) -> tuple[Callable[[int], str], Callable[[int], bytes]]:
        folder, names = self.files(index)
        base = self.root / folder
        where = lambda k: str(base / names[int(k)])
        return where, lambda k: read_bytes(where(k))


def open_dataset(
    layout: DatasetLayout, split: str, root: str | Path | None = None, cache: str | Path = DEFAULT_CACHE
) -> FolderDataset:
    """A split of a dataset in its official layout, read from its index. Builds the index if it is missing or outdated.

    Args:
      root: the dataset's folder, or a folder that has it under one of its names; None for RELO_DATA_DIR.
      cache: folder of indices.

    Raises:
      UserError: no such folder or split, another layout, archives that are still packed, or no usable sequence.
    """
    dataset = open_index(layout, split, root, cache)
    if not len(dataset):
        raise UserError(f"{dataset.root}: no usable sequence: {dataset.summary()}")
    return dataset


def open_index(layout: DatasetLayout, split: str, root: str | Path | None, cache: str | Path) -> FolderDataset:
    """Like `open_dataset`, but a dataset without any usable sequence is not an error."""
    layout.check_split(split)
    root = layout.find_root(root).absolute()
    entries = layout.entries(root, split)
    # Two roots of one dataset have an index each; a new index replaces those of its own root.
    prefix = f"{layout.index_name}-{split}-{hashlib.blake2b(str(root).encode(), digest_size=4).hexdigest()}"
    folder = Path(cache) / f"{prefix}-{fingerprint(root, split, entries)}"
    return open_or_build(
        folder, lambda: FolderDataset(layout, root, split, folder),
        lambda: _build(layout, root, split, entries, folder, f"{prefix}-*"),
    )  # fmt: skip


def open_splits(
    layout: DatasetLayout, splits: Iterable[str], root: str | Path | None, cache: str | Path,
    open_split: Callable[..., FolderDataset] = open_dataset,
) -> tuple[dict[str, FolderDataset], dict[str, str]]:  # fmt: skip
    """Several splits of a dataset.

    Args:
      splits: the splits to open; empty for all that can be opened.
      open_split: `open_dataset` or `open_index`.

    Returns:
      Split -> dataset; and split -> reason for those that cannot be opened.

    Raises:
      UserError: one of `splits` cannot be opened, or no split can.
    """
    datasets, errors = {}, {}
    for split in splits or layout.splits:
        try:
            datasets[split] = open_split(layout, split, root, cache)
        except UserError as error:
            if splits:
                raise
            errors[split] = error
    if not datasets:
        raise next(iter(errors.values()))
    return datasets, {split: str(error) for split, error in errors.items()}


def fingerprint(root: Path, split: str, entries: list[Entry]) -> str:
    """A digest of all that an index depends on: names, sizes and times of the files, and `INDEX_VERSION`."""
    state = hashlib.blake2b(digest_size=10)
    state.update(f"{INDEX_VERSION}\0{root}\0{split}\0".encode())
    prefix = f"{root}{os.sep}"
    # A stat is fast on a local disk and slow on a network disk, so many run in parallel.
    tasks = [entries[k : k + _ENTRIES_PER_TASK] for k in range(0, len(entries), _ENTRIES_PER_TASK)]
    with ThreadPoolExecutor(_READERS) as pool:
        for text in pool.map(lambda task: _file_states(prefix, task), tasks):
            state.update(text.encode(errors=ANY_NAME))
    return state.hexdigest()


def _file_states(prefix: str, entries: list[Entry]) -> str:
    """Names of entries, with sizes and times of their files."""
    lines = []
    for entry in entries:
        lines.append(f"{entry.name}\0{entry.extra}" + (f"\0{entry.problem}" if entry.problem else ""))
        for file in entry.files:
            try:
                status = os.stat(prefix + file)
                lines.append(f"{file}\0{status.st_size}\0{status.st_mtime_ns}")
            except OSError:
                lines.append(f"{file}\0-")
    return "\0\0".join(lines)


def _build(layout: DatasetLayout, root: Path, split: str, entries: list[Entry], folder: Path, older: str) -> None:
    """Reads all entries and writes the index to `folder`, in place of those that match `older`."""
    index = IndexWriter()
    bar = tqdm(total=len(entries), desc=f"indexing {layout.title} {split}", unit="entry", disable=len(entries) < 200)
    with ThreadPoolExecutor(_READERS) as pool, bar:
        for annotations in pool.map(lambda entry: list(_read(layout, root, entry)), entries):
            bar.update()
            for annotation in annotations:
                if isinstance(annotation, Problem):
                    index.problems.append(annotation)
                else:
                    index.add(annotation)
    index.save(folder, older)


def _read(layout: DatasetLayout, root: Path, entry: Entry) -> Iterator[Annotation | Problem]:
    """The entry's annotations; an unreadable file becomes an annotation with a fatal problem."""
    if entry.problem:
        yield entry.problem
        return
    try:
        yield from layout.read(root, entry)
    except UserError as error:
        named = re.match(rf"{re.escape(str(root))}/(.+?)[:,] (.+)", str(error))
        where, detail = named.groups() if named else (entry.files[0], str(error))
        problem = Problem("unreadable annotation", where, detail)
        yield Annotation(entry.name, "", [], np.zeros((0, 4)), np.zeros(0, bool), problems=[problem])
