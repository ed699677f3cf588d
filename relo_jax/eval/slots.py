"""The slots of a batch: which sequence a row is at, what came of it, its time, and how many rows there are.

`lockstep.py` and `exported.py` fill them.
"""

import heapq
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import jax
import numpy as np

from relo_jax.data.sequence import Sequence
from relo_jax.tracking.confidence import EVIDENCE
from relo_jax.tracking.options import check_box, check_frame

_BUSY = 0.8  # share of a batch on a CPU that must be at work; a full batch gains about as much as the rest loses


@dataclass(frozen=True)
class Tracked:
    """A sequence that came to its end, or failed.

    Attributes:
      boxes_xywh: float64 `[F, 4]`, the first as given.
      scores: `[F]`, the first 1.
      seconds: `[F]`, each frame's share of the wall time since the frames before it were done.
      evidence: `[F, 4]`, see `relo_jax.tracking.confidence`; NaN where it was not computed.
      failure: the reason of a failure, None when all went well; the others are None where it failed.
    """

    sequence: Sequence
    boxes_xywh: np.ndarray | None = None
    scores: np.ndarray | None = None
    seconds: np.ndarray | None = None
    evidence: np.ndarray | None = None
    failure: str | None = None


@dataclass(eq=False)
class Slot:
    """A sequence on its way."""

    row: int  # of the batch
    sequence: Sequence
    boxes: np.ndarray  # [F, 4], filled as it goes
    scores: np.ndarray  # [F]
    seconds: np.ndarray  # [F]
    evidence: np.ndarray  # [F, 4]
    sent: int = 1  # frames that the device has, or had
    done: int = 1  # frames that have their box
    size: tuple[int, int] = (1, 1)  # of the first frame
    ahead: list[Future] = field(default_factory=list)  # the next frames, read while the device works
    halts: int = 0  # how often its row halted
    again: bool = False  # whether the next frames are sent again
    failure: str | None = None

    @classmethod
    def of(cls, row: int, sequence: Sequence) -> "Slot":
        """A sequence at its first frame, whose box is given."""
        frames = len(sequence)
        boxes, evidence = np.tile(sequence.boxes_xywh[0], (frames, 1)), np.full((frames, len(EVIDENCE)), np.nan)
        return cls(row, sequence, boxes, np.ones(frames), np.zeros(frames), evidence)

    def first(self) -> tuple[np.ndarray, np.ndarray]:
        """The first frame, uint8 `[H, W, 3]`, and its box, float64 `[4]`. Raises UserError or OSError if one is bad."""
        frame = self.sequence.read_frame(0)
        check_frame(frame)
        return frame, check_box(self.boxes[0], frame)

    def read_crop(self, index: int, box_xywh: np.ndarray, factor: float, size: int) -> tuple[np.ndarray, float]:
        """A crop of frame `index`, as the sequence draws it."""
        assert self.sequence.read_crop is not None
        return self.sequence.read_crop(index, box_xywh, factor, size)

    @property
    def over(self) -> bool:
        return self.failure is not None or self.done == len(self.sequence)

    def fail(self, why: object, index: int) -> None:
        self.failure = f"frame {index}: {why}"

    def tracked(self) -> Tracked:
        if self.failure is not None:
            return Tracked(self.sequence, failure=self.failure)
        return Tracked(self.sequence, self.boxes, self.scores, self.seconds, self.evidence)


class Clock:
    """Wall time, in laps."""

    def __init__(self) -> None:
        self._last = 0.0

    def lap(self) -> float:
        """Seconds since the last call."""
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        return passed

    def leave_out(self, seconds: float) -> None:
        """Counts seconds that passed to no lap."""
        self._last += seconds

    def hand_out(self, ended: list[Slot]) -> Iterator[Tracked]:
        """What came of slots that ended. The time that the caller takes for it is part of no lap."""
        for slot in ended:
            yield slot.tracked()
        if ended:
            self.lap()


def batch_for(sequences: list[Sequence], batch: int) -> int:
    """Rows that a batch should have for these sequences: at most `batch`, and no more than there are sequences.

    A row without a sequence is computed all the same. An accelerator has room for it, a CPU does not: there the batch
    is halved until most rows are at work to the end.
    """
    rows, lengths = min(batch, len(sequences)), sorted(map(len, sequences), reverse=True)
    if jax.local_devices()[0].platform == "cpu":
        while rows > 1 and sum(lengths) < _BUSY * rows * _frames_to_the_end(lengths, rows):
            rows = (rows + 1) // 2
    return rows


def _frames_to_the_end(lengths: list[int], rows: int) -> int:
    """Frames until the last sequence ends, when each takes the row that is free first."""
    ends = [0] * rows
    for length in lengths:
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends)
