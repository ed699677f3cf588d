"""The examples of a built dataset: one per frame, and one per sequence that refers to its frames.

A frame is the original image file, or a tiled JPEG of the same pixels (`tiled_jpeg`), so it can be read without reading
or decoding a video. Frames that several sequences share (UAV123's folders, the objects of a COCO image) are stored
once. Defects of the folders are kept: a file that does not decode is stored unchanged and a missing one as no bytes,
so a reader fails as it would in the folder. Both are counted and reported.
"""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from relo_jax.data.datasets.frame_names import FrameNames
from relo_jax.data.datasets.index import FolderDataset
from relo_jax.data.datasets.layout import Problem
from relo_jax.data.records import tiled_jpeg
from relo_jax.media import images
from relo_jax.media.images import FrameError, natural_order

VERSION = "1.0.0"  # of the format of a built dataset
KINDS = ("frames", "sequences")  # the two TFDS configs of a built dataset
VISIBLE, SHOWN = 1, 2  # values of "visible": may be trained on; only counted by evaluation. 0: neither
READERS = 16  # threads: the frames come from many files, perhaps on a network disk
_AHEAD = 4 * READERS  # frames to read in advance
_SAMPLED = 4  # frames whose sizes estimate those of a run
_SEQUENCE_BYTES, _ANNOTATION_BYTES = 200, 33  # approximate size of a sequence, and of the annotation of each frame

Item = TypeVar("Item")
Result = TypeVar("Result")


class SplitExamples:
    """All examples of a split, by number: `example("frames", 7)` or `example("sequences", 0)`.

    Frames are ordered in runs. A run is a stretch of frames of one folder, and the frames of a sequence are consecutive
    in one run.

    Args:
      tiles: whether to convert JPEGs to tiled ones.

    Attributes:
      counts: number of examples of each kind.
    """

    def __init__(self, dataset: FolderDataset, tiles: bool = False):
        self.dataset, self.tiles = dataset, tiles
        # Of each run: folder, file names, and who owns its frames: one sequence, or (sequence, frame) of each.
        self._runs: list[tuple[str, FrameNames | list[str], int | np.ndarray]] = []
        self._starts = [0]
        self._first = np.zeros(len(dataset), np.int64)
        by_folder = defaultdict(list)
        for index in range(len(dataset)):
            by_folder[dataset.files(index)[0]].append(index)
        for folder, members in by_folder.items():
            if len(members) == 1 or not self._add_shared_run(folder, members):
                for index in members:
                    self._first[index] = self._starts[-1]
                    self._add_run(folder, dataset.files(index)[1], index)
        self.counts = {"frames": self._starts[-1], "sequences": len(dataset)}

    def _add_run(self, folder: str, names: FrameNames | list[str], owners: int | np.ndarray) -> None:
        self._runs.append((folder, names, owners))
        self._starts.append(self._starts[-1] + len(names))

    def _add_shared_run(self, folder: str, members: list[int]) -> bool:
        """One run for all sequences of a folder; False if one of them skips frames that another has."""
        names_of = {index: list(self.dataset.files(index)[1]) for index in members}
        names = sorted({name for own in names_of.values() for name in own}, key=natural_order)
        position = {name: k for k, name in enumerate(names)}
        owners = np.full((len(names), 2), -1, np.int64)
        for index, own in names_of.items():
            start = position[own[0]]
            if names[start : start + len(own)] != own:
                return False
            new = np.flatnonzero(owners[start : start + len(own), 0] < 0)
            owners[start + new] = np.stack([np.full(len(new), index), new], 1)
            self._first[index] = self._starts[-1] + start
        self._add_run(folder, names, owners)
        return True

    def example(self, kind: str, number: int) -> tuple[dict, Problem | None]:
        """The values of an example, and the problem of its image if there is one."""
        return self._frame(number) if kind == "frames" else (self._sequence(number), None)

    def examples(self, kind: str, numbers: Iterable[int]) -> Iterator[tuple[dict, Problem | None]]:
        """`example` of many numbers, in their order, read by threads."""
        return threaded_map(lambda number: self.example(kind, number), numbers)

    def _frame(self, number: int) -> tuple[dict, Problem | None]:
        run = bisect_right(self._starts, number) - 1
        folder, names, owners = self._runs[run]
        k = number - self._starts[run]
        file = f"{folder}/{names[k]}"
        sequence, frame = owners[k] if isinstance(owners, np.ndarray) else (owners, k)
        data, problem = b"", None
        try:
            data = images.read_bytes(self.dataset.root / file)
            images.decode(data, file, reduce=8)  # finds every error of a full decode, in less time
            data = tiled_jpeg.add_restarts(data) if self.tiles else data
        except FrameError as error:
            problem = Problem(error.reason, file, str(error).partition(": ")[2], fatal=False)
        return {"image": data, "file": file, "sequence": int(sequence), "frame": int(frame)}, problem

    def _sequence(self, number: int) -> dict:
        sequence = self.dataset[number]
        return {
            "name": sequence.name,
            "category": sequence.category or "",
            "boxes_xywh": sequence.boxes_xywh,
            "visible": np.where(sequence.visible, VISIBLE, np.where(sequence.counted, SHOWN, 0)).astype(np.uint8),
            "still": sequence.still,
            "first_frame": int(self._first[number]),
            "frames": len(sequence),
        }

    def shards(self, kind: str, limit: int) -> list[int]:
        """Bounds of shards of about `limit` bytes: the number of the first example of each, and the total.

        Bounds must be known before any image is read, so image sizes are estimated from a few files of each run.
        """
        if kind == "sequences":
            counts = self.dataset.lengths
            sizes, ends = _SEQUENCE_BYTES + _ANNOTATION_BYTES * counts, np.arange(1, len(counts) + 1)
        else:
            sizes = np.array(list(threaded_map(self._run_bytes, range(len(self._runs)))))
            ends = np.array(self._starts[1:])
        total = np.cumsum([0, *sizes], dtype=float)
        targets = np.linspace(0, total[-1], max(1, round(total[-1] / limit)) + 1)
        bounds = np.interp(targets, total, [0, *ends]).round().astype(int)
        return sorted({0, *map(int, bounds), self.counts[kind]})

    def _run_bytes(self, run: int) -> float:
        """Approximate size of the frames of a run, in bytes."""
        folder, names, _ = self._runs[run]
        sample = {int(k) for k in np.linspace(0, len(names) - 1, _SAMPLED)}
        return len(names) * (1 + sum(_size(self.dataset.root / folder / names[k]) for k in sample) / len(sample))


def digest(example: dict) -> bytes:
    """A digest of an example's values, the same for values from the folders and values from a record."""
    state = hashlib.blake2b(digest_size=16)
    for key in sorted(example):
        value = example[key]
        data = value.encode() if isinstance(value, str) else value
        data = data if isinstance(data, bytes) else np.asarray(value).tobytes()
        state.update(f"{key} {len(data)} ".encode())
        state.update(data)
    return state.digest()


def threaded_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int = READERS, ahead: int = _AHEAD,
    on_exit: Callable[[], object] = lambda: None,
) -> Iterator[Result]:  # fmt: skip
    """`map` with threads, in order, with at most `ahead` results in advance.

    Args:
      on_exit: called when no more results are needed, before waiting for the calls that are still running.
    """
    with ThreadPoolExecutor(threads) as pool:
        remaining, pending = iter(items), deque[Future[Result]]()
        try:
            while True:
                pending.extend(
                    pool.submit(function, item) for item in itertools.islice(remaining, ahead - len(pending))
                )
                if not pending:
                    return
                yield pending.popleft().result()
        finally:
            on_exit()
            for future in pending:
                future.cancel()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # reported when the file is read
        return 0
