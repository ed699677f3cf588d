"""Through a whole video with a tracker, whatever the video does.

A frame that cannot be read has a result too: the box is carried over it, not found, so that there are as many results
as frames. When the picture changes its size, the box is scaled with it where the shape is the same (a stream that went
to another resolution), and stays where it is in pixels otherwise. Both are told, the first time.
"""

import dataclasses
import itertools
import math

import numpy as np

from relo_jax.errors import UserError
from relo_jax.media.frames import Unreadable, warn
from relo_jax.tracking.chunks import in_chunks
from relo_jax.tracking.multi import MultiTracker
from relo_jax.tracking.options import check_frame
from relo_jax.tracking.targets import Result

SAME_SHAPE = 0.01  # relative difference of width / height up to which it is the same picture, scaled


def follow(tracker, frames, box, chunk=None):
    """Goes through an iterable of frames.

    Args:
      tracker: `Tracker` or `MultiTracker`.
      frames: iterable of uint8 `[H, W, 3]`, or Unreadable.
      box: as its `init` takes it.
      chunk: see `relo_jax.track`.

    Yields:
      (frame, what `update` gives) for every frame, the last readable one in place of one that is not; the first
      frame's is the given box with score 1.

    Raises:
      UserError: see `relo_jax.track`; a chunk below 1; the first frame cannot be read.
    """
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
        raise UserError(f"chunk is {chunk!r}: give at least 1 frame at a time, or None for frame by frame")
    frames = iter(frames)
    for first in itertools.islice(frames, 1):
        if isinstance(first, Unreadable):
            raise UserError(f"{first.why}, and the box is given in the first frame: let the video begin behind it")
        tracker.init(first, box)
        results = _given(tracker, box)
        yield first, results
        oddities = FrameWarnings(tracker)
        if chunk is not None:
            tracker.prepare(*first.shape[:2], chunk)
            yield from in_chunks(tracker, frames, chunk, oddities, first, results)
        else:
            yield from _one_by_one(tracker, frames, oddities, first)


def _one_by_one(tracker, frames, oddities, shown):
    for frame in frames:
        if isinstance(frame, Unreadable):
            # From the tracker: who follows may have begun anew with another box since.
            yield shown, oddities.carry(frame, _given(tracker, tracker.boxes))
        else:
            check_frame(frame)
            oddities.fit(shown.shape, frame.shape)
            shown = frame
            yield frame, tracker.update(frame)


def _given(tracker, boxes):
    """What `update` would give for boxes that are known."""
    results = [Result(tuple(map(float, box)), 1.0, True, math.nan) for box in np.reshape(boxes, (-1, 4))]
    return results if isinstance(tracker, MultiTracker) else results[0]


def are_several(box):
    """Whether it is K boxes, and not one."""
    return isinstance(box, (list, tuple, np.ndarray)) and len(box) > 0 and np.ndim(box[0]) > 0


class FrameWarnings:
    """What is done about frames that are not like those before, and who was told."""

    def __init__(self, tracker):
        self._tracker, self._told = tracker, set()

    def fit(self, before, now):
        """Before a frame of shape `now` is tracked: scales the boxes when the last one's was another."""
        (old_height, old_width), (height, width) = before[:2], now[:2]
        if (height, width) == (old_height, old_width):
            return
        across, down = width / old_width, height / old_height
        scaled = abs(across / down - 1) <= SAME_SHAPE
        if scaled:
            self._tracker.rescale(across, down)
        what = "the box is scaled with it" if scaled else "the box stays where it is, in pixels"
        self._tell("size", f"the picture is {width} x {height} pixels after {old_width} x {old_height}: {what}")

    def carry(self, unreadable, results):
        """What there is of a frame that cannot be read: the results before it, not found."""
        self._tell("unreadable", f"{unreadable.why}: the last box is carried over it")
        if isinstance(results, list):
            return [_carried(result) for result in results]
        return _carried(results)

    def _tell(self, kind, text):
        if kind not in self._told:
            warn(text)
        self._told.add(kind)


def _carried(result):
    return dataclasses.replace(result, score=0.0, found=False, response=math.nan, carried=True)
