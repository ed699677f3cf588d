"""Through a video in chunks of frames, which the device goes through by itself; see `follow`.

Three things happen at once: a thread reads chunk k + 2, the device tracks chunk k + 1, and the results of chunk k are
handed out. At most two chunks of frames are in memory, however long the video is: the thread reads a frame when one is
handed out. A chunk has C readable frames of one size, fewer where they are large (`CHUNK_BYTES`). One that a change of
size cuts short goes frame by frame.
"""

import collections
import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from relo_jax.media.frames import Unreadable
from relo_jax.tracking.known_results import FrameWarnings, Results
from relo_jax.tracking.options import check_frame
from relo_jax.tracking.tracker import MultiTracker, Tracker

OVER = object()  # in place of a frame where there is none
# Of the frames of a chunk: the longer a frame takes, the less is gained from more of them.
CHUNK_BYTES = 64 * 2**20
Frame = np.ndarray | Unreadable


class _Room:
    """Room for a number of frames, `limit`, which the reading thread waits for."""

    def __init__(self, limit: int):
        self.limit, self.closed = limit, False
        self._taken, self._changed = 0, threading.Condition()

    def take(self) -> bool:
        """Waits for room; False if nobody wants frames any more."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self._taken < self.limit)
            self._taken += 1
        return not self.closed

    def give(self) -> None:
        with self._changed:
            self._taken -= 1
            self._changed.notify()

    def close(self) -> None:
        self.closed = True
        self.give()


def length_for(length: int, shape: tuple[int, ...]) -> int:
    """Frames in a chunk of at most `length` of a shape."""
    return max(1, min(length, CHUNK_BYTES // math.prod(shape)))


@dataclass
class _Chunk:
    """What the reading thread read.

    Attributes:
      items: frames and Unreadable.
      held: the next frame, which has another size.
      error: what reading raised after these frames.
      over: nothing comes after them.
    """

    items: collections.deque[Frame] = field(default_factory=collections.deque)
    held: np.ndarray | None = None
    error: Exception | None = None
    over: bool = False

    @property
    def frames(self) -> list[np.ndarray]:
        return [item for item in self.items if not isinstance(item, Unreadable)]


def in_chunks(
    tracker: Tracker | MultiTracker,
    frames: Iterator[Frame],
    length: int,
    warnings: FrameWarnings,
    shown: np.ndarray,
    results: Results,
) -> Iterator[tuple[np.ndarray, Results]]:
    """As `_one_by_one`, `length` frames at a time, or as many as `length_for` says; another thread reads the frames.

    What reading a frame raises is raised here, after the results of the frames before it.
    """
    last, shape = (shown, results), shown.shape
    count = length_for(length, shape)
    tracker.prepare(shape[0], shape[1], count)

    def hand_out(items: collections.deque[Frame], answers: Iterator[Results]) -> Iterator[tuple[np.ndarray, Results]]:
        nonlocal last
        while items:
            item = items.popleft()
            if isinstance(item, Unreadable):
                yield last[0], warnings.carry(item, last[1])
            else:
                last = (item, next(answers))
                yield last
                room.give()

    room = _Room(2 * count)
    # The room is closed before the thread is waited for.
    with ThreadPoolExecutor(1) as pool, contextlib.closing(room):
        reading: Future | None = pool.submit(_read, frames, room, count, shape)
        under_way = None
        while reading is not None:
            chunk = reading.result()
            before, shape = shape, chunk.held.shape if chunk.held is not None else shape
            count = length_for(length, shape)
            room.limit = 2 * count
            reading = None if chunk.over else pool.submit(_read, frames, room, count, shape, chunk.held)
            answers: Callable[[], Iterator[Results]] = lambda: iter(())
            if chunk.held is None and chunk.frames:
                answers = tracker.update_chunk(chunk.frames, count)
            if under_way is not None:
                yield from hand_out(under_way[0], under_way[1]())
            under_way = (chunk.items, answers) if chunk.held is None else None
            if chunk.held is not None:
                yield from hand_out(chunk.items, map(tracker.update, chunk.frames))
                warnings.fit(before, shape)
                tracker.prepare(shape[0], shape[1], count)
        if under_way is not None:
            yield from hand_out(under_way[0], under_way[1]())
        if chunk.error is not None:
            raise chunk.error


def _read(
    frames: Iterator[Frame], room: _Room, length: int, shape: tuple[int, ...], held: np.ndarray | None = None
) -> _Chunk:
    """The next `length` readable frames of a shape, `held` first; fewer at the end and before another shape."""
    chunk = _Chunk(collections.deque([] if held is None else [held]))
    readable = len(chunk.items)
    try:
        while readable < length:
            frame: Any = next(frames, OVER) if room.take() else OVER
            if frame is OVER:
                chunk.over = True
                break
            if isinstance(frame, Unreadable):
                room.give()
            else:
                check_frame(frame)
                if frame.shape != shape:
                    chunk.held = frame
                    break
                readable += 1
            chunk.items.append(frame)
    except Exception as error:  # whatever the iterator raises goes to whoever asked for frames
        chunk.error, chunk.over = error, True
    return chunk
