"""What the tracker says of a frame: the box, and where it looked."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from relo_jax.tracking.detections import to_supervision

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True)
class Result:
    """What the tracker says of one frame.

    Attributes:
      box: x, y, w, h in pixels.
      score: in [0, 1]; see `Tracker.calibrated`.
      found: False when the target counts as lost: from the option `found_frames` scores in a row below the option
        `found_threshold` until as many in a row reach it again.
      response: see `StepResult`.
      carried: the frame could not be read (`follow`): the box is the last one, with score 0 and not found.
      frame: uint8 `[H, W, 3]`, RGB, from `relo_jax.track(..., frames=True)`; else None. Over a frame that could not be
        read: the last one that could.
    """

    box: tuple[float, float, float, float]
    score: float
    found: bool
    response: float
    carried: bool = False
    frame: np.ndarray | None = field(default=None, repr=False, compare=False)

    def to_supervision(self) -> "supervision.Detections":
        """As `supervision.Detections` of one box; `relo_jax.to_supervision` takes those of several targets."""
        return to_supervision(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Look(Result):
    """A Result with the policy behind it.

    g x g cells cover the search region, row by row: cell (i, j) begins `j * w / g` pixels right of the region's corner
    and `i * h / g` below it.

    Attributes:
      policy: float32 `[g, g]`, probability of each cell, before the window; sums to 1. Of a model that localises by its
        centre map: that map, scaled to the sum 1.
      value: expected reward, IoU plus AUC, in 0 to 2; None if the checkpoint has no trained value head.
      entropy: of the policy, in nats: 0 if one cell has it all, 2 ln g if all cells are equal.
      window: float32 `[g, g]`, what multiplies the policy's logits before the highest cell is taken.
      region: x, y, w, h of the search region in the frame, pixels; parts may lie outside.
    """

    policy: np.ndarray
    value: float | None
    entropy: float
    window: np.ndarray
    region: tuple[float, float, float, float]
