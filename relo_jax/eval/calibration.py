"""Calibration: fits the probability that a tracker's box is right to its evidence, and measures how good the fit is.

A frame is *right* if the target is visible and the box overlaps it with an IoU above one half, and *wrong* if the
target is away (hidden or out of view) or the box is on something else. A score is calibrated if four in five of the
frames with a score of 0.8 are right. It is fitted by logistic regression with weights of at least 0
(relo_jax/tracking/confidence.py): more evidence never lowers the score.

The frames of a sequence are right or wrong together, and a score looks better on frames that it was fitted to. So
thresholds are chosen and figures reported by cross-validation: sequences are dealt into `FOLDS` parts, and each part is
scored by a fit to the others.

The *false-alarm rate* of a threshold is the share of the wrong frames whose score reaches it; the *found rate* is the
same share of the right frames.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize

from relo_jax.errors import UserError
from relo_jax.geometry.boxes import iou_xywh
from relo_jax.tracking import confidence

RIGHT_IOU = 0.5  # strictly above
BINS = 10  # of the expected calibration error, equally wide
FEWEST = 30  # right frames, and wrong ones, below which nothing is fitted
FOLDS = 5  # parts that the sequences are dealt into, or one for each sequence if there are fewer
_RIDGE = 1e-3  # on standardised weights, so that irrelevant evidence gets none


class TooFewFrames(UserError):
    """There are too few frames to fit a score to."""


def is_right(boxes_xywh: np.ndarray, truth_xywh: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Which boxes are right, bool [F].

    Args:
      boxes_xywh, truth_xywh: [F, 4], pixels; the target is away if the truth is NaN or has no area.
      visible: bool [F], False where the target is away.
    """
    truth = np.asarray(truth_xywh, np.float64)
    with np.errstate(invalid="ignore"):
        there = np.asarray(visible, bool) & (truth[:, 2:] > 0).all(1) & np.isfinite(truth).all(1)
    right = np.zeros(len(truth), bool)
    right[there] = iou_xywh(np.asarray(boxes_xywh, np.float64)[there], truth[there]) > RIGHT_IOU
    return right


def fit(evidence: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """The score's weights, by logistic regression with weights of at least 0; all frames have the same weight.

    Args:
      evidence: [N, 4], see `confidence.EVIDENCE`.
      right: bool [N].

    Returns:
      `confidence.FIELDS`, rounded for the config.

    Raises:
      UserError: the evidence is not finite.
      TooFewFrames: fewer than 30 right frames, or wrong ones.
    """
    evidence, right = np.asarray(evidence, np.float64), np.asarray(right, bool)
    if not np.isfinite(evidence).all():
        raise UserError("the evidence of the score is not finite: use another checkpoint")
    _check_enough(right)
    mean, spread = evidence.mean(0), np.maximum(evidence.std(0), 1e-6)
    x, sign = (evidence - mean) / spread, np.where(right, 1.0, -1.0)

    def loss(weights):
        margin = sign * (weights[0] + x @ weights[1:])
        slope = -sign / (1 + np.exp(np.clip(margin, -500, 500))) / len(x)
        gradient = np.concatenate([[slope.sum()], slope @ x + _RIDGE * weights[1:]])
        return np.logaddexp(0, -margin).mean() + 0.5 * _RIDGE * (weights[1:] ** 2).sum(), gradient

    bounds = [(None, None)] + [(0, None)] * evidence.shape[1]
    solution = minimize(loss, np.zeros(1 + evidence.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds)
    weights = solution.x[1:] / spread
    numbers = [solution.x[0] - weights @ mean, *weights]
    return {name: round(float(number), 5) for name, number in zip(confidence.FIELDS, numbers, strict=True)}


def fit_with_threshold(
    evidence: np.ndarray, right: np.ndarray, sequence: np.ndarray, false_alarms: float
) -> dict[str, float]:
    """The options of a score: weights fitted to all frames, and a threshold for a false-alarm rate on new sequences.

    The threshold is chosen on cross-validated scores. The fit to all frames separates its own frames better than new
    ones, so that a threshold chosen on its scores would be too low.

    Args:
      evidence: [N, 4].
      right: bool [N].
      sequence: [N], the number of each frame's sequence; at least 2 sequences.
      false_alarms: see `threshold_for`.

    Returns:
      `confidence.FIELDS` and "found_threshold".

    Raises:
      UserError: see `fit`, `threshold_for`.
    """
    options, scores = fit(evidence, right), np.empty(len(right))
    for part in _parts(sequence):
        scores[part] = confidence.probability(evidence[part], fit(evidence[~part], right[~part]))
    return {**options, "found_threshold": threshold_for(scores, right, false_alarms)}


def cross_validate(
    evidence: np.ndarray, right: np.ndarray, sequence: np.ndarray, false_alarms: float
) -> tuple[np.ndarray, np.ndarray]:
    """Applies `fit_with_threshold` to sequences that it has not seen: each part gets the options of the other parts.

    Args: as `fit_with_threshold`, with at least 3 sequences.

    Returns:
      The scores [N], and whether they reach the threshold, bool [N].
    """
    scores, found = np.empty(len(right)), np.empty(len(right), bool)
    for part in _parts(sequence):
        options = fit_with_threshold(evidence[~part], right[~part], sequence[~part], false_alarms)
        scores[part] = confidence.probability(evidence[part], options)
        found[part] = scores[part] >= options["found_threshold"]
    return scores, found


def threshold_for(scores: np.ndarray, right: np.ndarray, false_alarms: float) -> float:
    """The lowest threshold that at most a share `false_alarms` of the wrong frames reaches.

    Args:
      scores: [N].
      right: bool [N].
      false_alarms: from 0 to 1.

    Returns:
      The threshold in [0, 1], rounded up to four digits.

    Raises:
      UserError: the share is not in [0, 1], or no frame is wrong.
    """
    if not 0 <= false_alarms <= 1:
        raise UserError(f"the false-alarm rate is {false_alarms:g}: give a share from 0 to 1, such as 0.05")
    wrong = np.sort(np.asarray(scores, np.float64)[~np.asarray(right, bool)])[::-1]
    if not len(wrong):
        raise UserError("the box is right in every frame: there are no false alarms to count")
    allowed = math.floor(false_alarms * len(wrong) + 1e-9)  # frames
    if allowed == len(wrong):
        return 0.0
    # Just above the highest score that must not count as found, but at most 1.
    return min(math.floor(wrong[allowed] * 1e4 + 1) / 1e4, 1.0)


def expected_calibration_error(scores: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """The mean over frames of |mean score - share of right frames| in the frame's bin."""
    return float(sum(share * abs(mean - hits) for share, mean, hits in filled_bins(scores, right, bins)))


def filled_bins(scores: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[tuple[float, float, float]]:
    """(share of all frames, mean score, share of right frames) of every bin that has frames."""
    scores, right = np.asarray(scores, np.float64), np.asarray(right, bool)
    place = np.minimum((scores * bins).astype(int), bins - 1)
    chosen = [place == k for k in range(bins)]
    return [(c.mean(), scores[c].mean(), right[c].mean()) for c in chosen if c.any()]


def auroc(scores: np.ndarray, right: np.ndarray) -> float:
    """The probability that a right frame scores higher than a wrong one (ties: half); NaN unless there are both."""
    scores, right = np.asarray(scores), np.asarray(right, bool)
    positive, negative = right.sum(), (~right).sum()
    if not positive or not negative:
        return math.nan
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # from 1; ties share their mean rank
    return float((rank[right].sum() - positive * (positive + 1) / 2) / (positive * negative))


def figures(scores: np.ndarray, right: np.ndarray, found: np.ndarray) -> dict[str, float | None]:
    """The figures of a score.

    Args:
      scores: [N].
      right: bool [N].
      found: bool [N], whether the score reaches the threshold.

    Returns:
      frames, right (a share), ece, brier, auroc, false_alarm_rate and found_rate. A rate over no frames is None.
    """
    scores, right, found = np.asarray(scores, np.float64), np.asarray(right, bool), np.asarray(found, bool)
    numbers = {
        "frames": len(scores),
        "right": _share(right),
        "ece": expected_calibration_error(scores, right),
        "brier": _share((scores - right) ** 2),
        "auroc": auroc(scores, right),
        "false_alarm_rate": _share(found[~right]),
        "found_rate": _share(found[right]),
    }
    return {k: None if v is None or math.isnan(v) else round(v, 4) for k, v in numbers.items()}


def interval(statistic: np.ndarray, groups: np.ndarray, samples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of a share of frames, resampling whole sequences.

    Args:
      statistic: bool [N], the frames that are counted.
      groups: [N], the number of each frame's sequence.
      samples: number of resamples.
      seed: of the bootstrap.

    Returns:
      The bounds, low and high.
    """
    _, groups = np.unique(groups, return_inverse=True)
    hits, count = np.bincount(groups, statistic), np.bincount(groups)
    drawn = np.random.default_rng(seed).integers(len(count), size=(samples, len(count)))
    low, high = np.percentile(hits[drawn].sum(1) / count[drawn].sum(1), [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


def _parts(sequence):
    """Masks [N] of the parts; whole sequences are dealt into them in turn."""
    numbers, place = np.unique(sequence, return_inverse=True)
    folds = min(FOLDS, len(numbers))
    return [place % folds == k for k in range(folds)]


def _share(values):
    return float(np.mean(values)) if len(values) else None


def _check_enough(right):
    fewest = int(min(right.sum(), (~right).sum()))
    if fewest < FEWEST:
        raise TooFewFrames(
            f"{int(right.sum())} frames whose box is right and {int((~right).sum())} whose box is wrong: each fit of "
            f"the cross-validation needs at least {FEWEST} of each. Give more sequences, or some in which the target "
            "gets lost"
        )
