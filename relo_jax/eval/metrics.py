"""How well boxes follow the ground truth: success, precision and normalised precision, as the release counts them.

One-pass evaluation (OTB, LaSOT): the tracker gets the first frame's box and is never restarted. A curve is a share of
*all* frames of a sequence; the mean over sequences is taken curve by curve, with equal weights whatever their length.
Benchmarks differ in how they count a frame without a target, see `RULES`.

GOT-10k has its own numbers (`got10k_overlaps`), those of its toolkit, over all frames of all sequences at once.

Published numbers are those of whole-number boxes: pytracking and its descendants, the release among them, truncate
boxes when they write result files, and measure the files. `whole_numbers` gives those boxes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import ArrayLike

from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.geometry import boxes

SUCCESS_THRESHOLDS = np.arange(21) * 0.05  # IoU, strictly above
PRECISION_THRESHOLDS = np.arange(51.0)  # pixels between the centres, at most
NORM_PRECISION_THRESHOLDS = np.arange(51) / 100  # the same, relative to the true width and height
_AT_20 = 20  # index of 20 px, and of 0.20
# The numbers of tables and their headings. The last two are GOT-10k's.
HEADINGS = {"auc": "AUC", "p20": "P20", "np20": "NP20", "ao": "AO", "sr50": "SR0.5", "sr75": "SR0.75"}
NEVER_MOVES = "box that never moves"  # the baseline's name in tables and plots
# What was measured, in tables and plots.
FLOAT_BOXES, WHOLE_NUMBER_BOXES = "float boxes", "whole-number boxes"


@dataclass(frozen=True)
class Rules:
    """How frames without a target count. They are always failures in the success curve.

    visible: whether frames flagged as occluded or out of view are such frames, besides those whose truth has no area.
    precise, norm_precise: whether they count as right in precision and in normalised precision.
    """

    visible: bool = False
    precise: bool = False
    norm_precise: bool = True


# Published numbers come from pytracking and the tools derived from it. Their special cases for single benchmarks,
# however odd, are part of those numbers.
RULES = {
    "plain": Rules(),
    "lasot": Rules(visible=True, norm_precise=False),
    "lasot_ext": Rules(visible=True),
    "uav123": Rules(precise=True),
}


@dataclass(frozen=True)
class Curves:
    """The curves of one sequence, or their mean over several; all values are in [0, 1].

    success: [21], at `SUCCESS_THRESHOLDS`. precision, norm_precision: [51], at their thresholds. average_overlap: mean
    IoU of the frames that have a truth, NaN if none has.
    """

    success: np.ndarray
    precision: np.ndarray
    norm_precision: np.ndarray
    average_overlap: float

    @property
    def auc(self) -> float:
        """Area under the success curve: the mean of its 21 values."""
        return float(self.success.mean())

    @property
    def p20(self) -> float:
        """Precision at 20 pixels."""
        return float(self.precision[_AT_20])

    @property
    def np20(self) -> float:
        """Normalised precision at 0.20."""
        return float(self.norm_precision[_AT_20])

    def numbers(self) -> dict[str, float]:
        """The numbers of a row in a table: auc, p20, np20, ao."""
        return {"auc": self.auc, "p20": self.p20, "np20": self.np20, "ao": float(self.average_overlap)}


def whole_numbers(box_xywh: ArrayLike) -> np.ndarray:
    """Boxes as the release's result files have them: x, y, width and height truncated towards zero.

    A width below 1 pixel becomes 0. `measure` then counts the box before it, as the release does.

    Args:
      box_xywh: [F, 4], pixels.

    Returns:
      float64 [F, 4].
    """
    return np.trunc(np.asarray(box_xywh, np.float64)) + 0.0  # no -0.0


def measure(
    predicted_xywh: ArrayLike, truth_xywh: ArrayLike, visible: ArrayLike | None = None, rules: str | None = None
) -> Curves:
    """Measures the boxes of one sequence.

    A prediction without area is replaced by the previous one, as in pytracking.

    Args:
      predicted_xywh: [F, 4], pixels. The first box was given and is replaced by the truth.
      truth_xywh: [F, 4], pixels; NaN or no area where there is no target.
      visible: bool [F], False where a flag says that the target is fully occluded or out of view, whatever its box;
        only some rules use it.
      rules: a name of `RULES`; None is "lasot" if `visible` is given, else "plain".

    Raises:
      UserError: predictions and truth differ in number, or a prediction is not finite or has a negative size.
    """
    predicted, truth = _checked(predicted_xywh, truth_xywh)
    chosen = RULES[rules or ("plain" if visible is None else "lasot")]
    for k in np.flatnonzero((predicted[:, 2:] == 0).any(1) & ~np.isnan(truth).any(1)):
        predicted[k] = predicted[max(k - 1, 0)]
    predicted[0] = truth[0]
    with np.errstate(invalid="ignore"):  # NaN is not above 0
        valid = (truth[:, 2:] > 0).all(1)
    shown = np.asarray(visible, bool) if chosen.visible and visible is not None else np.ones(len(truth), bool)
    # A distance of -1 is within every threshold. LaSOT's exception concerns its flags, not boxes without area.
    norm_missing = np.where(chosen.norm_precise | shown, -1.0, np.inf)
    valid &= shown
    overlap, distance = np.full(len(truth), -1.0), np.full(len(truth), -1.0 if chosen.precise else np.inf)
    norm_distance = norm_missing
    overlap[valid] = _overlap(predicted[valid], truth[valid])
    offset = _center(predicted[valid]) - _center(truth[valid])
    distance[valid] = np.linalg.norm(offset, axis=1)
    norm_distance[valid] = np.linalg.norm(offset / truth[valid, 2:], axis=1)
    return Curves(
        success=(overlap[:, None] > SUCCESS_THRESHOLDS).mean(0),
        precision=(distance[:, None] <= PRECISION_THRESHOLDS).mean(0),
        norm_precision=(norm_distance[:, None] <= NORM_PRECISION_THRESHOLDS).mean(0),
        average_overlap=float(overlap[valid].mean()) if valid.any() else float("nan"),
    )


def got10k_overlaps(
    predicted_xywh: ArrayLike,
    truth_xywh: ArrayLike,
    size: tuple[int, int] | None = None,
    visible: ArrayLike | None = None,
) -> np.ndarray:
    """The overlaps of one sequence that GOT-10k's toolkit counts, without the first frame and frames without a target.

    Args:
      predicted_xywh, truth_xywh: [F, 4], pixels.
      size: (width, height) of the frames; both boxes are cut off at the borders. None cuts nothing.
      visible: bool [F], False where the target is fully covered. The toolkit uses this flag only: if not covered, a
        target that is marked as absent, or whose box has no area, counts. None: frames whose truth has an area.

    Returns:
      float64 [N], N at most F - 1.

    Raises:
      UserError: as `measure`.
    """
    predicted, truth = _checked(predicted_xywh, truth_xywh)
    with np.errstate(invalid="ignore"):
        counts = (truth[:, 2:] > 0).all(1) if visible is None else np.asarray(visible, bool) & ~np.isnan(truth).any(1)
    counts = np.flatnonzero(counts[1:]) + 1
    predicted, truth = predicted[counts], truth[counts]
    if size is not None:
        predicted, truth = (_inside(b, size) for b in (predicted, truth))
    return np.asarray(boxes.iou_xywh(predicted, truth))


def got10k_numbers(overlaps: Iterable[np.ndarray]) -> dict[str, float]:
    """GOT-10k's AO, SR0.5 and SR0.75: the mean overlap, and the shares of frames above 0.5 and 0.75.

    Args:
      overlaps: of `got10k_overlaps`, one array for each sequence. All frames have the same weight, so that a long
        sequence counts more.

    Returns:
      ao, sr50 and sr75; NaN if no frame counts.
    """
    overlaps = np.concatenate([np.zeros(0), *overlaps])
    if not len(overlaps):
        return dict.fromkeys(("ao", "sr50", "sr75"), float("nan"))
    ao, sr50, sr75 = overlaps.mean(), (overlaps > 0.5).mean(), (overlaps > 0.75).mean()
    return {"ao": float(ao), "sr50": float(sr50), "sr75": float(sr75)}


def mean(curves: Iterable[Curves]) -> Curves:
    """The mean over at least one sequence, with equal weights.

    Sequences without any truth do not count for average overlap.
    """
    success, precision, norm_precision, overlap = zip(*map(astuple, curves), strict=True)
    known = [o for o in overlap if not np.isnan(o)]
    return Curves(
        np.mean(success, axis=0),
        np.mean(precision, axis=0),
        np.mean(norm_precision, axis=0),
        float(np.mean(known)) if known else float("nan"),
    )


def never_moves(sequence: Sequence) -> np.ndarray:
    """The baseline that every tracker must beat: the first frame's box in all frames, float64 [F, 4]."""
    return np.tile(np.asarray(sequence.boxes_xywh[0], np.float64), (len(sequence), 1))


def _overlap(predicted_xywh, truth_xywh):
    """IoU by pytracking's arithmetic, from each box's last pixel: the rounding decides in a frame whose box is exactly
    the truth, such as the first one, whether its IoU exceeds the last threshold, 1."""
    low = np.maximum(predicted_xywh[:, :2], truth_xywh[:, :2])
    last = [box[:, :2] + box[:, 2:] - 1 for box in (predicted_xywh, truth_xywh)]
    common = np.maximum(np.minimum(*last) - low + 1, 0).prod(1)
    return common / (predicted_xywh[:, 2:].prod(1) + truth_xywh[:, 2:].prod(1) - common)


def _center(box_xywh):
    # Of pixels 0 .. w - 1, as in pytracking. Distances do not change: both centres move by the same half pixel.
    return box_xywh[:, :2] + 0.5 * (box_xywh[:, 2:] - 1)


def _checked(predicted_xywh, truth_xywh):
    """Both as float64 [F, 4], copies. Raises UserError as `measure`."""
    predicted, truth = (np.array(b, np.float64).reshape(-1, 4) for b in (predicted_xywh, truth_xywh))
    if len(predicted) != len(truth) or not len(truth):
        raise UserError(f"{len(predicted)} predicted boxes for {len(truth)} frames: give one for each frame")
    bad = ~np.isfinite(predicted).all(1) | (predicted[:, 2:] < 0).any(1)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise UserError(f"predicted box {first} is {predicted[first].tolist()}: not finite, or negative size")
    return predicted, truth


def _inside(box_xywh, size):
    """The parts of boxes inside an image of (width, height), by the arithmetic of GOT-10k's toolkit: a corner outside
    is moved to the border, and the box keeps its size there."""
    corner = np.clip(box_xywh[:, :2], 0, size)
    return np.concatenate([corner, np.clip(box_xywh[:, 2:], 0, np.subtract(size, corner))], 1)
