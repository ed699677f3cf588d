"""The slots of `lockstep.py`: which sequence a row of the batch is at, what came of it, and how many rows there are."""

import heapq
from concurrent.futures import Future
from dataclasses import dataclass, field

import jax
import numpy as np

from relo_jax.data.sequence import Sequence
from relo_jax.tracking.confidence import EVIDENCE

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
