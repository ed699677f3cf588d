"""How certain a difference between trackers is: a paired bootstrap over sequences (Efron 1979).

A benchmark's sequences are a sample of all that could have been filmed. Resampling them with replacement many times
shows how much the means, and their differences, would vary with another sample. Both trackers are measured on the same
resamples, so that a sequence that is hard for both changes the difference little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_AT_A_TIME = 500  # resamples drawn at once


@dataclass(frozen=True)
class Interval:
    """A difference of two means, and the interval with 95 % (or another share) of the resampled differences."""

    difference: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval is above 0, or below."""
        return self.low > 0 or self.high < 0


def draw(count: int, resamples: int = 10_000, seed: int = 0) -> np.ndarray:
    """How often each of N sequences is in each of R resamples, float64 [R, N]; every row sums to N."""
    rng, even, drawn = np.random.default_rng(seed), np.full(count, 1 / count), np.empty((resamples, count))
    for start in range(0, resamples, _AT_A_TIME):
        part = drawn[start : start + _AT_A_TIME]
        part[:] = rng.multinomial(count, even, len(part))
    return drawn


def paired_interval(
    first: ArrayLike, second: ArrayLike, drawn: np.ndarray, weights: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """The difference of two trackers' means, first minus second, with its interval.

    Args:
      first, second: [N], a number for each sequence; sequences with NaN for either are left out.
      drawn: [R, N], of `draw`.
      weights: [N], of the sequences; None for equal weights.
      level: share of the resamples in the interval.

    Returns:
      The interval: [0, 0] for equal results, NaN if no sequence can be compared.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    known = np.isfinite(difference)
    weights = np.where(known, 1.0 if weights is None else weights, 0.0)
    if not weights.any():
        return Interval(np.nan, np.nan, np.nan)
    weighted = np.where(known, difference, 0) * weights
    with np.errstate(invalid="ignore"):  # a resample may have no sequence with a weight
        means = (drawn @ weighted) / (drawn @ weights)
    return Interval(float(weighted.sum() / weights.sum()), *_middle(means, level))


def crossed_interval(
    values: ArrayLike, drawn_runs: np.ndarray, drawn_sequences: np.ndarray, level: float = 0.95
) -> Interval:
    """The mean over runs (trainings with different seeds) and sequences, with its interval; both are resampled.

    Args:
      values: [S, N], the number of each run on each sequence, or the differences of two trackers.
      drawn_runs, drawn_sequences: [R, S] and [R, N], of `draw` with different seeds.
      level: share of the resamples in the interval.

    Returns:
      The interval; its `difference` is the mean. With one run it does not show how runs differ; with S runs, the
      variance between resampled runs is (S - 1) / S of what it should be.
    """
    values = np.asarray(values, np.float64)
    means = np.einsum("rs,sn,rn->r", drawn_runs, values, drawn_sequences, optimize=True) / values.size
    return Interval(float(values.mean()), *_middle(means, level))


def _middle(means, level):
    """The bounds with equally many resampled means outside on either side."""
    tail = 50 * (1 - level)
    low, high = np.nanpercentile(means, (tail, 100 - tail))
    return float(low), float(high)
