"""Results that do not come from the network: of boxes that somebody gave, and of frames that cannot be read.

A frame that cannot be read has a result too: the box is carried over it, not found, so that there are as many results
as frames. Where the picture changes its size, the box is scaled with it if the shape is the same (a stream that went
to another resolution), and stays where it is in pixels otherwise. A line says so, the first time.
"""

import dataclasses
import math
from collections.abc import Collection, Sequence

import numpy as np

from relo_jax.media.frames import Unreadable, warn
from relo_jax.tracking.targets import Box, Result
from relo_jax.tracking.tracker import MultiTracker, Tracker

SAME_SHAPE = 0.01  # relative difference of width / height up to which it is the same picture, scaled
ABSENT = Result((math.nan,) * 4, 0.0, False, math.nan)  # of a target before its first box
Results = Result | list[Result]  # of one target, or of K


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
            return [carried(result) for result in results]
        return carried(results)

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            warn(text)
        self._warned.add(kind)


def carried(result: Result) -> Result:
    """The Result over a frame that cannot be read."""
    return dataclasses.replace(result, score=0.0, found=False, response=math.nan, carried=True)


def given(box: Box) -> Result:
    """The Result of a box that somebody gave; ABSENT for one that is not finite."""
    x, y, w, h = (float(value) for value in box)
    return Result((x, y, w, h), 1.0, True, math.nan) if math.isfinite(x + y + w + h) else ABSENT


def without(results: Results, waiting: Collection[int]) -> Results:
    """The results, ABSENT for targets that wait for their first box."""
    if not waiting or not isinstance(results, list):
        return results
    return [ABSENT if index in waiting else result for index, result in enumerate(results)]


def known(tracker: Tracker | MultiTracker, boxes: Box | Sequence[Box] | np.ndarray) -> Results:
    """What `tracker.update` would give for boxes that are known."""
    results = [given(box) for box in np.asarray(boxes, float).reshape(-1, 4).tolist()]
    return results if isinstance(tracker, MultiTracker) else results[0]
