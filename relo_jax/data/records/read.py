"""Reads a built dataset: the same sequences as from the folders, one frame at a time.

Boxes and flags are read once from the `sequences` records and kept as an index; a frame is one record of `frames`. A
shard is opened when it is first needed, and threads share it. Worker processes must be spawned, as Grain does, or
forked before anything is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from relo_jax.bars import tqdm
from relo_jax.config.data_options import COCO_SMALLEST_SIDE
from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.index import DEFAULT_CACHE, IndexedDataset
from relo_jax.data.datasets.index_store import INDEX_VERSION, IndexWriter, open_or_build
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Problem
from relo_jax.data.records.examples import KINDS, VERSION, VISIBLE
from relo_jax.errors import UserError, in_one_line
from relo_jax.media.images import FrameError

if TYPE_CHECKING:  # the data extra
    from array_record.python.array_record_data_source import ArrayRecordDataSource
    from etils import epath

_BATCH = 512  # sequence records to read at a time
_OTHER_FILES = 100  # that a process has open besides shards
_reading_process: int | None = None  # the process that read the first record


def config_folder(out: epath.Path, name: str, kind: str) -> epath.Path:
    """The folder of `kind` in a folder of built datasets."""
    return out / name / kind / VERSION


def shard_name(name: str, split: str, number: int, count: int) -> str:
    """The file name of a shard, in TFDS's form."""
    return f"{name}-{split}.array_record-{number:05d}-of-{count:05d}"


def plan_file(folder: epath.Path, split: str) -> epath.Path:
    """The file with the digest of what the shards of a split are made from. TFDS's own builds have none."""
    return folder / f"shards-{split}" / "plan.txt"


def listed_splits(folder: epath.Path) -> dict[str, tuple[list[int], int]]:
    """The finished splits of a config: split -> number of records in each shard, and bytes of all records.

    Raises:
      UserError: dataset_info.json cannot be read.
    """
    info = _read_json(folder / "dataset_info.json") or {"splits": []}
    try:
        return {s["name"]: ([int(n) for n in s["shardLengths"]], int(s["numBytes"])) for s in info["splits"]}
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder / "dataset_info.json", error) from None


def _read_json(file: epath.Path) -> dict:
    """The content of a JSON file; empty if there is no such file. Raises UserError."""
    try:
        return json.loads(file.read_text()) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from None


def _unreadable(file: epath.Path, error: Exception) -> UserError:
    return UserError(f"{file}: cannot be read ({in_one_line(error)}): remove it, and build the dataset again")


def is_built(root: str | Path | None, name: str) -> bool:
    """Whether `root` (local or gs://), or a folder of the dataset's name in it, is a built dataset.

    Raises:
      UserError: `root` is in a bucket that cannot be reached.
    """
    return _find(root, name) is not None if root else False


def _find(root: str | Path, name: str) -> epath.Path | None:
    """The folder with the configs of a built dataset, or None."""
    from etils import epath

    given = epath.Path(root)
    try:
        for folder in (given / name, given):
            if folder.name == name and all((folder / kind / VERSION / "dataset_info.json").exists() for kind in KINDS):
                return folder
    except ImportError as error:
        raise UserError(f"{root}: cannot be reached: {error}: pip install 'relo-jax[cloud]'") from None
    return None


def open_built(
    root: str | Path, name: str, split: str, cache: str | Path = DEFAULT_CACHE, smallest_side: int | None = None
) -> RecordDataset:
    """A split of a built dataset.

    Args:
      root: the dataset's folder, or the folder that `relo data build --out` wrote to; local or gs://.
      cache: folder of indices.
      smallest_side: of "coco", see `relo_jax.data.datasets.layouts.dataset_layout`.

    Raises:
      UserError: the dataset, this split or objects of this size were not built there; a shard is missing or cannot be
        read.
    """
    layout = layouts.dataset_layout(name, smallest_side)
    layout.check_split(split)
    folder = _find(root, name)
    if folder is None:
        raise UserError(f"{root}: no built {layout.title}: relo data build {name} --out {root}")
    splits = {kind: listed_splits(folder / kind / VERSION) for kind in KINDS}
    if not all(split in splits[kind] for kind in KINDS):
        finished = ", ".join(sorted(splits["sequences"])) or "none"
        raise UserError(f"{folder}: has no finished {split} split (it has {finished}): build it with --split {split}")
    _check_smallest_side(layout, folder, split)
    # Two copies of one dataset have an index each; a new index replaces those of its own copy.
    prefix = f"built-{layout.index_name}-{split}-{hashlib.blake2b(str(folder).encode(), digest_size=4).hexdigest()}"
    index = Path(cache) / f"{prefix}-{_fingerprint(folder, split)}"
    return open_or_build(
        index, lambda: RecordDataset(layout, str(folder), split, index),
        lambda: _build_index(layout, folder, split, index, f"{prefix}-*"),
    )  # fmt: skip


def _check_smallest_side(layout: DatasetLayout, folder: epath.Path, split: str) -> None:
    """Raises UserError for a build without some of the small objects that the layout has."""
    wanted = layout.smallest_side
    stored = _read_json(folder / "sequences" / VERSION / "metadata.json").get(split, {})
    built = stored.get("smallest_side", COCO_SMALLEST_SIDE)  # older builds have no note of it
    if wanted is not None and wanted < built:
        raise UserError(
            f"{folder}: its {split} split was built of objects above {built} pixels, and "
            f"config.data.coco_smallest_side={wanted} asks for smaller ones: build it elsewhere with "
            f"relo data build {layout.name} --smallest-side {wanted}, or train with {built}"
        )


class RecordDataset(IndexedDataset):
    """Sequences of a built dataset; `root` is its folder or gs:// path, as text."""

    root: str

    def __init__(self, layout: DatasetLayout, root: str, split: str, folder: Path):
        super().__init__(layout, root, split, folder)
        self._first = np.asarray(np.load(folder / "first.npy"))
        self._records = _open_records(root, layout.name, split, "frames")
        self._parse: Callable[[bytes], dict] | None = None

    def _frame_reader(self, index: int) -> tuple[Callable[[int], str], Callable[[int], bytes]]:
        name, first = self._texts(index)[0], int(self._first[index])
        numbers = range(first, first + int(self._start[index + 1] - self._start[index]))
        where = lambda k: f"{self.root}: frame {int(k)} of {self.split} {name} (record {numbers[int(k)]} of frames)"
        return where, lambda k: self._read_frame(numbers[int(k)], where(k))

    def _read_frame(self, number: int, where: str) -> bytes:
        """The encoded image of a record.

        Raises:
          FrameError: the image was missing when the dataset was built; the shard is missing or damaged.
          UserError: the process was forked after its parent had read a record.
        """
        _refuse_after_fork(self.root)
        if self._parse is None:
            from relo_jax.data.records import tfds  # imports tensorflow_datasets, which takes half a second

            self._parse = tfds.parser("frames")
        try:
            data = self._parse(self._records[number])["image"]
        except (OSError, RuntimeError, ValueError) as error:
            raise FrameError("missing frame", where, f"its record cannot be read ({error})") from None
        if not data:
            raise FrameError("missing frame", where, "the image was missing when the dataset was built")
        return data


def _open_records(root: str, name: str, split: str, kind: str) -> ArrayRecordDataSource:
    """The records of a config, by number."""
    from array_record.python.array_record_data_source import ArrayRecordDataSource
    from etils import epath

    folder = epath.Path(root) / kind / VERSION
    lengths, _ = listed_splits(folder)[split]
    # With the number of records in the path, a shard is opened only when it is read.
    paths = [f"{folder / shard_name(name, split, k, len(lengths))}[0:{n}]" for k, n in enumerate(lengths)]
    _allow_open_files(len(paths), folder)
    return ArrayRecordDataSource(paths)


def _refuse_after_fork(root: Path | str) -> None:
    """Raises UserError in a process that was forked after its parent had read records.

    The ArrayRecord library's threads do not survive a fork, so reading would hang now and then.
    """
    global _reading_process
    if _reading_process is None:
        _reading_process = os.getpid()
    elif _reading_process != os.getpid():
        raise UserError(f"{root}: was read before this process was forked: start workers by spawn, as Grain does")


def _allow_open_files(count: int, folder: epath.Path) -> None:
    """Raises this process's limit of open files by `count`: shards stay open, and the limit is often 1,024.

    Raises:
      UserError: the system does not allow that many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and count + _OTHER_FILES > hard:
        raise UserError(
            f"{folder}: {count:,} shards cannot be open at once, the system allows {hard:,} files: raise it "
            "(ulimit -n), or build the dataset with a larger --shard-mib"
        )
    limit = soft + count if hard == resource.RLIM_INFINITY else min(hard, soft + count)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _fingerprint(folder: epath.Path, split: str) -> str:
    """A digest of a built split: its path, the content and times of its metadata, and `INDEX_VERSION`."""
    state = hashlib.blake2b(f"{INDEX_VERSION}\0{folder}\0{split}\0".encode(), digest_size=10)
    for kind in KINDS:
        for name in ("dataset_info.json", "metadata.json"):
            file = folder / kind / VERSION / name
            state.update(file.read_bytes() + str(file.stat().mtime).encode() if file.exists() else b"-")
    plan = plan_file(folder / "sequences" / VERSION, split)  # a digest of all boxes: times are only whole seconds
    state.update(plan.read_bytes() if plan.exists() else b"-")
    return state.hexdigest()


def _build_index(layout: DatasetLayout, folder: epath.Path, split: str, path: Path, older: str) -> None:
    """Reads all sequence records and writes their index to `path`, in place of those that match `older`."""
    index, first = IndexWriter(), []
    records = _open_records(str(folder), layout.name, split, "sequences")
    title = f"indexing {layout.title} {split}"
    try:
        for values in tqdm(_sequences(records, str(folder)), title, len(records), disable=len(records) < 2000):
            if layout.smallest_side and not (values["boxes_xywh"][:, 2:] > layout.smallest_side).all():
                continue
            first.append(values["first_frame"])
            visible = values["visible"]
            index.add(
                Annotation(
                    values["name"], "", [], values["boxes_xywh"], visible == VISIBLE, values["category"],
                    still=values["still"], shown=visible > 0,
                )
            )  # fmt: skip
    except UserError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{folder}: its sequences cannot be read ({error}): build the {split} split again") from None
    metadata = {kind: _read_json(folder / kind / VERSION / "metadata.json").get(split, {}) for kind in KINDS}
    index.problems = [Problem(*row) for kind in ("sequences", "frames") for row in metadata[kind].get("problems", ())]
    index.left_out = metadata["sequences"].get("left_out", 0)
    index.save(path, older, first=np.array(first, np.int64))


def _sequences(records: ArrayRecordDataSource, root: str) -> Iterator[dict]:
    from relo_jax.data.records import tfds

    _refuse_after_fork(root)
    parse = tfds.parser("sequences")
    for start in range(0, len(records), _BATCH):
        for record in records.__getitems__(range(start, min(start + _BATCH, len(records)))):
            yield parse(record)
