"""How well boxes follow the truth: success, precision, normalised precision (the released system, "Evaluation").

One-pass evaluation as the field does it (OTB, LaSOT): the tracker gets the first frame's box and is never restarted.
A curve is a share of *all* frames of a sequence; several sequences are averaged curve by curve, each with the same
weight however long it is. Frames whose truth has no area (target absent) can be counted in two ways, see `measure`.
"""

from dataclasses import astuple, dataclass

import numpy as np

from relo_jax import boxes
from relo_jax.errors import UserError

SUCCESS_THRESHOLDS = np.arange(21) * 0.05  # IoU, strictly above
PRECISION_THRESHOLDS = np.arange(51.0)  # pixels between the centres, at most
NORM_PRECISION_THRESHOLDS = np.arange(51) / 100  # the same over the truth's width and height
_AT_20 = 20  # index of 20 px, and of 0.20


@dataclass(frozen=True)
class Curves:
    """What is measured on one sequence, or the mean over several. Everything is in [0, 1].

    success: [21], at `SUCCESS_THRESHOLDS`. precision, norm_precision: [51]. average_overlap: mean IoU of the frames
    that have a truth, NaN when there is none.
    """

    success: np.ndarray
    precision: np.ndarray
    norm_precision: np.ndarray
    average_overlap: float

    @property
    def auc(self):
        """Area under the success curve: the mean of its 21 values."""
        return float(self.success.mean())

    @property
    def p20(self):
        """Precision at 20 pixels."""
        return float(self.precision[_AT_20])

    @property
    def np20(self):
        """Normalised precision at 0.20."""
        return float(self.norm_precision[_AT_20])

    def numbers(self):
        """The four numbers of a table's row: dict of auc, p20, np20, ao."""
        return {"auc": self.auc, "p20": self.p20, "np20": self.np20, "ao": float(self.average_overlap)}


def measure(predicted_xywh, truth_xywh, visible=None):
    """The curves of one sequence.

    A frame whose truth has no area or is NaN is a failure, whatever was predicted; only for normalised precision do the
    field's tools count it as a success, and so does this. With `visible` LaSOT's rules hold instead: a frame that is
    not visible is a failure everywhere.

    Args:
      predicted_xywh: `[F, 4]`, pixels. The first is replaced by the truth: it was given.
      truth_xywh: `[F, 4]`, pixels.
      visible: bool `[F]`, False where the target is fully occluded or out of view; None for the plain rules.

    Returns:
      Curves.

    Raises:
      UserError: predictions and truth differ in number, or a prediction is not finite or of negative size.
    """
    predicted, truth = (np.array(b, np.float64).reshape(-1, 4) for b in (predicted_xywh, truth_xywh))
    if len(predicted) != len(truth) or not len(truth):
        raise UserError(f"{len(predicted)} predicted boxes for {len(truth)} frames: both must hold one a frame")
    bad = ~np.isfinite(predicted).all(1) | (predicted[:, 2:] < 0).any(1)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise UserError(f"predicted box {first} is {predicted[first].tolist()}: not finite, or of negative size")
    predicted[0] = truth[0]
    with np.errstate(invalid="ignore"):  # NaN is not above 0
        valid = (truth[:, 2:] > 0).all(1)
    missing = np.where(valid, 0.0, -1.0)  # of normalised precision: below every threshold
    if visible is not None:
        visible = np.asarray(visible, bool)
        valid, missing = valid & visible, np.where(visible, missing, np.inf)
    overlap, distance, norm_distance = np.full(len(truth), -1.0), np.full(len(truth), np.inf), missing
    overlap[valid] = boxes.iou_xywh(predicted[valid], truth[valid])
    offset = _center(predicted[valid]) - _center(truth[valid])
    distance[valid] = np.linalg.norm(offset, axis=1)
    norm_distance[valid] = np.linalg.norm(offset / truth[valid, 2:], axis=1)
    return Curves(
        success=(overlap[:, None] > SUCCESS_THRESHOLDS).mean(0),
        precision=(distance[:, None] <= PRECISION_THRESHOLDS).mean(0),
        norm_precision=(norm_distance[:, None] <= NORM_PRECISION_THRESHOLDS).mean(0),
        average_overlap=float(overlap[valid].mean()) if valid.any() else float("nan"),
    )


def mean(curves):
    """The mean over sequences, each with the same weight.

    Args:
      curves: Curves of one sequence each, at least one.

    Returns:
      Curves. Sequences without any truth do not count for average overlap.
    """
    success, precision, norm_precision, overlap = zip(*map(astuple, curves), strict=True)
    known = [o for o in overlap if not np.isnan(o)]
    return Curves(
        np.mean(success, axis=0),
        np.mean(precision, axis=0),
        np.mean(norm_precision, axis=0),
        float(np.mean(known)) if known else float("nan"),
    )


def never_moves(sequence):
    """The baseline that every tracker must beat: the first frame's box, in all frames. float64 `[F, 4]`."""
    return np.tile(np.asarray(sequence.boxes_xywh[0], np.float64), (len(sequence), 1))


def _center(box_xywh):
    # Of pixels 0 .. w - 1, as the field's tools have it. A distance cannot tell: both centres move by the same half.
    return box_xywh[:, :2] + 0.5 * (box_xywh[:, 2:] - 1)
