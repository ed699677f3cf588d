"""Calibration: fits the probability that a tracker's box is right to its evidence, and measures how good the fit is.

A frame is *right* if the target is visible and the box overlaps it with an IoU above one half, and *wrong* otherwise. A
score is calibrated if four in five of the frames with a score of 0.8 are right. It is fitted by logistic regression
with weights of at least 0 (relo_jax/tracking/confidence.py): more evidence never lowers the score. `adjust` fits two
numbers only, and is for a few sequences: the scale of all weights, and the bias.

A frame is *lost* if the IoU is below 0.2 or the target is away (hidden or out of view), and *tracked* if it is right.
`found` is to tell these two apart; frames between them, with a box much too large or too small, count for neither. The
*false-alarm rate* of a threshold is the share of the lost frames that count as found; the *found rate* is the same
share of the tracked frames. Both are of `found` as the tracker says it, after several low frames.

The frames of a sequence are right or wrong together, and a score looks better on frames that it was fitted to. So
thresholds are chosen and figures reported by cross-validation: sequences are dealt into `FOLDS` parts (each is a part
of its own if there are few), and each part is scored by a fit to the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from relo_jax.errors import UserError
from relo_jax.eval.frame_evidence import LOST_IOU, RIGHT_IOU, FrameEvidence
from relo_jax.tracking import confidence

BINS = 10  # of the expected calibration error, equally wide
FEWEST = 30  # right frames, and wrong ones, below which nothing is fitted
FOLDS = 5  # parts that the sequences are dealt into
FEW = 10  # sequences that are parts of their own
_RIDGE = 1e-3  # on standardised weights, so that irrelevant evidence gets none


class TooFewFrames(UserError):
    """There are too few frames to fit a score to."""


Fit = Callable[[np.ndarray, np.ndarray], dict[str, float]]  # evidence, right -> `confidence.FIELDS`


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
    return _rounded(_logistic(evidence, right))


def adjust(evidence: np.ndarray, right: np.ndarray, options: dict[str, float]) -> dict[str, float]:
    """The score's weights, all scaled by the same factor, and another bias; for a few sequences.

    Args:
      evidence, right: see `fit`.
      options: the weights to start from, with `confidence.FIELDS`.

    Returns, raises: as `fit`.
    """
    weights = np.array([options[name] for name in confidence.FIELDS])
    bias, scale = _logistic((weights[0] + np.asarray(evidence, np.float64) @ weights[1:])[:, None], right)
    return _rounded([bias + scale * weights[0], *scale * weights[1:]])


def _rounded(numbers):
    return {name: round(float(number), 5) for name, number in zip(confidence.FIELDS, numbers, strict=True)}


def _logistic(x, right):
    """The bias and the weights [K] of `x` [N, K]; the weights are at least 0."""
    x, right = np.asarray(x, np.float64), np.asarray(right, bool)
    if not np.isfinite(x).all():
        raise UserError("the evidence of the score is not finite: use another checkpoint")
    _check_enough(right)
    mean, spread = x.mean(0), np.maximum(x.std(0), 1e-6)
    x, sign = (x - mean) / spread, np.where(right, 1.0, -1.0)

    def loss(weights):
        margin = sign * (weights[0] + x @ weights[1:])
        slope = -sign / (1 + np.exp(np.clip(margin, -500, 500))) / len(x)
        gradient = np.concatenate([[slope.sum()], slope @ x + _RIDGE * weights[1:]])
        return np.logaddexp(0, -margin).mean() + 0.5 * _RIDGE * (weights[1:] ** 2).sum(), gradient

    bounds = [(None, None)] + [(0, None)] * x.shape[1]
    solution = minimize(loss, np.zeros(1 + x.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds)
    weights = solution.x[1:] / spread
    return [solution.x[0] - weights @ mean, *weights]


def fit_with_threshold(
    frames: FrameEvidence, false_alarms: float | None = None, fitting: Fit = fit
) -> dict[str, float]:
    """The options of a score: weights fitted to all frames, and a threshold for new sequences.

    The threshold is chosen on cross-validated scores. The fit to all frames separates its own frames better than new
    ones, so that a threshold chosen on its scores would be too low.

    Args:
      frames: of at least 2 sequences.
      false_alarms: see `threshold_for`.
      fitting: `fit`, or `adjust` with its options.

    Returns:
      `confidence.FIELDS` and "found_threshold".

    Raises:
      UserError: see `fit`, `threshold_for`.
    """
    options, scores = fitting(frames.evidence, frames.right), np.empty(len(frames))
    for part in _parts(frames.sequence):
        used = fitting(frames.evidence[~part], frames.right[~part])
        scores[part] = confidence.probability(frames.evidence[part], used)
    return {**options, "found_threshold": threshold_for(scores, frames.lost, frames.right, false_alarms)}


def cross_validate(
    frames: FrameEvidence, found_frames: int, false_alarms: float | None = None, fitting: Fit = fit
) -> tuple[np.ndarray, np.ndarray]:
    """Applies `fit_with_threshold` to sequences that it has not seen: each part gets the options of the other parts.

    Args:
      frames: of at least 3 sequences.
      found_frames: option of the tracker.
      false_alarms, fitting: see `fit_with_threshold`.

    Returns:
      The scores [N], and whether the target counts as found, bool [N].
    """
    scores, found = np.empty(len(frames)), np.empty(len(frames), bool)
    for part in _parts(frames.sequence):
        options = fit_with_threshold(frames[~part], false_alarms, fitting)
        scores[part], found[part] = apply(frames[part], {**options, "found_frames": found_frames})
    return scores, found


def apply(frames: FrameEvidence, options: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """The scores [N] of a tracker with these options, and whether the target counts as found, bool [N]."""
    scores = np.asarray(confidence.probability(frames.evidence, options), np.float64)
    return scores, frames.levels(scores, int(options["found_frames"])) >= options["found_threshold"]


def threshold_for(scores: np.ndarray, lost: np.ndarray, tracked: np.ndarray, false_alarms: float | None) -> float:
    """The threshold below which a score is low.

    It is chosen frame by frame. How much `found` lags behind the score depends on how long targets stay lost, which
    says nothing about the score.

    Args:
      scores: [N].
      lost, tracked: bool [N].
      false_alarms: the share of the lost frames whose score may reach it, from 0 to 1: the lowest such threshold. None
        balances the errors: the larger of the two shares, of lost frames that reach it and of tracked frames that do
        not, is as small as it can be.

    Returns:
      The threshold in [0, 1], in four digits.

    Raises:
      UserError: the share is not in [0, 1], or no frame is lost.
    """
    if false_alarms is not None and not 0 <= false_alarms <= 1:
        raise UserError(f"the false-alarm rate is {false_alarms:g}: give a share from 0 to 1, such as 0.05")
    scores = np.asarray(scores, np.float64)
    away, there = np.sort(scores[np.asarray(lost, bool)]), np.sort(scores[np.asarray(tracked, bool)])
    if not len(away):
        raise UserError("the target is lost in no frame: there are no false alarms to count")
    if false_alarms is None:
        thresholds = np.arange(10001) / 1e4
        alarms = 1 - np.searchsorted(away, thresholds) / len(away)
        missed = np.searchsorted(there, thresholds) / max(1, len(there))
        worse = np.maximum(alarms, missed)
        return float(np.median(thresholds[worse == worse.min()]).round(4))
    allowed = math.floor(false_alarms * len(away) + 1e-9)  # frames
    if allowed == len(away):
        return 0.0
    # Just above the highest score that must not count as found, but at most 1.
    return min(math.floor(away[::-1][allowed] * 1e4 + 1) / 1e4, 1.0)


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


def figures(scores: np.ndarray, overlap: np.ndarray, found: np.ndarray) -> dict[str, float | None]:
    """The figures of a score.

    Args:
      scores, overlap: [N].
      found: bool [N], whether the target counts as found.

    Returns:
      frames, right and lost (shares), mean_score, ece, brier and auroc (all of right against wrong), auroc_lost (of the
      other frames against lost ones), false_alarm_rate and found_rate. A rate over no frames is None.
    """
    scores, overlap, found = np.asarray(scores, np.float64), np.asarray(overlap), np.asarray(found, bool)
    right, lost = overlap > RIGHT_IOU, overlap < LOST_IOU
    numbers = {
        "frames": len(scores),
        "right": _share(right),
        "lost": _share(lost),
        "mean_score": _share(scores),
        "ece": expected_calibration_error(scores, right),
        "brier": _share((scores - right) ** 2),
        "auroc": auroc(scores, right),
        "auroc_lost": auroc(scores, ~lost),
        "false_alarm_rate": _share(found[lost]),
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
      The bounds, low and high; (0, 1) if there is no frame.
    """
    if not len(statistic):
        return 0.0, 1.0
    _, groups = np.unique(groups, return_inverse=True)
    hits, count = np.bincount(groups, statistic), np.bincount(groups)
    drawn = np.random.default_rng(seed).integers(len(count), size=(samples, len(count)))
    low, high = np.percentile(hits[drawn].sum(1) / count[drawn].sum(1), [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


def folds(sequences: int) -> int:
    """The number of parts of the cross-validation."""
    return sequences if sequences <= FEW else FOLDS


def _parts(sequence):
    """Masks [N] of the parts; whole sequences are dealt into them in turn."""
    numbers, place = np.unique(sequence, return_inverse=True)
    return [place % folds(len(numbers)) == k for k in range(folds(len(numbers)))]


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
