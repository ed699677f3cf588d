"""The reward: the AUC is the area under the success curve, and every frame of a clip gets it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.mdp import reward

overlaps = st.lists(st.floats(0, 1, width=32, allow_subnormal=False), min_size=1, max_size=12)
quick = settings(deadline=None, max_examples=60)
clip_auc = jax.jit(reward.clip_auc)


def brute_force_auc(iou):
    success = [np.mean([x > np.float32(k / 20) for x in iou]) for k in range(21)]
    return sum((a + b) / 2 / 20 for a, b in zip(success, success[1:], strict=False))


@quick
@given(overlaps)
def test_auc_is_the_area_under_the_success_curve(iou):
    np.testing.assert_allclose(reward.clip_auc(jnp.asarray(iou)), brute_force_auc(np.float32(iou)), atol=1e-5)


@quick
@given(overlaps, st.randoms(use_true_random=False))
def test_auc_grows_with_overlap_and_ignores_the_order(iou, random):
    base = float(reward.clip_auc(jnp.asarray(iou)))
    better = [min(1.0, x + random.random() * 0.3) for x in iou]
    shuffled = random.sample(iou, len(iou))
    assert -1e-6 <= base <= 1 and float(reward.clip_auc(jnp.asarray(better))) >= base - 1e-6
    assert float(reward.clip_auc(jnp.asarray(shuffled))) == pytest.approx(base, abs=1e-6)


def test_a_perfect_and_a_lost_clip():
    # Strictly greater: at threshold 1 nothing succeeds, which costs half of the last interval.
    np.testing.assert_allclose(clip_auc(jnp.asarray([[1.0] * 8, [0.0] * 8])), [1 - 0.025, 0.0], atol=1e-6)


def test_the_reward_adds_the_clips_auc_to_every_frame():
    iou = jnp.asarray([[0.2, 0.8], [0.0, 0.0]])
    for auc in ([], ["continuous"]):
        expected = 2 * iou + 3 * reward.clip_auc(iou, *auc)[:, None]
        np.testing.assert_allclose(reward.clip_reward(iou, 2.0, 3.0, *auc), expected, rtol=1e-6)


def test_the_continuous_auc_is_the_limit_of_many_thresholds():
    iou = np.random.default_rng(0).uniform(0, 1, (2, 2, 8)).astype(np.float32)
    success = (iou[..., None] > np.linspace(0, 1, 20_001)).mean(-2)
    fine = np.trapezoid(success, dx=1 / 20_000, axis=-1)
    np.testing.assert_allclose(reward.clip_auc(jnp.asarray(iou), "continuous"), fine, atol=1e-4)
    np.testing.assert_allclose(reward.clip_auc(jnp.asarray(iou)), fine, atol=0.026)  # half an interval at most
