"""The index of a dataset: all its annotations read once, in parallel, and kept in a few arrays beside the runs.

Opening a dataset of 30,000 sequences the second time lists it and looks at sizes and times of its files; nothing is
read unless one of them changed, or the code that reads it. The arrays are mapped from disk, so that processes share
them and a sequence costs nothing until it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from relo_jax.data import annotations, images
from relo_jax.data import source as source_module
from relo_jax.data.images import read_bytes
from relo_jax.data.sequence import Sequence
from relo_jax.data.source import Entry, Problem, Record, Source
from relo_jax.errors import UserError

DEFAULT_CACHE = Path("runs/data_index")
_READERS = 16  # threads: an index is built from many small files, perhaps on a network disk
_NUMBERED = re.compile(r"(.*?)(\d+)(\.\w+)")


class Indexed:
    """The sequences of one split of a dataset on disk; clips draw from them at random. Where their frames are is said
    by a subclass: files (`InFolders`), or records of a dataset that was built.

    problems: what was wrong with which sequence; those with a fatal one are left out.
    missing: how many sequences fewer than published were found, those left out included.
    """

    each_once = False

    def __init__(self, source: Source, root: Path, split: str, folder: Path):
        self.source, self.root, self.split, self._folder = source, root, split, folder
        self.name = f"{source.name} {split}"
        load = lambda name: np.load(folder / f"{name}.npy", mmap_mode="r")
        self._boxes, self._visible, self._text = load("boxes"), load("visible"), load("text")
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
        )

    def _texts(self, index: int) -> list[str]:
        """A sequence's name, folder, category and names of frames."""
        return bytes(self._text[self._text_start[index] : self._text_start[index + 1]]).decode().split("\0")

    def __getstate__(self):
        return self.source.name, self.root, self.split, self._folder

    def __setstate__(self, state):
        """In another process the arrays are mapped again, not copied."""
        from relo_jax.data import sources

        name, root, split, folder = state
        self.__init__(sources.source(name), root, split, folder)

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
        """One line: how many sequences and frames, and what was left out."""
        frames = f"{len(self):,} sequences, {int(self._start[-1]):,} frames"
        fatal = Counter(p.kind for p in self.problems if p.fatal)
        parts = [f"{count} {kind}" for kind, count in fatal.most_common()]
        first = next((str(p) for p in self.problems if p.fatal), "")
        left = f"; {self.left_out} left out ({', '.join(parts)}; first: {first})" if self.left_out else ""
        missing = f"; {self.missing:,} of the published {self.source.splits[self.split]:,} are not here"
        return f"{self.source.title} {self.split}: {frames}{left}{missing if self.missing else ''}"


class InFolders(Indexed):
    """Sequences as their authors hand them out: an image file a frame."""

    def files(self, index: int) -> tuple[str, Names]:
        """A sequence's folder of frames, relative to the root, and the names of the files there."""
        _, folder, _, frames = self._texts(index)
        return folder, Names(frames, int(self._start[index + 1] - self._start[index]))

    def _reader(self, index: int):
        """A sequence's frames as two functions of their number: what to call one, and its encoded bytes."""
        folder, names = self.files(index)
        base = self.root / folder
        where = lambda k: str(base / names[int(k)])
        return where, lambda k: read_bytes(where(k))


class Names:
    """File names of a sequence's frames: a pattern where they are numbered without a gap, a list where not."""

    def __init__(self, text: str, count: int):
        self._count = count
        self._names = text.split("\n") if "\n" in text or count == 1 else None
        if self._names is None:
            self._prefix, digits, first, self._suffix = text.split("/")
            self._digits, self._first = int(digits), int(first)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> str:
        if self._names is not None:
            return self._names[index]
        if not 0 <= index < self._count:
            raise IndexError(index)
        return f"{self._prefix}{self._first + index:0{self._digits}d}{self._suffix}"

    @staticmethod
    def compress(names: list[str]) -> str:
        """What `Names` takes."""
        match = _NUMBERED.fullmatch(names[0]) if len(names) > 1 else None
        if match:
            prefix, digits, suffix = match.groups()
            text = f"{prefix}/{len(digits) if digits[0] == '0' else 0}/{int(digits)}/{suffix}"
            if names == list(map(Names(text, len(names)).__getitem__, range(len(names)))):
                return text
        return "\n".join(names)


def open_dataset(
    source: Source, split: str, root: str | Path | None = None, cache: str | Path = DEFAULT_CACHE
) -> InFolders:
    """A split of a dataset in its official layout, by its index, which is made where there is none or it is old.

    Args:
      root: the dataset's folder, or one that has it by its name; None: the environment variable RELO_DATA_DIR.
      cache: where indices are kept.

    Raises:
      UserError: no such folder or split, another layout, archives still packed, no sequence that can be used.
    """
    source.check_split(split)
    root = source.find_root(root).absolute()
    entries = source.entries(root, split)
    folder = Path(cache) / f"{source.name}-{split}-{fingerprint(source, root, split, entries)}"
    if not (folder / "problems.json").is_file():
        _build(source, root, split, entries, folder)
    found = InFolders(source, root, split, folder)
    if not len(found):
        raise UserError(f"{root}: no usable sequence: {found.summary()}")
    return found


def fingerprint(source: Source, root: Path, split: str, entries: list[Entry]) -> str:
    """Of everything that an index depends on: names, sizes and times of the files, and the code that reads them."""
    digest = hashlib.blake2b(digest_size=10)
    code = (sys.modules[source.read.__module__], sys.modules[__name__], annotations, images, source_module)
    for module in code:
        digest.update(Path(module.__file__).read_bytes())
    digest.update(f"{root}\0{split}\0".encode())
    prefix = f"{root}{os.sep}"
    for entry in entries:
        digest.update(f"{entry.name}\0{entry.extra}\0".encode())
        for file in entry.files:
            try:
                status = os.stat(prefix + file)
                digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
            except OSError:
                digest.update(f"{file}\0-\0".encode())
    return digest.hexdigest()


def _build(source: Source, root: Path, split: str, entries: list[Entry], folder: Path) -> None:
    """Reads every entry and leaves the index, whole, at `folder`; older ones of the split are removed."""
    boxes, visible, text, still, problems, left_out = [], [], [], [], [], 0
    with ThreadPoolExecutor(_READERS) as pool:
        done = pool.map(lambda entry: list(_read(source, root, entry)), entries)
        bar = tqdm(done, f"indexing {source.title} {split}", len(entries), unit="sequence", disable=len(entries) < 200)
        for record in (record for records in bar for record in records):
            problems += record.problems
            if not record.usable:
                left_out += 1
                continue
            boxes.append(record.boxes_xywh)
            visible.append(record.visible)
            frames = Names.compress(record.frames)
            text.append("\0".join((record.name, record.folder, record.category or "", frames)).encode())
            still.append(record.still)
    save(folder, f"{source.name}-{split}-*", text, boxes, visible, still, problems, left_out)


def save(folder: Path, older: str, text, boxes, visible, still, problems, left_out: int, **more: np.ndarray) -> None:
    """Leaves an index, whole, at `folder`, and removes those beside it that match `older`.

    Args:
      text: a sequence's name, folder, category and frames, as `Indexed` takes them apart.
      boxes, visible, still: of each sequence.
      problems: of all.
      more: further arrays.
    """
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        starts = lambda parts: np.cumsum([0, *map(len, parts)], dtype=np.int64)
        arrays = {
            "boxes": np.concatenate(boxes) if boxes else np.zeros((0, 4)),
            "visible": np.concatenate(visible) if visible else np.zeros(0, bool),
            "start": starts(boxes),
            "text": np.frombuffer(b"".join(text), np.uint8),
            "text_start": starts(text),
            "visible_count": np.array([np.count_nonzero(v) for v in visible], np.int64),
            "still": np.array(still, bool),
            **more,
        }
        for name, values in arrays.items():
            np.save(unfinished / f"{name}.npy", values)
        rows = [(p.kind, p.where, p.detail, p.fatal) for p in problems]
        (unfinished / "problems.json").write_text(json.dumps({"left_out": left_out, "problems": rows}))
        for old in folder.parent.glob(older):
            shutil.rmtree(old, ignore_errors=True)
        unfinished.rename(folder)
    except OSError as error:
        if not (folder / "problems.json").is_file():  # another process may have been first
            raise UserError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _read(source: Source, root: Path, entry: Entry) -> Iterator[Record]:
    """The entry's records; an annotation that cannot be read becomes a record with a fatal problem."""
    try:
        yield from source.read(root, entry)
    except UserError as error:
        where = entry.files[0]
        detail = str(error).removeprefix(f"{root / where}").lstrip(":, ")
        problem = Problem("unreadable annotation", where, detail)
        yield Record(entry.name, "", [], np.zeros((0, 4)), np.zeros(0, bool), problems=[problem])
