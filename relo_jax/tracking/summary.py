"""What `relo track` says at the end about the scores: their mean, and the frames in which they were low."""

import math
from collections.abc import Sequence

from relo_jax.tracking.result import Result

_SPELLS = 3  # that are named


class Scores:
    """The scores of K targets over a video, in constant memory however long it is.

        seen = Scores(threshold)
        seen.add(results)   # of each frame, in order
        seen.summary()      # "mean score 0.77, low in 12 of 150 frames (31-42)"

    Args:
      threshold: option `found_threshold`; a lower score is low.
      first: number of the first frame in the video.
    """

    def __init__(self, threshold: float, first: int = 0):
        self._threshold, self._next = threshold, first
        self._targets: list[_Target] = []

    def add(self, results: Sequence[Result]) -> None:
        """One more frame of all targets; one that has not begun yet has no box, and no score."""
        if not self._targets:
            self._targets = [_Target() for _ in results]
        for target, result in zip(self._targets, results, strict=True):
            if not math.isfinite(result.box[0]):
                continue
            target.total, target.count = target.total + result.score, target.count + 1
            target.low.add(self._next, result.score < self._threshold)
            target.lost.add(self._next, not result.found)
        self._next += 1

    def summary(self) -> str:
        """The mean score of each target over its frames, and where it was low or the target lost; frames from 0."""
        texts = [target.summary() for target in self._targets]
        if len(texts) == 1:
            return texts[0]
        return ", ".join(f"target {number}: {text}" for number, text in enumerate(texts, start=1))


class _Target:
    def __init__(self) -> None:
        self.total, self.count, self.low, self.lost = 0.0, 0, _Frames(), _Frames()

    def summary(self) -> str:
        low = f"low in {self.low.count} of {self.count} frames{self.low}" if self.low.count else "never low"
        lost = f", lost in {self.lost.count}{self.lost}" if self.lost.count else ""
        return f"mean score {self.total / max(self.count, 1):.2f}, {low}{lost}"


class _Frames:
    """A set of frames: their number, and the first spells of them."""

    def __init__(self) -> None:
        self.count, self._more, self._last = 0, False, -2
        self._spells: list[list[int]] = []  # first and last frame

    def add(self, frame: int, belongs: bool) -> None:
        if not belongs:
            return
        self.count += 1
        if self._last != frame - 1 and len(self._spells) == _SPELLS:
            self._more = True
        elif self._last != frame - 1:
            self._spells.append([frame, frame])
        elif not self._more:
            self._spells[-1][1] = frame
        self._last = frame

    def __str__(self) -> str:
        """ " (31-42, 50)"."""
        spells = [f"{first}-{last}" if last > first else f"{first}" for first, last in self._spells]
        return f" ({', '.join([*spells, *(['...'] if self._more else [])])})"
