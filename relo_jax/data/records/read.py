"""A dataset that was built, read back: the same sequences as from the folders, a frame at a time.

Boxes and flags are read from the `sequences` once and kept as an index; a frame is one record of `frames`. A shard is
opened when it is first asked for, and shared by threads. Worker processes are spawned, as Grain does, or forked before
anything is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.index import DEFAULT_CACHE, IndexedDataset
from relo_jax.data.datasets.index_store import INDEX_VERSION, open_or_make, save
from relo_jax.data.datasets.layout import DatasetLayout, Problem
from relo_jax.data.records.examples import KINDS, VISIBLE
from relo_jax.errors import UserError
from relo_jax.media.images import FrameError

VERSION = "1.0.0"
_AT_ONCE = 512  # sequence records read at a time
_OTHER_FILES = 100  # that a process has open beside shards
_reading_process: int | None = None  # the one that read the first record


def config_folder(out, name: str, kind: str):
    """Where `kind` of a dataset lies below a folder of datasets."""
    return out / name / kind / VERSION


def shard_name(name: str, split: str, number: int, count: int) -> str:
    """The file name of a shard, as TFDS has it."""
    return f"{name}-{split}.array_record-{number:05d}-of-{count:05d}"


def plan_note(folder, split: str):
    """The file that says what the shards of a split were made from; TFDS's own way of building leaves none."""
    return folder / f"shards-{split}" / "plan.txt"


def listed_splits(folder) -> dict[str, tuple[list[int], int]]:
    """The finished splits of a config: records of each shard, and bytes of all records; empty where there are none.

    Raises:
      UserError: its dataset_info.json cannot be read.
    """
    file = folder / "dataset_info.json"
    try:
        if not file.exists():
            return {}
        known = json.loads(file.read_text())
        return {s["name"]: ([int(n) for n in s["shardLengths"]], int(s["numBytes"])) for s in known["splits"]}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{file}: cannot be read ({error!r}): remove it, and build the dataset again") from None


def is_built(root, name: str) -> bool:
    """Whether `root` (local or gs://), or a folder of the dataset's name in it, is a dataset that was built.

    Raises:
      UserError: `root` is in a bucket that cannot be reached.
    """
    return bool(root) and _find(root, name) is not None


def _find(root, name: str):
    """The folder with the configs of a built dataset, or None."""
    from etils import epath

    root = epath.Path(root)
    try:
        for folder in (root / name, root):
            if folder.name == name and all((folder / kind / VERSION / "dataset_info.json").exists() for kind in KINDS):
                return folder
    except ImportError as error:
        raise UserError(f"{root}: cannot be reached: {error}: pip install 'relo-jax[cloud]'") from None
    return None


def open_built(root, name: str, split: str, cache: str | Path = DEFAULT_CACHE) -> RecordDataset:
    """A split of a dataset that was built.

    Args:
      root: the dataset's folder, or the one that was given to `relo data build --out`; local or gs://.
      cache: where indices are kept.

    Raises:
      UserError: it was not built there, or not this split of it; a shard is missing or cannot be read.
    """
    source = layouts.dataset_layout(name)
    source.check_split(split)
    folder = _find(root, name)
    if folder is None:
        raise UserError(f"{root}: no built {source.title}: relo data build {name} --out {root}")
    splits = {kind: listed_splits(folder / kind / VERSION) for kind in KINDS}
    if not all(split in splits[kind] for kind in KINDS):
        has = ", ".join(sorted(splits["sequences"])) or "none"
        raise UserError(f"{folder}: has no finished {split} split (it has {has}): build it with --split {split}")
    # Two copies of one dataset keep an index each; a new one replaces that of its own copy.
    place = f"built-{name}-{split}-{hashlib.blake2b(str(folder).encode(), digest_size=4).hexdigest()}"
    index = Path(cache) / f"{place}-{_fingerprint(folder, split)}"
    return open_or_make(
        index, lambda: RecordDataset(source, str(folder), split, index),
        lambda: _index(source, folder, split, index, f"{place}-*"),
    )  # fmt: skip


class RecordDataset(IndexedDataset):
    """Sequences of a built dataset; `root` is its folder or gs:// path, as text."""

    def __init__(self, source: DatasetLayout, root: str, split: str, folder: Path):
        super().__init__(source, root, split, folder)
        self._first = np.asarray(np.load(folder / "first.npy"))
        self._records = _records(root, source.name, split, "frames")
        self._parse = None

    def _reader(self, index: int):
        name, first = self._texts(index)[0], int(self._first[index])
        numbers = range(first, first + int(self._start[index + 1] - self._start[index]))
        where = lambda k: f"{self.root}: frame {int(k)} of {self.split} {name} (record {numbers[int(k)]} of frames)"
        return where, lambda k: self._frame(numbers[int(k)], where(k))

    def _frame(self, number: int, where: str) -> bytes:
        """The encoded image of a record.

        Raises:
          FrameError: it was missing when the dataset was built; the shard is missing or damaged.
          UserError: the process was forked after its parent had read a record.
        """
        _keep_to_this_process(self.root)
        if self._parse is None:
            from relo_jax.data.records import tfds  # takes half a second: not before it is needed

            self._parse = tfds.parser("frames")
        try:
            data = self._parse(self._records[number])["image"]
        except (OSError, RuntimeError, ValueError) as error:
            raise FrameError("missing frame", where, f"its record cannot be read ({error})") from None
        if not data:
            raise FrameError("missing frame", where, "there was no such image when the dataset was built")
        return data


def _records(root: str, name: str, split: str, kind: str):
    """The records of a config, by their number."""
    from array_record.python.array_record_data_source import ArrayRecordDataSource
    from etils import epath

    folder = epath.Path(root) / kind / VERSION
    lengths, _ = listed_splits(folder)[split]
    # With the number of records given, a shard is not opened before it is read.
    paths = [f"{folder / shard_name(name, split, k, len(lengths))}[0:{n}]" for k, n in enumerate(lengths)]
    _allow_open_files(len(paths), folder)
    return ArrayRecordDataSource(paths)


def _keep_to_this_process(root: str) -> None:
    """Refuses what would hang now and then: the ArrayRecord library's threads do not survive a fork.

    Raises:
      UserError: records were read by a process that this one was forked from.
    """
    global _reading_process
    if _reading_process is None:
        _reading_process = os.getpid()
    elif _reading_process != os.getpid():
        raise UserError(f"{root}: was read before this process was forked: start workers by spawn, as Grain does")


def _allow_open_files(count: int, folder) -> None:
    """Raises this process's limit by `count`: a shard stays open once it was read from, and 1,024 is a usual limit.

    Raises:
      UserError: the system does not allow so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and count + _OTHER_FILES > hard:
        raise UserError(
            f"{folder}: {count:,} shards cannot be open at once, the system allows {hard:,} files: raise it "
            "(ulimit -n), or build the dataset with a larger --shard-mib"
        )
    wanted = soft + count if hard == resource.RLIM_INFINITY else min(hard, soft + count)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _fingerprint(folder, split: str) -> str:
    """Of a built split: where it is, what its files say and when they were written, and `INDEX_VERSION`."""
    state = hashlib.blake2b(f"{INDEX_VERSION}\0{folder}\0{split}\0".encode(), digest_size=10)
    for kind in KINDS:
        for name in ("dataset_info.json", "metadata.json"):
            file = folder / kind / VERSION / name
            state.update(file.read_bytes() + str(file.stat().mtime).encode() if file.exists() else b"-")
    plan = plan_note(folder / "sequences" / VERSION, split)  # a digest of all boxes: times are whole seconds
    state.update(plan.read_bytes() if plan.exists() else b"-")
    return state.hexdigest()


def _sequences(records, root: str) -> Iterator[dict]:
    from relo_jax.data.records import tfds

    _keep_to_this_process(root)
    parse = tfds.parser("sequences")
    for start in range(0, len(records), _AT_ONCE):
        for record in records.__getitems__(range(start, min(start + _AT_ONCE, len(records)))):
            yield parse(record)


def _index(source: DatasetLayout, folder, split: str, index: Path, older: str) -> None:
    """Reads all sequence records and keeps them as arrays, in place of those that match `older`."""
    text, boxes, visible, shown, still, first = [], [], [], [], [], []
    records = _records(str(folder), source.name, split, "sequences")
    bar = tqdm(
        _sequences(records, str(folder)), f"indexing {source.title} {split}", len(records), disable=len(records) < 2000
    )
    try:
        for sequence in bar:
            text.append("\0".join((sequence["name"], "", sequence["category"], "")).encode())
            boxes.append(sequence["boxes_xywh"])
            visible.append(sequence["visible"] == VISIBLE)
            shown.append(sequence["visible"] > 0)
            still.append(sequence["still"])
            first.append(sequence["first_frame"])
    except UserError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{folder}: its sequences cannot be read ({error}): build the {split} split again") from None
    said = {kind: _metadata(folder / kind / VERSION / "metadata.json").get(split, {}) for kind in KINDS}
    problems = [Problem(*row) for kind in ("sequences", "frames") for row in said[kind].get("problems", ())]
    save(
        index, older, text, boxes, visible, shown, still, problems,
        said["sequences"].get("left_out", 0), first=np.array(first, np.int64),
    )  # fmt: skip


def _metadata(file) -> dict:
    try:
        return json.loads(file.read_text()) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({error!r}): remove it, and build the dataset again") from None
