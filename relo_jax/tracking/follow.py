"""Through a whole video with a tracker: frame by frame, or in chunks that the device goes through by itself.

`known_results` has what happens where a frame cannot be read or the picture changes its size, `chunks` the chunks,
`journey` what begins in the middle of a film or goes backwards. Frame by frame, a thread reads one frame ahead if they
lie on a disk.
"""

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from relo_jax.errors import UserError
from relo_jax.media.frames import Unreadable
from relo_jax.tracking.chunks import OVER, Frame, in_chunks
from relo_jax.tracking.known_results import FrameWarnings, Results, given, known, without
from relo_jax.tracking.options import check_frame
from relo_jax.tracking.targets import Box
from relo_jax.tracking.tracker import MultiTracker, Tracker

Later = Mapping[int, Sequence[tuple[int, Box]]]  # frames after the first -> targets that begin there, and their boxes


def follow(
    tracker: Tracker | MultiTracker,
    frames: Iterable[Frame],
    box: Box | Sequence[Box],
    chunk: int | None = None,
    ahead: bool = False,
    look: bool = False,
    later: Later | None = None,
) -> Generator[tuple[np.ndarray, Results], None, None]:
    """Goes through an iterable of frames.

    Args:
      tracker: begins anew with the first frame.
      frames: uint8 `[H, W, 3]`, or Unreadable.
      box: as `tracker.init` takes it; of several, those that are not finite belong to targets that begin later.
      chunk: see `track.track`; from the last of the `later` frames on.
      ahead: whether the next frame is read while one is tracked, where chunk is None.
      look: see `track.track`.
      later: how many frames after the first targets begin, for the first time or anew; and with which boxes.

    Yields:
      (frame, what `tracker.update` or `tracker.look` gives) for every frame. The result of a box that was given is that
      box with score 1; before its first box a target has none (`ABSENT`). In place of a frame that cannot be read comes
      the last one that could.

    Raises:
      UserError: see `track.track`; a chunk below 1; a frame with a box cannot be read.
    """
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
        raise UserError(f"chunk is {chunk!r}: give at least 1 frame at a time, or None for frame by frame")
    if look and chunk is not None:
        raise UserError(f"chunk={chunk} gives boxes only: leave it out to look at the policy, which is frame by frame")
    frames = iter(frames)
    for first in itertools.islice(frames, 1):
        if isinstance(first, Unreadable):
            raise UserError(f"{first.message}, but the box belongs to the first frame: let the video begin after it")
        waiting = _init(tracker, first, box)
        shown, results = first, known(tracker, box)
        yield first, results
        warnings = FrameWarnings(tracker)
        ahead, later = ahead and chunk is None, later or {}
        count = max(later, default=0) if chunk is not None else None
        with contextlib.closing(_read_ahead(frames)) if ahead else contextlib.nullcontext(frames) as frames:
            advance = tracker.look if look else tracker.update
            one_by_one = itertools.islice(frames, count)
            for shown, results in _one_by_one(tracker, one_by_one, warnings, first, advance, later, waiting):
                yield shown, results
        if chunk is not None:
            yield from in_chunks(tracker, frames, chunk, warnings, shown, results)


def has_several_boxes(box: Any) -> bool:
    """Whether it is a list of boxes, of any length, rather than one box."""
    return isinstance(box, (list, tuple, np.ndarray)) and len(box) > 0 and np.ndim(box[0]) > 0


def _init(tracker: Tracker | MultiTracker, frame: np.ndarray, box: Box | Sequence[Box]) -> set[int]:
    """Begins. Returns the targets that wait for their first box; until then they follow that of another."""
    if not isinstance(tracker, MultiTracker):
        tracker.init(frame, box)  # type: ignore[arg-type]  # one box
        return set()
    finite = [bool(np.isfinite(np.asarray(one, float)).all()) for one in box]
    stand_in = next((one for one, is_there in zip(box, finite, strict=True) if is_there), None)
    boxes: Any = [one if is_there or stand_in is None else stand_in for one, is_there in zip(box, finite, strict=True)]
    tracker.init(frame, boxes)
    return {index for index, is_there in enumerate(finite) if not is_there}


def _one_by_one(
    tracker: Tracker | MultiTracker,
    frames: Iterator[Frame],
    warnings: FrameWarnings,
    shown: np.ndarray,
    advance: Callable[[np.ndarray], Any],
    later: Later,
    waiting: set[int],
) -> Iterator[tuple[np.ndarray, Results]]:
    for count, frame in enumerate(frames, start=1):
        begins = later.get(count, ())
        if isinstance(frame, Unreadable):
            if begins:
                raise UserError(f"{frame.message}, but a box belongs to it: give the box in a frame near it")
            # Asked of the tracker, since the caller may have begun anew with another box.
            yield shown, without(warnings.carry(frame, known(tracker, tracker.boxes)), waiting)
        else:
            check_frame(frame)
            warnings.fit(shown.shape, frame.shape)
            shown = frame
            yield frame, without(_begin(tracker, frame, advance, begins, waiting), waiting)


def _begin(
    tracker: Tracker | MultiTracker,
    frame: np.ndarray,
    advance: Callable[[np.ndarray], Any],
    begins: Sequence[tuple[int, Box]],
    waiting: set[int],
) -> Results:
    """The results of a frame in which some targets, or none, begin with a given box."""
    if begins and not isinstance(tracker, MultiTracker):
        tracker.init(frame, begins[0][1])
        return given(begins[0][1])
    results = advance(frame)
    for index, box in begins:
        tracker.init_one(index, frame, box)  # type: ignore[union-attr]  # a MultiTracker
        waiting.discard(index)
        results[index] = given(box)
    return results


def _read_ahead(frames: Iterator[Frame]) -> Generator[Frame, None, None]:
    """The same frames; a thread reads the next one while the caller works on one. Errors come after the frames."""
    with ThreadPoolExecutor(1) as pool:
        reading: Future = pool.submit(next, frames, OVER)
        while (frame := reading.result()) is not OVER:
            reading = pool.submit(next, frames, OVER)
            yield frame
