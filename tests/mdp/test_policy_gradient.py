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


LOGITS, VALUE = (np.random.default_rng(2).normal(size=shape).astype(np.float32) for shape in ((4, 3, 6), (4, 3)))
ACTIONS = np.random.default_rng(3).integers(0, 6, (5, 4, 3))
REWARDS = np.random.default_rng(4).uniform(size=(5, 4, 3)).astype(np.float32)
ALIVE = np.array([[True, True, False], [True] * 3, [True, False, False], [True] * 3])
STANDARDISED = {"normalize_advantage": True}


@pytest.mark.parametrize("options", [{}, STANDARDISED], ids=str)
@pytest.mark.parametrize("alive", [None, ALIVE], ids=["all", "alive"])
def test_reinforce_by_hand(options, alive):
    counts = np.ones((4, 3), bool) if alive is None else alive
    advantage = np.float64(REWARDS[0]) - VALUE
    if options:
        advantage = (advantage - advantage[counts].mean()) / advantage[counts].std(ddof=1)
    loss = lambda *x: policy_gradient.reinforce_loss(*x[:4], alive=x[4], **options)
    arrays = LOGITS, VALUE, ACTIONS[0], REWARDS[0], alive
    found = jax.jit(jax.value_and_grad(loss, has_aux=True))(*arrays)
    check(found, (advantage * counts)[None], ACTIONS[:1], np.square(VALUE - REWARDS[0]) * counts)


@pytest.mark.parametrize("options", [{}, STANDARDISED], ids=str)
def test_leave_one_out_by_hand(options):
    others = np.stack([np.delete(REWARDS, k, axis=0).mean(0) for k in range(5)])
    advantage = np.float64(REWARDS) - others
    if options:
        advantage /= advantage.std(ddof=1)
    loss = lambda *x: policy_gradient.rloo_loss(*x, **options)
    found = jax.jit(jax.value_and_grad(loss, has_aux=True))(LOGITS, VALUE, ACTIONS, REWARDS)
    check(found, advantage, ACTIONS, np.square(VALUE - REWARDS))


def check(found, advantage, actions, squares):
    """A loss and its gradient, from advantages and actions `[K, B, T]` and the squared errors of the value."""
    (total, metrics), gradient = found
    policy, value = -advantage.mean(), squares.mean()
    np.testing.assert_allclose((metrics["policy_loss"], metrics["value_loss"]), (policy, value), atol=1e-5)
    np.testing.assert_allclose(total, policy + 0.5 * value, atol=1e-5)
    probability = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    of_log_prob = (actions[..., None] == np.arange(6)) - probability
    expected = -(advantage[..., None] * of_log_prob).sum(0) / advantage.size
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


@pytest.mark.parametrize("estimator", ["reinforce", "lost frames", "rloo", "expected"])
def test_the_gradient_of_groups_is_the_mean_of_theirs(estimator):
    all_logits, value, action, rewards, alive = map(jnp.asarray, (LOGITS, VALUE, ACTIONS, REWARDS, ALIVE))
    iou = jnp.asarray(np.random.default_rng(5).uniform(size=(4, 3, 6)), jnp.float32)

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


def test_explained_variance_is_that_of_the_frames_before_the_end():
    explained = policy_gradient.explained_variance(jnp.asarray(VALUE), jnp.asarray(REWARDS[0]), jnp.asarray(ALIVE))
    left, whole = (x[ALIVE].var() for x in (REWARDS[0] - VALUE, REWARDS[0]))
    np.testing.assert_allclose(explained, 1 - left / whole, rtol=1e-4)
    assert policy_gradient.explained_variance(jnp.asarray(VALUE), jnp.ones((4, 3))) < 0  # nothing to be explained
