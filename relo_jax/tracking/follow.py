"""Through a whole video with a tracker: frame by frame, or in chunks that the device goes through by itself.

A frame that cannot be read has a result too: the box is carried over it, not found, so that there are as many results
as frames. Where the picture changes its size, the box is scaled with it if the shape is the same (a stream that went
to another resolution), and stays where it is in pixels otherwise. A line says so, the first time.

In chunks, three things happen at once: a thread reads chunk k + 2, the device tracks chunk k + 1, and the results of
chunk k are handed out. At most two chunks of frames are in memory, however long the video is: the thread reads a frame
when one is handed out. A chunk has C readable frames of one size. One that a change of size cuts short goes frame by
frame. Frame by frame, a thread reads one frame ahead if they lie on a disk.
"""

import collections
import contextlib
import dataclasses
import itertools
import math
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from relo_jax.errors import UserError
from relo_jax.media import video
from relo_jax.media.frames import Unreadable, warn
from relo_jax.tracking.options import check_frame
from relo_jax.tracking.targets import Box, Result
from relo_jax.tracking.tracker import MultiTracker, Tracker, open_tracker

_OVER = object()  # in place of a frame where there is none
SAME_SHAPE = 0.01  # relative difference of width / height up to which it is the same picture, scaled
Results = Result | list[Result]  # of one target, or of K
Frame = np.ndarray | Unreadable


def track(
    source: str | Path | int | Iterable[np.ndarray],
    box: Box | Sequence[Box],
    checkpoint: str | Path = "starter",
    chunk: int | None = None,
    look: bool = False,
    **options,
) -> Iterator[Result | list[Result]]:
    """Tracks through a video; only the frames in flight are in memory.

        for result in relo_jax.track("in.mp4", box=(x, y, w, h)):
            print(result.box, result.score)

    Args:
      source: video file, folder of frames, camera index, address of a stream (`rtsp://...`), or any iterable of uint8
        RGB frames.
      box: x, y, w, h of the target in the first frame; or a list of K boxes, for as many targets.
      checkpoint: see `Tracker.from_pretrained`.
      chunk: frames that the device gets at a time. It does not wait for the host between them: more frames a second,
        each of them later. None is frame by frame. The boxes are the same.
      look: whether results are Looks, which have the policy over the search region too (`Tracker.look`). The first
        frame's and those of unreadable frames have none. Frame by frame only.
      **options: see `Tracker.from_pretrained`.

    Yields:
      a Result a frame (a list of K for a list of K boxes); the first frame's is the given box with score 1. A frame
      that cannot be read has one too, see `Result.carried`.

    Raises:
      UserError: see `video.open_frames` and `Tracker`; results of the frames before the bad one come first.
    """
    with video.open_frames(source) as frames:
        tracker = open_tracker(checkpoint, len(box) if has_several_boxes(box) else None, **options)
        followed = follow(tracker, frames, box, None if frames.live else chunk, frames.stored, look)
        with contextlib.closing(followed):
            for _, result in followed:
                yield result


def follow(
    tracker: Tracker | MultiTracker,
    frames: Iterable[Frame],
    box: Box | Sequence[Box],
    chunk: int | None = None,
    ahead: bool = False,
    look: bool = False,
) -> Generator[tuple[np.ndarray, Results], None, None]:
    """Goes through an iterable of frames.

    Args:
      tracker: begins anew with the first frame.
      frames: uint8 `[H, W, 3]`, or Unreadable.
      box: as `tracker.init` takes it.
      chunk: see `track`.
      ahead: whether the next frame is read while one is tracked, where chunk is None.
      look: see `track`.

    Yields:
      (frame, what `tracker.update` or `tracker.look` gives) for every frame. The first frame's result is the given box
      with score 1. In place of a frame that cannot be read comes the last one that could.

    Raises:
      UserError: see `track`; a chunk below 1; the first frame cannot be read.
    """
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
        raise UserError(f"chunk is {chunk!r}: give at least 1 frame at a time, or None for frame by frame")
    if look and chunk is not None:
        raise UserError(f"chunk={chunk} gives boxes only: leave it out to look at the policy, which is frame by frame")
    frames = iter(frames)
    for first in itertools.islice(frames, 1):
        if isinstance(first, Unreadable):
            raise UserError(f"{first.message}, but the box belongs to the first frame: let the video begin after it")
        tracker.init(first, box)  # type: ignore[arg-type]  # one box or several, as the tracker has it
        results = _known(tracker, box)
        yield first, results
        warnings = FrameWarnings(tracker)
        if chunk is None:
            with contextlib.closing(_read_ahead(frames)) if ahead else contextlib.nullcontext(frames) as frames:
                yield from _one_by_one(tracker, frames, warnings, first, tracker.look if look else tracker.update)
        else:
            tracker.prepare(first.shape[0], first.shape[1], chunk)
            yield from _in_chunks(tracker, frames, chunk, warnings, first, results)


def has_several_boxes(box: Any) -> bool:
    """Whether it is a list of boxes, of any length, rather than one box."""
    return isinstance(box, (list, tuple, np.ndarray)) and len(box) > 0 and np.ndim(box[0]) > 0


class FrameWarnings:
    """Handles frames that differ from those before, and warns of each kind once."""

    def __init__(self, tracker: Tracker | MultiTracker):
        self._tracker = tracker
        self._warned: set[str] = set()

    def fit(self, before: tuple[int, ...], now: tuple[int, ...]) -> None:
        """Before a frame of shape `now` is tracked: scales the boxes if the last frame had another size."""
        (old_height, old_width), (height, width) = before[:2], now[:2]
        if (height, width) == (old_height, old_width):
            return
        across, down = width / old_width, height / old_height
        is_scaled = abs(across / down - 1) <= SAME_SHAPE
        if is_scaled:
            self._tracker.rescale(across, down)
        what = "the box is scaled with it" if is_scaled else "the box stays where it is, in pixels"
        self._warn("size", f"the picture is {width} x {height} pixels after {old_width} x {old_height}: {what}")

    def carry(self, unreadable: Unreadable, results: Results) -> Results:
        """The results for a frame that cannot be read: those before it, not found."""
        self._warn("unreadable", f"{unreadable.message}: the last box is carried over it")
        if isinstance(results, list):
            return [_carried(result) for result in results]
        return _carried(results)

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            warn(text)
        self._warned.add(kind)


def _carried(result: Result) -> Result:
    return dataclasses.replace(result, score=0.0, found=False, response=math.nan, carried=True)


def _known(tracker: Tracker | MultiTracker, boxes: Box | Sequence[Box] | np.ndarray) -> Results:
    """What `tracker.update` would give for boxes that are known."""
    rows = np.asarray(boxes, float).reshape(-1, 4).tolist()
    results = [Result((x, y, w, h), 1.0, True, math.nan) for x, y, w, h in rows]
    return results if isinstance(tracker, MultiTracker) else results[0]


def _one_by_one(
    tracker: Tracker | MultiTracker,
    frames: Iterator[Frame],
    warnings: FrameWarnings,
    shown: np.ndarray,
    advance: Callable[[np.ndarray], Any],
) -> Iterator[tuple[np.ndarray, Results]]:
    for frame in frames:
        if isinstance(frame, Unreadable):
            # Asked of the tracker, since the caller may have begun anew with another box.
            yield shown, warnings.carry(frame, _known(tracker, tracker.boxes))
        else:
            check_frame(frame)
            warnings.fit(shown.shape, frame.shape)
            shown = frame
            yield frame, advance(frame)


def _read_ahead(frames: Iterator[Frame]) -> Generator[Frame, None, None]:
    """The same frames; a thread reads the next one while the caller works on one. Errors come after the frames."""
    with ThreadPoolExecutor(1) as pool:
        reading: Future = pool.submit(next, frames, _OVER)
        while (frame := reading.result()) is not _OVER:
            reading = pool.submit(next, frames, _OVER)
            yield frame


class _Room:
    """Room for a number of frames, which the reading thread waits for."""

    def __init__(self, count: int):
        self._free, self.closed = threading.Semaphore(count), False

    def take(self) -> bool:
        """Waits for room; False if nobody wants frames any more."""
        self._free.acquire()
        return not self.closed

    def give(self) -> None:
        self._free.release()

    def close(self) -> None:
        self.closed = True
        self.give()


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


def _in_chunks(
    tracker: Tracker | MultiTracker,
    frames: Iterator[Frame],
    length: int,
    warnings: FrameWarnings,
    shown: np.ndarray,
    results: Results,
) -> Iterator[tuple[np.ndarray, Results]]:
    """As `_one_by_one`, `length` frames at a time; another thread reads the frames.

    What reading a frame raises is raised here, after the results of the frames before it.
    """
    last, shape = (shown, results), shown.shape

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

    room = _Room(2 * length)
    # The room is closed before the thread is waited for.
    with ThreadPoolExecutor(1) as pool, contextlib.closing(room):
        reading: Future | None = pool.submit(_read, frames, room, length, shape)
        under_way = None
        while reading is not None:
            chunk = reading.result()
            before, shape = shape, chunk.held.shape if chunk.held is not None else shape
            reading = None if chunk.over else pool.submit(_read, frames, room, length, shape, chunk.held)
            answers: Callable[[], Iterator[Results]] = lambda: iter(())
            if chunk.held is None and chunk.frames:
                answers = tracker.update_chunk(chunk.frames, length)
            if under_way is not None:
                yield from hand_out(under_way[0], under_way[1]())
            under_way = (chunk.items, answers) if chunk.held is None else None
            if chunk.held is not None:
                yield from hand_out(chunk.items, map(tracker.update, chunk.frames))
                warnings.fit(before, shape)
                tracker.prepare(shape[0], shape[1], length)
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
            frame: Any = next(frames, _OVER) if room.take() else _OVER
            if frame is _OVER:
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
