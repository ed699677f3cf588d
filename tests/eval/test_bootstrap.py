"""The paired bootstrap: the interval contains the difference, and shrinks with more sequences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.eval.bootstrap import crossed_interval, draw, paired_interval


def interval(first, second, weights=None, resamples=2000, seed=0):
    return paired_interval(first, second, draw(len(first), resamples, seed), weights)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=60), st.integers(0, 2**32 - 1))
def test_the_interval_contains_the_difference_and_changes_sign_with_the_order(pairs, seed):
    first, second = np.array(pairs).T
    found, turned = interval(first, second, seed=seed), interval(second, first, seed=seed)
    tolerance = 1e-12
    assert found.low - tolerance <= found.difference <= found.high + tolerance
    np.testing.assert_allclose([turned.low, turned.high], [-found.high, -found.low], atol=1e-12)


def test_a_tracker_does_not_differ_from_itself():
    values = np.random.default_rng(0).uniform(size=50)
    found = interval(values, values)
    assert (found.difference, found.low, found.high, found.excludes_zero) == (0, 0, 0, False)


def test_four_times_the_sequences_halve_the_interval():
    first, second = np.random.default_rng(0).uniform(size=(2, 40))
    few, many = interval(first, second), interval(np.tile(first, 4), np.tile(second, 4))
    assert 0.42 < (many.high - many.low) / (few.high - few.low) < 0.58


def test_a_sequence_that_is_hard_for_both_hardly_counts():
    """Both trackers get the same resamples, so that common variation cancels."""
    rng = np.random.default_rng(0)
    hardness = rng.uniform(size=60)
    found = interval(hardness + 0.01 * rng.uniform(size=60), hardness)
    assert found.excludes_zero and found.high - found.low < 0.003
    assert not interval(hardness + 0.01, rng.permutation(hardness)).excludes_zero


def test_nineteen_of_twenty_intervals_contain_the_true_difference():
    rng, held = np.random.default_rng(0), 0
    for trial in range(200):
        first, second = rng.normal(0.55, 0.2, 60), rng.normal(0.5, 0.2, 60)
        found = interval(first, second, resamples=400, seed=trial)
        held += found.low <= 0.05 <= found.high
    assert 0.9 <= held / 200 <= 0.985


def test_sequences_are_weighted_and_unknown_ones_are_left_out():
    first, second = np.random.default_rng(0).uniform(size=(2, 30))
    weights = np.random.default_rng(1).integers(50, 500, 30).astype(float)
    found = interval(first, second, weights)
    np.testing.assert_allclose(
        found.difference, np.average(first, weights=weights) - np.average(second, weights=weights)
    )
    with np.errstate(all="raise"):  # many resamples lack the only sequence that counts
        alone = interval(first, second, np.r_[1.0, np.zeros(29)])
    np.testing.assert_allclose([alone.low, alone.high], first[0] - second[0])
    unknown = np.r_[first, np.nan]
    np.testing.assert_allclose(interval(unknown, np.r_[second, 0.9]).difference, interval(first, second).difference)
    assert np.isnan(interval([np.nan, 1], [0, np.nan]).low)


def test_a_resample_has_as_many_sequences_and_repeats_with_the_seed():
    drawn = draw(17, 1200, seed=3)
    assert drawn.shape == (1200, 17) and (drawn.sum(1) == 17).all() and len(np.unique(drawn, axis=0)) > 1100
    np.testing.assert_array_equal(drawn, draw(17, 1200, seed=3))
    assert draw(2).shape == (10_000, 2)
    np.testing.assert_array_equal(draw(2)[:9], draw(2, 9, seed=0))


def test_the_interval_leaves_equally_many_resamples_out_on_either_side():
    """Resamples whose means are 0, 1, 2 ... 1000: the bounds are known."""
    means = np.arange(1001.0)
    drawn = np.stack([means, 1000 - means], 1)  # so often is the first sequence, which counts 1000, among a thousand
    for level, low, high in ((None, 25, 975), (0.5, 250, 750), (0.8, 100, 900)):
        chosen = {} if level is None else {"level": level}
        paired = paired_interval([1000, 0], [0, 0], drawn, **chosen)
        assert (paired.low, paired.high) == (pytest.approx(low), pytest.approx(high))
        crossed = crossed_interval([[1000, 0]], np.ones((1001, 1)), drawn / 500, **chosen)
        assert (crossed.low, crossed.high) == (pytest.approx(low), pytest.approx(high))


def test_runs_and_sequences_are_both_resampled():
    runs, sequences = draw(2, 2000, seed=0), draw(30, 2000, seed=1)
    values = np.random.default_rng(0).uniform(size=30)
    alone = paired_interval(values, np.zeros(30), sequences)
    same = crossed_interval([values, values], runs, sequences)  # two equal runs are as good as one
    np.testing.assert_allclose([same.difference, same.low, same.high], [alone.difference, alone.low, alone.high])
    apart = crossed_interval([np.zeros(30), np.ones(30)], runs, sequences)  # one of four draws has the first twice
    assert (apart.difference, apart.low, apart.high) == (0.5, 0, 1)
    coarse = np.float16([[0.1, 0.2, 0.5]])
    assert crossed_interval(coarse, np.ones((1, 1)), np.ones((1, 3))).difference == np.float64(coarse).mean()
    both = crossed_interval([values, values + 0.2], runs, sequences)
    assert both.low < alone.low + 0.05 and both.high > alone.high + 0.15
