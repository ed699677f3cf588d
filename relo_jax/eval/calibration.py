"""Calibration: what turns a tracker's evidence into the probability that its box is right, and how honest that is.

A frame is *right* when the target is there and the box overlaps it with an IoU above one half; it is *not right* when
the target is away (hidden, or out of view) or the box is on something else. A score is calibrated when, of the frames
that it gives 0.8, four in five are right. It is fitted by logistic regression with weights that may not be negative
(relo_jax/tracking/confidence.py), because a score that fell where the evidence rises could not be explained to anybody.

Frames of one sequence are right or wrong together, and a score looks better on those that it was fitted to. So nothing
here is chosen, and nothing reported, by a score that a frame's own sequence had a part in: sequences are dealt into
`FOLDS` parts, and each part is scored by a fit to the others.

The *false-alarm rate* of a threshold is the share of the frames that are not right whose score reaches it all the
same; the *found rate* is that share of those that are right.
"""

import math

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.optimize import minimize

from relo_jax.errors import UserError
from relo_jax.eval.report import plots
from relo_jax.geometry.boxes import iou_xywh
from relo_jax.tracking import confidence

RIGHT_IOU = 0.5  # strictly above
BINS = 10  # of the expected calibration error, equally wide
FEWEST = 30  # frames of either kind that anything can be fitted to
FOLDS = 5  # parts that sequences are dealt into; one each where there are fewer sequences
_RIDGE = 1e-3  # on standardised weights, so that evidence of which nothing depends has none


class TooFewFrames(UserError):
    """There is too little to fit a score to."""


def is_right(boxes_xywh, truth_xywh, visible):
    """Which boxes are right.

    Args:
      boxes_xywh, truth_xywh: `[F, 4]`, pixels; a truth without area, or NaN, is a target that is away.
      visible: bool `[F]`, False where the target is away.

    Returns:
      bool `[F]`.
    """
    truth = np.asarray(truth_xywh, np.float64)
    with np.errstate(invalid="ignore"):
        there = np.asarray(visible, bool) & (truth[:, 2:] > 0).all(1) & np.isfinite(truth).all(1)
    right = np.zeros(len(truth), bool)
    right[there] = iou_xywh(np.asarray(boxes_xywh, np.float64)[there], truth[there]) > RIGHT_IOU
    return right


def fit(evidence, right):
    """The score's weights: logistic regression with weights from 0 up, each frame counting the same.

    Args:
      evidence: `[N, 4]`, see `score.EVIDENCE`.
      right: bool `[N]`.

    Returns:
      dict of `score.FIELDS`, rounded to what a config shows.

    Raises:
      UserError: evidence that is not finite, or (TooFewFrames) too few frames that are right, or that are not.
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
    found = minimize(loss, np.zeros(1 + evidence.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds)
    weights = found.x[1:] / spread
    numbers = [found.x[0] - weights @ mean, *weights]
    return {name: round(float(number), 5) for name, number in zip(confidence.FIELDS, numbers, strict=True)}


def fit_with_threshold(evidence, right, sequence, false_alarms):
    """The options of a score: weights fitted to all frames, and a threshold for a false-alarm rate on new sequences.

    The threshold is chosen on scores by fits to the other parts of the sequences. On scores by the fit to all, which
    separates its own frames better than new ones, it would be too low.

    Args:
      evidence: `[N, 4]`; right: bool `[N]`.
      sequence: `[N]`, the sequence of each frame; at least 2 sequences.
      false_alarms: see `threshold_for`.

    Returns:
      dict of `score.FIELDS` and "found_threshold".

    Raises:
      UserError: see `fit`, `threshold_for`.
    """
    options, scores = fit(evidence, right), np.empty(len(right))
    for part in _parts(sequence):
        scores[part] = confidence.probability(evidence[part], fit(evidence[~part], right[~part]))
    return {**options, "found_threshold": threshold_for(scores, right, false_alarms)}


def cross_validate(evidence, right, sequence, false_alarms):
    """What `fit_with_threshold` is worth on sequences that it has not seen: every part is tried with options of the other parts.

    Args:
      As of `fit_with_threshold`; at least 3 sequences.

    Returns:
      (scores `[N]`, found: bool `[N]`).
    """
    scores, found = np.empty(len(right)), np.empty(len(right), bool)
    for part in _parts(sequence):
        options = fit_with_threshold(evidence[~part], right[~part], sequence[~part], false_alarms)
        scores[part] = confidence.probability(evidence[part], options)
        found[part] = scores[part] >= options["found_threshold"]
    return scores, found


def threshold_for(scores, right, false_alarms):
    """The lowest threshold that at most a share `false_alarms` of the frames that are not right reaches.

    Args:
      scores: `[N]`.
      right: bool `[N]`.
      false_alarms: from 0 to 1.

    Returns:
      float in [0, 1], rounded up to four digits.

    Raises:
      UserError: the share is none, or none of the frames is not right.
    """
    if not 0 <= false_alarms <= 1:
        raise UserError(f"the false-alarm rate is {false_alarms:g}: give a share from 0 to 1, such as 0.05")
    wrong = np.sort(np.asarray(scores, np.float64)[~np.asarray(right, bool)])[::-1]
    if not len(wrong):
        raise UserError("no frame in which the target is away or the box is wrong: false alarms cannot be counted")
    allowed = math.floor(false_alarms * len(wrong) + 1e-9)  # frames
    if allowed == len(wrong):
        return 0.0
    # Just above the highest score that may not be called found; one that is 1 leaves no threshold above it.
    return min(math.floor(wrong[allowed] * 1e4 + 1) / 1e4, 1.0)


def expected_calibration_error(scores, right, bins=BINS):
    """How far scores are from shares: the mean over frames of |mean score - share right| of the frame's bin."""
    return float(sum(share * abs(mean - hits) for share, mean, hits in _bins(scores, right, bins)))


def auroc(scores, right):
    """Probability that a frame that is right scores higher than one that is not (ties: half); NaN without both."""
    scores, right = np.asarray(scores), np.asarray(right, bool)
    positive, negative = right.sum(), (~right).sum()
    if not positive or not negative:
        return math.nan
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # from 1, the mean one among equals
    return float((rank[right].sum() - positive * (positive + 1) / 2) / (positive * negative))


def figures(scores, right, found):
    """What there is to say of a score.

    Args:
      scores: `[N]`; right: bool `[N]`; found: bool `[N]`, the frames whose score reaches the threshold.

    Returns:
      dict: frames, right (share), ece, brier, auroc, false_alarm_rate, found_rate. A rate of no frames is None.
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


def interval(statistic, groups, samples=1000, seed=0):
    """A 95 % bootstrap interval of a share over frames that come in sequences: whole sequences are drawn.

    Args:
      statistic: bool `[N]`, what the share is of.
      groups: `[N]`, the sequence of each frame.

    Returns:
      (low, high).
    """
    _, groups = np.unique(groups, return_inverse=True)
    hits, count = np.bincount(groups, statistic), np.bincount(groups)
    drawn = np.random.default_rng(seed).integers(len(count), size=(samples, len(count)))
    low, high = np.percentile(hits[drawn].sum(1) / count[drawn].sum(1), [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


def reliability_plot(target, trackers):
    """The reliability diagram: of the frames with such a score, how many are right; below, how many frames those are.

    Args:
      target: file to write (by its suffix), or a binary file object (PNG).
      trackers: dict of label -> (scores `[N]` in [0, 1], right bool `[N]`).

    Raises:
      UserError: cannot be written.
    """
    with rc_context(plots.STYLE):
        figure = Figure(figsize=(5.4, 5.6), dpi=150, layout="constrained")
        axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, zorder=2)
        for k, (label, (scores, right)) in enumerate(trackers.items()):
            shares, means, hits = np.array(_bins(scores, right, BINS)).reshape(-1, 3).T
            style = {"color": plots.COLOURS[k % len(plots.COLOURS)], "zorder": 3 + k}
            error = expected_calibration_error(scores, right)
            axes.plot(means, hits, "o-", label=f"{label}  {error:.3f}", markersize=5, linewidth=2, **style)
            edges = np.linspace(0, 1, BINS + 1)
            counts.stairs(np.histogram(scores, edges)[0] / max(1, len(scores)), edges, linewidth=1.8, **style)
        axes.set(title="Reliability", ylabel="share of frames right", xlim=(0, 1), ylim=(0, 1.02))
        counts.set(xlabel="score", ylabel="frames", xlim=(0, 1))
        figure.legend(*axes.get_legend_handles_labels(), title="expected calibration error",
                      loc="outside lower center", alignment="left")  # fmt: skip
        plots.save(figure, target)


def _parts(sequence):
    """Masks [N] of the parts that whole sequences are dealt into, in turn."""
    numbers, place = np.unique(sequence, return_inverse=True)
    folds = min(FOLDS, len(numbers))
    return [place % folds == k for k in range(folds)]


def _bins(scores, right, bins):
    """(share of the frames, mean score, share right) of every bin that has frames."""
    scores, right = np.asarray(scores, np.float64), np.asarray(right, bool)
    place = np.minimum((scores * bins).astype(int), bins - 1)
    chosen = [place == k for k in range(bins)]
    return [(c.mean(), scores[c].mean(), right[c].mean()) for c in chosen if c.any()]


def _share(values):
    return float(np.mean(values)) if len(values) else None


def _check_enough(right):
    fewest = int(min(right.sum(), (~right).sum()))
    if fewest < FEWEST:
        raise TooFewFrames(
            f"{int(right.sum())} frames whose box is right and {int((~right).sum())} whose box is not: to fit a score "
            f"takes at least {FEWEST} of each, also without the sequences that it is tried on. Give more sequences, or "
            "some in which the target gets lost"
        )
