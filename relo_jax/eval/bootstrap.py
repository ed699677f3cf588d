"""How sure a difference between trackers is: a paired bootstrap over sequences (Efron 1979).

A benchmark's sequences are a sample of all that could have been filmed. Drawing as many of them again, with
replacement, many times over, says how far the means, and their differences, would move with another sample. Both
trackers are measured on the same draw, so that a sequence which is hard for both moves the difference little.
"""

from dataclasses import dataclass

import numpy as np

_AT_A_TIME = 500  # resamples: a dataset of a thousand sequences takes a few megabytes


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


def resampled_means(values, weights=None, resamples=10_000, seed=0):
    """Means over resampled sequences, the same draws for all trackers.

    Args:
      values: `[N, T]`, a number of each of N sequences by each of T trackers; NaN where there is none.
      weights: `[N]`, what a sequence counts for; None for one each.
      resamples: R.
      seed: of the draws.

    Returns:
      float64 `[R, T]`.
    """
    values = np.asarray(values, np.float64)
    count = len(values)
    weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    known = np.isfinite(values)
    weighted = np.where(known, values, 0) * weights[:, None]
    rng, means = np.random.default_rng(seed), []
    for start in range(0, resamples, _AT_A_TIME):
        times = rng.multinomial(count, np.full(count, 1 / count), min(_AT_A_TIME, resamples - start)).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            means.append((times @ weighted) / (times @ (known * weights[:, None])))
    return np.concatenate(means)


def paired_interval(means, overall, first, second, level=0.95):
    """The difference of two trackers, first minus second, with its interval.

    Args:
      means: of `resampled_means`.
      overall: `[T]`, the means over all sequences.
      first, second: columns of both.

    Returns:
      Interval; of a tracker and itself, or one that does the same, `[0, 0]`.
    """
    tail = 50 * (1 - level)
    low, high = np.nanpercentile(means[:, first] - means[:, second], (tail, 100 - tail))
    return Interval(float(overall[first] - overall[second]), float(low), float(high))
