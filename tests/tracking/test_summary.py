"""What `relo track` says of the scores at the end."""

import math

from relo_jax.tracking.result import Result
from relo_jax.tracking.summary import Scores


def said(scores, found=None, threshold=0.5):
    """The summary of one target."""
    seen = Scores(threshold)
    for score, is_found in zip(scores, found or [True] * len(scores), strict=True):
        seen.add([Result((0.0, 0.0, 9.0, 9.0), score, is_found, math.nan)])
    return seen.summary()


def test_low_frames_are_counted_and_named():
    assert said([1, 0.8, 0.6]) == "mean score 0.80, never low"
    assert said([1, 0.25, 0.25, 0.5, 0.4]) == "mean score 0.48, low in 3 of 5 frames (1-2, 4)"
    lost = [True] * 3 + [False, False, True]
    assert said([1, 0, 0, 0, 0.5, 0.5], lost) == "mean score 0.33, low in 3 of 6 frames (1-3), lost in 2 (3-4)"


def test_only_the_first_spells_are_named():
    assert said([1, 0] * 5) == "mean score 0.50, low in 5 of 10 frames (1, 3, 5, ...)"
    assert said([1, 0, 1, 0, 1, 0, 0, 1]).endswith("low in 4 of 8 frames (1, 3, 5-6)")


def test_each_of_several_targets_has_its_own():
    seen = Scores(0.5)
    for score in (1.0, 0.2):
        seen.add([Result((0.0,) * 4, of, True, math.nan) for of in (1.0, score)])
    assert seen.summary() == "target 1: mean score 1.00, never low, target 2: mean score 0.60, low in 1 of 2 frames (1)"
