"""REINFORCE: unbiased, with standardised advantages and no gradient through reward or advantage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.mdp import action as act
from relo_jax.mdp import expected_gradient, policy_gradient


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


@pytest.mark.parametrize("estimator", ["reinforce", "lost frames", "rloo", "expected"])
def test_the_gradient_of_groups_is_the_mean_of_theirs(estimator):
    rng = np.random.default_rng(2)
    all_logits, value = jnp.asarray(rng.normal(size=(4, 3, 6))), jnp.asarray(rng.normal(size=(4, 3)))
    action = jnp.asarray(rng.integers(0, 6, (5, 4, 3)))
    rewards, iou = jnp.asarray(rng.uniform(size=(5, 4, 3))), jnp.asarray(rng.uniform(size=(4, 3, 6)))
    alive = jnp.asarray([[True, True, False], [True] * 3, [True, False, False], [True] * 3])

    def loss(logits, clips, group):
        outputs, options = (logits[clips], value[clips]), dict(normalize_advantage=True, group=group)
        if estimator == "expected":
            weights = dict(iou_weight=1.0, auc_weight=1.0)
            return expected_gradient.expected_loss(*outputs, iou[clips], **weights, **options)[0]
        if estimator == "rloo":
            return policy_gradient.rloo_loss(*outputs, action[:, clips], rewards[:, clips], **options)[0]
        options |= {"alive": alive[clips]} if estimator == "lost frames" else {}
        return policy_gradient.reinforce_loss(*outputs, action[0, clips], rewards[0, clips], **options)[0]

    @jax.jit
    def gradients(logits):
        gradient = lambda *args: jax.grad(loss)(logits, *args)
        first, second, both = slice(0, 2), slice(2, 4), slice(0, 4)
        return gradient(both, 2), (gradient(first, 0) + gradient(second, 0)) / 2, gradient(both, 0)

    of_groups, mean, of_batch = gradients(all_logits)
    np.testing.assert_allclose(of_groups, mean, rtol=1e-4, atol=1e-7)
    assert jnp.abs(of_batch - mean).max() > 1e-3


def test_neither_reward_nor_advantage_carries_a_gradient():
    def loss(value, rewards):
        action = jnp.zeros((1, 2), jnp.int32)
        return policy_gradient.reinforce_loss(jnp.zeros((1, 2, 4)), value, action, rewards)[0]

    by_value, by_reward = jax.grad(loss, (0, 1))(jnp.ones((1, 2)), jnp.zeros((1, 2)))
    assert not by_reward.any()
    np.testing.assert_allclose(by_value, 0.5 * 2 * 1.0 / 2)  # only of the value loss


@pytest.mark.parametrize(("offset", "scale", "expected"), [(0.0, 1.0, 1.0), (0.3, 1.0, 1.0), (0.0, 0.0, 0.0)])
def test_explained_variance(offset, scale, expected):
    rewards = jnp.linspace(0, 2, 20).reshape(4, 5)
    explained = policy_gradient.explained_variance(scale * rewards + offset, rewards)
    np.testing.assert_allclose(explained, expected, atol=1e-5)
