"""The index of a dataset: all its annotations read once, in parallel, and kept in a few arrays beside the runs.

Opening a dataset of 30,000 sequences the second time lists it and looks at sizes and times of its files; nothing is
read unless one of them, or `INDEX_VERSION`, changed. The arrays are mapped from disk, so that processes share
them and a sequence costs nothing until it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from relo_jax.data.datasets.frame_names import FrameNames
from relo_jax.data.datasets.index_store import INDEX_VERSION, open_or_make, save
from relo_jax.data.datasets.layout import MISSING_PART, DatasetLayout, Entry, Problem, Record
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.media import images
from relo_jax.media.images import read_bytes

DEFAULT_CACHE = Path("runs/data_index")
_READERS = 16  # threads: an index is built from many small files, perhaps on a network disk
_ANY_NAME = "surrogateescape"  # names of files that are no UTF-8, as Python has them
_TOGETHER = 1000  # entries whose files a thread looks at in one go


class IndexedDataset:
    """The sequences of one split of a dataset on disk; clips draw from them at random. Where their frames are is said
    by a subclass: files (`FolderDataset`), or records of a dataset that was built.

    problems: what was wrong with which sequence, or with the root; sequences with a fatal one are left out.
    left_out: how many sequences those are. missing: how many fewer than published were found, usable or not.
    """

    each_once = False

    def __init__(self, source: DatasetLayout, root: Path, split: str, folder: Path):
        self.source, self.root, self.split, self._folder = source, root, split, folder
        self.name = f"{source.name} {split}"
        load = lambda name: np.load(folder / f"{name}.npy", mmap_mode="r")
        self._boxes, self._visible, self._shown = load("boxes"), load("visible"), load("shown")
        self._text = load("text")
        self._start, self._text_start = np.asarray(load("start")), np.asarray(load("text_start"))
        self._visible_count, self._still = np.asarray(load("visible_count")), np.asarray(load("still"))
        known = json.loads((folder / "problems.json").read_text())
        self.problems = [Problem(*fields) for fields in known["problems"]]
        self.left_out = known["left_out"]
        published = source.splits[split]
        self.missing = max(0, published - len(self) - self.left_out) if published else 0

    def __len__(self) -> int:
        return len(self._start) - 1

    def __iter__(self) -> Iterator[Sequence]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, index: int) -> Sequence:
        index = range(len(self))[index]
        start, end = self._start[index], self._start[index + 1]
        name, _, category, _ = self._texts(index)
        where, read_encoded = self._reader(index)
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

    def _texts(self, index: int) -> list[str]:
        """A sequence's name, folder, category and names of frames."""
        return (
            bytes(self._text[self._text_start[index] : self._text_start[index + 1]])
            .decode(errors=_ANY_NAME)
            .split("\0")
        )

    def __getstate__(self):
        return self.source.name, self.root, self.split, self._folder

    def __setstate__(self, state):
        """In another process the arrays are mapped again, not copied."""
        from relo_jax.data.datasets import layouts

        name, root, split, folder = state
        self.__init__(layouts.dataset_layout(name), root, split, folder)

    @property
    def lengths(self) -> np.ndarray:
        """int64 [sequences], frames of each."""
        return np.diff(self._start)

    @property
    def visible_counts(self) -> np.ndarray:
        """int64 [sequences], visible frames of each."""
        return self._visible_count

    @property
    def stills(self) -> np.ndarray:
        """bool [sequences], whether it is one image that stands for a video."""
        return self._still

    def summary(self) -> str:
        """One line: how many sequences and frames, what was left out, and what is not there at all."""
        parts = [f"{self.source.title} {self.split}: {len(self):,} sequences, {int(self._start[-1]):,} frames"]
        fatal = [p for p in self.problems if p.fatal and p.kind != MISSING_PART]
        if self.left_out:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in Counter(p.kind for p in fatal).most_common())
            parts.append(f"{self.left_out:,} left out ({kinds}; first: {fatal[0]})")
        if self.missing:
            parts.append(f"{self.missing:,} of the published {self.source.splits[self.split]:,} are not here")
        gone = [p for p in self.problems if p.kind == MISSING_PART]
        if gone:
            listed = ", ".join(p.where for p in gone)
            parts.append(f"{len(gone)} parts are missing ({listed}; {gone[0].detail})")
        return "; ".join(parts)


class FolderDataset(IndexedDataset):
    """Sequences as their authors hand them out: an image file a frame."""

    def files(self, index: int) -> tuple[str, FrameNames]:
        """A sequence's folder of frames, relative to the root, and the names of the files there."""
        _, folder, _, frames = self._texts(index)
        return folder, FrameNames(frames, int(self._start[index + 1] - self._start[index]))

    def _reader(self, index: int):
        """A sequence's frames as two functions of their number: what to call one, and its encoded bytes."""
        folder, names = self.files(index)
        base = self.root / folder
        where = lambda k: str(base / names[int(k)])
        return where, lambda k: read_bytes(where(k))


def open_dataset(
    source: DatasetLayout, split: str, root: str | Path | None = None, cache: str | Path = DEFAULT_CACHE
) -> FolderDataset:
    """A split of a dataset in its official layout, by its index, which is made where there is none or it is old.

    Args:
      root: the dataset's folder, or one that has it by its name; None: the environment variable RELO_DATA_DIR.
      cache: where indices are kept.

    Raises:
      UserError: no such folder or split, another layout, archives still packed, no sequence that can be used.
    """
    found = open_index(source, split, root, cache)
    if not len(found):
        raise UserError(f"{found.root}: no usable sequence: {found.summary()}")
    return found


def open_index(source: DatasetLayout, split: str, root: str | Path | None, cache: str | Path) -> FolderDataset:
    """As `open_dataset`, but where no sequence can be used, one that has only problems."""
    source.check_split(split)
    root = source.find_root(root).absolute()
    entries = source.entries(root, split)
    # Two roots of one dataset keep an index each; a new one replaces that of its own root.
    place = f"{source.name}-{split}-{hashlib.blake2b(str(root).encode(), digest_size=4).hexdigest()}"
    folder = Path(cache) / f"{place}-{fingerprint(source, root, split, entries)}"
    return open_or_make(
        folder, lambda: FolderDataset(source, root, split, folder),
        lambda: _build(source, root, split, entries, folder, f"{place}-*"),
    )  # fmt: skip


def fingerprint(source: DatasetLayout, root: Path, split: str, entries: list[Entry]) -> str:
    """Of everything that an index depends on: names, sizes and times of the files, and `INDEX_VERSION`."""
    digest = hashlib.blake2b(digest_size=10)
    digest.update(f"{INDEX_VERSION}\0{root}\0{split}\0".encode())
    prefix = f"{root}{os.sep}"
    # A stat is short on a local disk, and waits on a network disk: many wait at a time.
    parts = [entries[k : k + _TOGETHER] for k in range(0, len(entries), _TOGETHER)]
    with ThreadPoolExecutor(_READERS) as pool:
        for text in pool.map(lambda part: _states(prefix, part), parts):
            digest.update(text.encode(errors=_ANY_NAME))
    return digest.hexdigest()


def _states(prefix: str, entries: list[Entry]) -> str:
    """Names of entries, and sizes and times of their files."""
    lines = []
    for entry in entries:
        lines.append(f"{entry.name}\0{entry.extra}")
        for file in entry.files:
            try:
                status = os.stat(prefix + file)
                lines.append(f"{file}\0{status.st_size}\0{status.st_mtime_ns}")
            except OSError:
                lines.append(f"{file}\0-")
    return "\0\0".join(lines)


def _build(source: DatasetLayout, root: Path, split: str, entries: list[Entry], folder: Path, older: str) -> None:
    """Reads every entry and leaves the index, whole, at `folder`, in place of those that match `older`."""
    boxes, visible, shown, text, still, problems, left_out = [], [], [], [], [], [], 0
    bar = tqdm(total=len(entries), desc=f"indexing {source.title} {split}", unit="entry", disable=len(entries) < 200)
    with ThreadPoolExecutor(_READERS) as pool, bar:
        for found in pool.map(lambda entry: list(_read(source, root, entry)), entries):
            bar.update()
            for record in found:
                if isinstance(record, Problem):
                    problems.append(record)
                    continue
                problems += record.problems
                if not record.usable:
                    left_out += 1
                    continue
                boxes.append(record.boxes_xywh)
                visible.append(record.visible)
                shown.append(record.visible if record.shown is None else record.shown)
                frames = FrameNames.compress(record.frames)
                line = "\0".join((record.name, record.folder, record.category or "", frames))
                text.append(line.encode(errors=_ANY_NAME))
                still.append(record.still)
    save(folder, older, text, boxes, visible, shown, still, problems, left_out)


def _read(source: DatasetLayout, root: Path, entry: Entry) -> Iterator[Record | Problem]:
    """The entry's records; an annotation that cannot be read becomes a record with a fatal problem."""
    try:
        yield from source.read(root, entry)
    except UserError as error:
        named = re.match(rf"{re.escape(str(root))}/(.+?)[:,] (.+)", str(error))
        where, detail = named.groups() if named else (entry.files[0], str(error))
        problem = Problem("unreadable annotation", where, detail)
        yield Record(entry.name, "", [], np.zeros((0, 4)), np.zeros(0, bool), problems=[problem])
