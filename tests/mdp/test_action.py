"""Actions: sampled from the policy, decoded to the box of their cell."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.mdp import action as act

quick = settings(deadline=None, max_examples=60)


@quick
@given(st.integers(0, 5), st.integers(0, 5))
def test_a_box_decoded_at_its_centre_cell_is_the_box(row, column):
    grid = 6
    truth = np.asarray([(column + 0.02) / grid, (row + 0.02) / grid, 0.4, 0.2], np.float32)
    action = act.center_action(jnp.asarray([*(truth[:2] - truth[2:] / 2), *truth[2:]]), grid)
    assert int(action) == row * grid + column
    size = jnp.broadcast_to(truth[2:], (grid, grid, 2))
    offset = jnp.broadcast_to(jnp.float32([0.02, 0.02]), (grid, grid, 2))
    np.testing.assert_allclose(act.decode_boxes(size, offset, action), truth, atol=1e-6)


def test_a_centre_outside_the_crop_goes_to_the_nearest_cell():
    boxes = jnp.asarray([[-0.4, 0.1, 0.2, 0.2], [0.9, 1.2, 0.4, 0.4]])
    np.testing.assert_array_equal(act.center_action(boxes, 4), [0, 15])


def test_all_boxes_are_those_of_the_actions_one_by_one():
    """By hand: cell `i * W + j` of a map with H = 3 rows and W = 4 columns."""
    rng = np.random.default_rng(5)
    size, offset = rng.uniform(0, 1, (2, 2, 5, 3, 4, 2)).astype(np.float32)
    every = act.decode_all(jnp.asarray(size), jnp.asarray(offset))
    assert every.shape == (2, 5, 12, 4)
    for action in range(12):
        i, j = divmod(action, 4)
        one = act.decode_boxes(jnp.asarray(size), jnp.asarray(offset), jnp.full((2, 5), action))
        center = (np.array([j, i]) + offset[..., i, j, :]) / np.array([4, 3])
        np.testing.assert_allclose(one, np.concatenate([center, size[..., i, j, :]], -1), rtol=1e-6)
        np.testing.assert_array_equal(every[..., action, :], one)


def test_every_frame_of_every_clip_has_a_policy_of_its_own():
    logits = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    greedy = act.greedy(jnp.asarray(logits))
    np.testing.assert_array_equal(greedy, logits.argmax(-1))
    np.testing.assert_allclose(act.log_prob(jnp.asarray(logits), greedy), np.log(probability.max(-1)), rtol=1e-5)
    entropy = -(probability * np.log(probability)).sum(-1)
    np.testing.assert_allclose(act.entropy(jnp.asarray(logits)), entropy, rtol=1e-5)
    assert act.sample(jax.random.key(0), jnp.asarray(logits)).shape == (2, 3)
    drawn = np.asarray(act.sample_many(jax.random.key(0), jnp.asarray(logits), 4000))
    np.testing.assert_allclose((drawn[..., None] == np.arange(4)).mean(0), probability, atol=0.04)


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
