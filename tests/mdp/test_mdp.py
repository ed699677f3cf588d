"""Actions, the reward and the policy gradient, as formulas and against the release's numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.mdp import action as act
from relo_jax.mdp import policy_gradient, reward

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
def test_auc_grows_with_overlap_and_forgets_the_order(iou, random):
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
    expected = 2 * iou + 3 * clip_auc(iou)[:, None]
    np.testing.assert_allclose(reward.clip_reward(iou, 2.0, 3.0), expected, rtol=1e-6)


@quick
@given(st.integers(0, 5), st.integers(0, 5))
def test_a_box_decoded_at_its_centre_cell_is_the_box(row, column):
    grid = 6
    truth = np.asarray([(column + 0.3) / grid, (row + 0.6) / grid, 0.4, 0.2], np.float32)
    action = act.center_action(jnp.asarray([*(truth[:2] - truth[2:] / 2), *truth[2:]]), grid)
    assert int(action) == row * grid + column
    size = jnp.broadcast_to(truth[2:], (grid, grid, 2))
    offset = jnp.broadcast_to(jnp.float32([0.3, 0.6]), (grid, grid, 2))
    np.testing.assert_allclose(act.decode_boxes(size, offset, action), truth, atol=1e-6)


def test_a_centre_outside_the_crop_goes_to_the_nearest_cell():
    boxes = jnp.asarray([[-0.4, 0.1, 0.2, 0.2], [0.9, 1.2, 0.4, 0.4]])
    np.testing.assert_array_equal(act.center_action(boxes, 4), [0, 15])


def test_entropy_and_log_probability():
    uniform = jnp.zeros((3, 16))
    np.testing.assert_allclose(act.entropy(uniform), np.log(16), rtol=1e-6)
    np.testing.assert_allclose(act.log_prob(uniform, jnp.asarray([0, 5, 15])), -np.log(16), rtol=1e-6)
    certain = jnp.asarray([[1e9, 0.0, 0.0]])
    assert float(act.entropy(certain)[0]) == 0.0 and int(act.greedy(certain)[0]) == 0


def test_actions_follow_the_policy():
    logits = jnp.log(jnp.asarray([0.1, 0.2, 0.7]))
    drawn = jax.vmap(act.sample, (0, None))(jax.random.split(jax.random.key(0), 4000), logits)
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 4000, [0.1, 0.2, 0.7], atol=0.03)


def test_reinforce_is_an_unbiased_estimate_of_the_gradient_of_the_expected_reward():
    logits, table = jnp.asarray([[[0.3, -0.2, 0.9, 0.0]]]), jnp.asarray([0.1, 0.9, 0.4, 0.6])
    exact = jax.grad(lambda x: -(jax.nn.softmax(x) * table).sum())(logits)

    def estimate(key):
        action = act.sample(key, logits)
        loss = lambda x: policy_gradient.reinforce_loss(x, jnp.full((1, 1), 0.5), action, table[action])[0]
        return jax.grad(loss)(logits)

    mean = jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(1), 50_000)).mean(0)
    np.testing.assert_allclose(mean, exact, atol=4e-3)


def test_standardised_advantages_have_mean_zero_and_sample_deviation_one():
    rng = np.random.default_rng(0)
    rewards, value = jnp.asarray(rng.normal(3, 2, (2, 4, 8)), jnp.float32)
    plain = policy_gradient.advantages(rewards, value, False)
    np.testing.assert_allclose(plain, rewards - value, rtol=1e-6)
    scaled = np.asarray(policy_gradient.advantages(rewards, value, True))
    assert abs(scaled.mean()) < 1e-6 and scaled.std(ddof=1) == pytest.approx(1, abs=1e-5)


def test_neither_reward_nor_advantage_carries_a_gradient():
    def loss(value, rewards):
        action = jnp.zeros((1, 2), jnp.int32)
        return policy_gradient.reinforce_loss(jnp.zeros((1, 2, 4)), value, action, rewards)[0]

    by_value, by_reward = jax.grad(loss, (0, 1))(jnp.ones((1, 2)), jnp.zeros((1, 2)))
    assert not by_reward.any()
    np.testing.assert_allclose(by_value, 0.5 * 2 * 1.0 / 2)  # of the value loss alone


@pytest.mark.parametrize(("offset", "scale", "expected"), [(0.0, 1.0, 1.0), (0.3, 1.0, 1.0), (0.0, 0.0, 0.0)])
def test_explained_variance(offset, scale, expected):
    rewards = jnp.linspace(0, 2, 20).reshape(4, 5)
    explained = policy_gradient.explained_variance(scale * rewards + offset, rewards)
    np.testing.assert_allclose(explained, expected, atol=1e-5)
