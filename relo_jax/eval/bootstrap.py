"""How sure a difference between trackers is: a paired bootstrap over sequences (Efron 1979).

A benchmark's sequences are a sample of all that could have been filmed. Drawing as many of them again, with
replacement, many times over, says how far the means, and their differences, would move with another sample. Both
trackers are measured on the same draw, so that a sequence which is hard for both moves the difference little.
"""

from dataclasses import dataclass

import numpy as np

_AT_A_TIME = 500  # resamples drawn at once


@dataclass(frozen=True)
class Interval:
    """A difference of two means and the interval that holds 95 % (or another level) of the resampled ones."""

    difference: float
    low: float
    high: float

    @property
    def excludes_zero(self):
        """Whether all of the interval lies on one side of no difference."""
        return self.low > 0 or self.high < 0


def draw(count, resamples=10_000, seed=0):
    """How often each sequence is in each resample, float64 `[R, N]`: every row sums to N. For all pairs the same."""
    rng, even, drawn = np.random.default_rng(seed), np.full(count, 1 / count), np.empty((resamples, count))
    for start in range(0, resamples, _AT_A_TIME):
        part = drawn[start : start + _AT_A_TIME]
        part[:] = rng.multinomial(count, even, len(part))
    return drawn


def paired_interval(first, second, drawn, weights=None, level=0.95):
    """The difference of two trackers' means, first minus second, with its interval.

    Args:
      first, second: `[N]`, a number of each sequence; one that is NaN for either is left out.
      drawn: `[R, N]` of `draw`.
      weights: `[N]`, what a sequence counts for; None for one each.
      level: share of the resamples that the interval holds.

    Returns:
      Interval; `[0, 0]` for trackers that do the same everywhere, NaN where nothing can be compared.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    known = np.isfinite(difference)
    weights = np.where(known, 1.0 if weights is None else weights, 0.0)
    if not weights.any():
        return Interval(np.nan, np.nan, np.nan)
    weighted = np.where(known, difference, 0) * weights
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may have no sequence that counts
        means = (drawn @ weighted) / (drawn @ weights)
    return Interval(float(weighted.sum() / weights.sum()), *_middle(means, level))


def crossed_interval(values, drawn_runs, drawn_sequences, level=0.95):
    """A mean over runs (trainings with other seeds) and sequences, with its interval; both are drawn again.

    Args:
      values: `[S, N]`, one number of each run on each sequence; of two trackers, the differences.
      drawn_runs, drawn_sequences: `[R, S]` and `[R, N]` of `draw`, with different seeds.
      level: share of the resamples that the interval holds.

    Returns:
      Interval; its `difference` is the mean. With one run it says nothing of how runs differ; with S of them the
      resampled runs are too alike, their variance being (S - 1) / S of what it should be.
    """
    values = np.asarray(values, np.float64)
    means = np.einsum("rs,sn,rn->r", drawn_runs, values, drawn_sequences, optimize=True) / values.size
    return Interval(float(values.mean()), *_middle(means, level))


def _middle(means, level):
    """The bounds that leave out as many resampled means on either side, as floats."""
    tail = 50 * (1 - level)
    low, high = np.nanpercentile(means, (tail, 100 - tail))
    return float(low), float(high)
