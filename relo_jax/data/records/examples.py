"""What a dataset holds once it is built: a record a frame, and a record a sequence that says where its frames are.

A frame is the image file as it is, or a JPEG of the same pixels in tiles (`tiled_jpeg`), so that one is had without
reading or decoding a video. Frames that several sequences share (UAV123's folders, the boxes of a COCO image) are kept
once. What is wrong in the folders is kept too: a file that does not decode is stored as it is, a missing one as no
bytes, and a reader meets the same as in the folder. Both are counted and named.
"""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from relo_jax.data.datasets.index import FolderDataset
from relo_jax.data.datasets.layout import Problem
from relo_jax.data.records import tiled_jpeg
from relo_jax.media import images
from relo_jax.media.images import FrameError, natural_order

KINDS = ("frames", "sequences")  # the two configs of a built dataset
VISIBLE, SHOWN = 1, 2  # of a sequence's "visible": may be trained on; may not, but evaluation counts it (0: neither)
READERS = 16  # threads: the frames come from many files, perhaps on a network disk
_AHEAD = 4 * READERS  # frames read before they are asked for
_SAMPLED = 4  # frames of a run whose sizes stand for all of it
_SEQUENCE_BYTES, _ANNOTATION_BYTES = 200, 33  # about what a sequence takes, and each of its frames


class Records:
    """A split as two lists of examples: `example("frames", number)` and `example("sequences", number)`.

    tiles: whether JPEGs get tiles. counts: how many there are of each. A run is a stretch of frames of one folder; the
    frames of a sequence follow each other in one run.
    """

    def __init__(self, dataset: FolderDataset, tiles: bool = False):
        self.dataset, self.tiles = dataset, tiles
        self._runs: list[tuple] = []  # folder, names of its files, sequence and place there of each (None: one owner)
        self._starts = [0]
        self._first = np.zeros(len(dataset), np.int64)
        by_folder = defaultdict(list)
        for index in range(len(dataset)):
            by_folder[dataset.files(index)[0]].append(index)
        for folder, members in by_folder.items():
            if len(members) == 1 or not self._share(folder, members):
                for index in members:
                    self._first[index] = self._starts[-1]
                    self._add(folder, dataset.files(index)[1], index)
        self.counts = {"frames": self._starts[-1], "sequences": len(dataset)}

    def _add(self, folder: str, names, owners) -> None:
        self._runs.append((folder, names, owners))
        self._starts.append(self._starts[-1] + len(names))

    def _share(self, folder: str, members: list[int]) -> bool:
        """One run for all sequences of a folder; False where one of them skips frames that another has."""
        of_each = {index: list(self.dataset.files(index)[1]) for index in members}
        names = sorted({name for one in of_each.values() for name in one}, key=natural_order)
        place = {name: k for k, name in enumerate(names)}
        owners = np.full((len(names), 2), -1, np.int64)
        for index, own in of_each.items():
            at = place[own[0]]
            if names[at : at + len(own)] != own:
                return False
            new = np.flatnonzero(owners[at : at + len(own), 0] < 0)
            owners[at + new] = np.stack([np.full(len(new), index), new], 1)
            self._first[index] = self._starts[-1] + at
        self._add(folder, names, owners)
        return True

    def example(self, kind: str, number: int) -> tuple[dict, Problem | None]:
        """A record's values, and what is wrong with its image."""
        return self._frame(number) if kind == "frames" else (self._sequence(number), None)

    def examples(self, kind: str, numbers: Iterable[int]) -> Iterator[tuple[dict, Problem | None]]:
        """The same of many numbers, in their order, read by threads."""
        return in_order(lambda number: self.example(kind, number), numbers)

    def _frame(self, number: int) -> tuple[dict, Problem | None]:
        run = bisect_right(self._starts, number) - 1
        folder, names, owners = self._runs[run]
        k = number - self._starts[run]
        file = f"{folder}/{names[k]}"
        sequence, frame = (owners, k) if np.ndim(owners) == 0 else owners[k]
        data, problem = b"", None
        try:
            data = images.read_bytes(self.dataset.root / file)
            images.decode(data, file, reduce=8)  # finds every error that a whole decoding would, sooner
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
        """Bounds of shards of about `limit` bytes: the first numbers of all, and the end.

        The sizes of images are those of a few files a run: the bounds have to be known before anything is read.
        """
        if kind == "sequences":
            counts = self.dataset.lengths
            sizes, ends = _SEQUENCE_BYTES + _ANNOTATION_BYTES * counts, np.arange(1, len(counts) + 1)
        else:
            sizes, ends = np.array(list(in_order(self._bytes, range(len(self._runs))))), np.array(self._starts[1:])
        total = np.cumsum([0, *sizes], dtype=float)
        wanted = np.linspace(0, total[-1], max(1, round(total[-1] / limit)) + 1)
        bounds = np.interp(wanted, total, [0, *ends]).round().astype(int)
        return sorted({0, *map(int, bounds), self.counts[kind]})

    def _bytes(self, run: int) -> float:
        """About how many bytes the frames of a run take."""
        folder, names, _ = self._runs[run]
        picked = {int(k) for k in np.linspace(0, len(names) - 1, _SAMPLED)}
        return len(names) * (1 + sum(_size(self.dataset.root / folder / names[k]) for k in picked) / len(picked))


def digest(example: dict) -> bytes:
    """Of an example's values, whether it was just read from files or came back from a record."""
    state = hashlib.blake2b(digest_size=16)
    for key in sorted(example):
        value = example[key]
        data = value.encode() if isinstance(value, str) else value
        data = data if isinstance(data, bytes) else np.asarray(value).tobytes()
        state.update(f"{key} {len(data)} ".encode())
        state.update(data)
    return state.digest()


def in_order(
    function: Callable, items: Iterable, threads: int = READERS, ahead: int = _AHEAD, given_up=lambda: None
) -> Iterator:
    """`map` by threads that keep no more than `ahead` results waiting.

    given_up: called when no more results are wanted, before those that are being made are waited for.
    """
    with ThreadPoolExecutor(threads) as pool:
        items, waiting = iter(items), deque()
        try:
            while True:
                waiting.extend(pool.submit(function, item) for item in itertools.islice(items, ahead - len(waiting)))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            given_up()
            for one in waiting:
                one.cancel()


def _size(path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # counted when it is to be read
        return 0
