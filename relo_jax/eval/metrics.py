"""How well boxes follow the truth: success, precision, normalised precision (the released system, "Evaluation").

One-pass evaluation as the field does it (OTB, LaSOT): the tracker gets the first frame's box and is never restarted.
A curve is a share of *all* frames of a sequence; several sequences are averaged curve by curve, each with the same
weight however long it is. What a frame without a target counts for differs between benchmarks, see `RULES`.

GOT-10k has numbers of its own (`got10k_overlaps`): those of its toolkit, over all frames of all sequences at once.
"""

from dataclasses import astuple, dataclass

import numpy as np

from relo_jax.errors import UserError
from relo_jax.geometry import boxes

SUCCESS_THRESHOLDS = np.arange(21) * 0.05  # IoU, strictly above
PRECISION_THRESHOLDS = np.arange(51.0)  # pixels between the centres, at most
NORM_PRECISION_THRESHOLDS = np.arange(51) / 100  # the same over the truth's width and height
_AT_20 = 20  # index of 20 px, and of 0.20


@dataclass(frozen=True)
class Rules:
    """What frames without a target count for; for success they are failures everywhere.

    visible: whether frames that the benchmark flags as occluded or out of view are such frames, beside those whose
    truth has no area. precise, norm_precise: whether they are right, for precision and for normalised precision.
    """

    visible: bool = False
    precise: bool = False
    norm_precise: bool = True


# As the tools have it that published numbers come from (pytracking and all that was made from it): their branches for
# single benchmarks, odd as some are, are part of those numbers.
RULES = {
    "plain": Rules(),
    "lasot": Rules(visible=True, norm_precise=False),
    "lasot_ext": Rules(visible=True),
    "uav123": Rules(precise=True),
}


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


def measure(predicted_xywh, truth_xywh, visible=None, rules=None):
    """The curves of one sequence.

    A prediction without area counts as the one before it, as the field's tools have it.

    Args:
      predicted_xywh: `[F, 4]`, pixels. The first is replaced by the truth: it was given.
      truth_xywh: `[F, 4]`, pixels; NaN or no area where there is no target.
      visible: bool `[F]`, False where a flag says that the target is fully occluded or out of view, whatever its box;
        only some rules look at it.
      rules: a name of `RULES`; None is "lasot" where `visible` is given, else "plain".

    Returns:
      Curves.

    Raises:
      UserError: predictions and truth differ in number, or a prediction is not finite or of negative size.
    """
    predicted, truth = _checked(predicted_xywh, truth_xywh)
    rules = RULES[rules or ("plain" if visible is None else "lasot")]
    for k in np.flatnonzero((predicted[:, 2:] == 0).any(1) & ~np.isnan(truth).any(1)):
        predicted[k] = predicted[max(k - 1, 0)]
    predicted[0] = truth[0]
    with np.errstate(invalid="ignore"):  # NaN is not above 0
        valid = (truth[:, 2:] > 0).all(1)
    shown = np.asarray(visible, bool) if rules.visible and visible is not None else np.ones(len(truth), bool)
    # A distance of -1 is below every threshold. LaSOT's exception is for its flags, not for boxes without area.
    norm_missing = np.where(rules.norm_precise | shown, -1.0, np.inf)
    valid &= shown
    overlap, distance = np.full(len(truth), -1.0), np.full(len(truth), -1.0 if rules.precise else np.inf)
    norm_distance = norm_missing
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


def got10k_overlaps(predicted_xywh, truth_xywh, size=None, visible=None):
    """The overlaps of one sequence that GOT-10k's toolkit counts: not the first frame, not those without a target.

    Args:
      predicted_xywh, truth_xywh: `[F, 4]`, pixels.
      size: (width, height) of the frames; both boxes are cut off at their borders. None cuts nothing.
      visible: bool `[F]`, False where the target is covered altogether. The toolkit looks at nothing else: a target
        marked as absent, and a box without area, count where they are not covered. None: all whose truth has an area.

    Returns:
      float64 `[N]`, N at most F - 1.

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
    return boxes.iou_xywh(predicted, truth)


def got10k_numbers(overlaps):
    """AO, SR0.5 and SR0.75 of GOT-10k: mean overlap, and shares of frames above 0.5 and 0.75.

    Args:
      overlaps: arrays of `got10k_overlaps`, one a sequence. All their frames together have one weight each, so that a
        long sequence counts more; for the numbers of one sequence, give its alone.

    Returns:
      dict of ao, sr50, sr75; NaN where no frame counts.
    """
    overlaps = np.concatenate([np.zeros(0), *overlaps])
    if not len(overlaps):
        return dict.fromkeys(("ao", "sr50", "sr75"), float("nan"))
    ao, sr50, sr75 = overlaps.mean(), (overlaps > 0.5).mean(), (overlaps > 0.75).mean()
    return {"ao": float(ao), "sr50": float(sr50), "sr75": float(sr75)}


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


def _checked(predicted_xywh, truth_xywh):
    """Both as float64 `[F, 4]`, copies. Raises UserError as `measure`."""
    predicted, truth = (np.array(b, np.float64).reshape(-1, 4) for b in (predicted_xywh, truth_xywh))
    if len(predicted) != len(truth) or not len(truth):
        raise UserError(f"{len(predicted)} predicted boxes for {len(truth)} frames: both must hold one a frame")
    bad = ~np.isfinite(predicted).all(1) | (predicted[:, 2:] < 0).any(1)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise UserError(f"predicted box {first} is {predicted[first].tolist()}: not finite, or of negative size")
    return predicted, truth


def _inside(box_xywh, size):
    """The parts of boxes that lie in an image of (width, height), in the arithmetic of GOT-10k's toolkit: a corner
    outside is moved to the border, and the box keeps its size there."""
    corner = np.clip(box_xywh[:, :2], 0, size)
    return np.concatenate([corner, np.clip(box_xywh[:, 2:], 0, np.subtract(size, corner))], 1)
