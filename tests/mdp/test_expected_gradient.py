"""Every estimator of the policy gradient has the same mean, and the expected gradient is that mean."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax import config as relo_config
from relo_jax.mdp import action as act
from relo_jax.mdp import expected_gradient, policy_gradient, reward
from relo_jax.train import rl
from relo_jax.train.features import ClipFeatures

CLIPS, FRAMES, CELLS = 2, 3, 3
WEIGHTS = dict(iou_weight=0.7, auc_weight=1.9)
AUCS = ["thresholds", "continuous"]


@pytest.fixture(scope="module")
def clips():
    """Logits and values of two clips of three frames, and the IoU of each of three actions."""
    rng = np.random.default_rng(3)
    shape = CLIPS, FRAMES, CELLS
    table = rng.uniform(0, 1, shape)
    table[0, 0, 1] = 0.0  # a miss
    return tuple(jnp.asarray(x, jnp.float32) for x in (rng.normal(size=shape), rng.normal(size=shape[:2]), table))


def all_action_sequences():
    """All sequences of actions in a clip, `[N^T, T]`; the clips are independent, so both may act alike."""
    return jnp.asarray(list(itertools.product(range(CELLS), repeat=FRAMES)))


def at(table, action):
    return jnp.take_along_axis(table, action[..., None], -1)[..., 0]


def exact_mean(clips, auc, of_actions):
    """The expectation of `of_actions(logits, value, actions [1, T], rewards)`, a tree, for each clip: the sum over all
    action sequences, weighted by their probability."""
    logits, value, table = clips
    parts = []
    for b in range(CLIPS):
        one = logits[b : b + 1], value[b : b + 1], table[b : b + 1]

        def weighted(actions, one=one):
            rewards = reward.clip_reward(at(one[2], actions[None]), **WEIGHTS, auc=auc)
            probability = jnp.exp(act.log_prob(one[0], actions[None]).sum())
            return jax.tree.map(lambda x: probability * x, of_actions(one[0], one[1], actions[None], rewards))

        parts.append(jax.tree.map(lambda x: x.sum(0), jax.vmap(weighted)(all_action_sequences())))
    return parts


@pytest.mark.parametrize("auc", AUCS)
def test_the_expected_gradient_is_the_mean_of_reinforces_over_all_actions(clips, auc):
    logits, value, table = clips

    def gradient(logits, value, action, rewards):
        loss = lambda *x: policy_gradient.reinforce_loss(*x, action, rewards)[0]
        return jax.grad(loss, (0, 1))(logits, value), rewards

    parts = exact_mean(clips, auc, jax.jit(gradient))
    loss = lambda *x: expected_gradient.expected_loss(*x, table, **WEIGHTS, auc=auc)
    ours, (_, rewards) = jax.grad(lambda *x: (loss(*x)[0], loss(*x)[1:]), (0, 1), has_aux=True)(logits, value)
    for b, (theirs, mean_rewards) in enumerate(parts):
        for mine, exact in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(CLIPS * mine[b], exact[0], atol=2e-7)
        np.testing.assert_allclose(rewards[b], mean_rewards[0], rtol=1e-5)


STANDARDISED = dict(normalize_advantage=True)


@pytest.mark.parametrize("options", [{}, STANDARDISED, STANDARDISED | dict(group=2, auc="continuous")], ids=str)
def test_the_loss_and_its_gradient_by_hand(options):
    """With other numbers of clips, frames and cells than above, none equal to another."""
    rng = np.random.default_rng(0)
    logits, iou, value = rng.normal(size=(4, 3, 5)), rng.uniform(size=(4, 3, 5)), rng.normal(size=(4, 3))

    def loss(logits):
        given = logits, jnp.float32(value), jnp.float32(iou)
        total, metrics, rewards = expected_gradient.expected_loss(*given, **WEIGHTS, **options)
        return total, (metrics, rewards)

    (total, (metrics, rewards)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(jnp.float32(logits))
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    frame_auc = np.float64(reward.clip_auc(jnp.float32(iou)[..., None], options.get("auc", "thresholds")))
    mean = (probs * frame_auc).sum(-1)
    noise = (probs * (frame_auc - mean[..., None]) ** 2).sum(-1)
    share, others = WEIGHTS["auc_weight"] / 3, lambda x: np.stack([np.delete(x, t, 1).sum(1) for t in range(3)], 1)
    values = WEIGHTS["iou_weight"] * iou + share * (frame_auc + others(mean)[..., None])
    advantage = values - value[..., None]
    size = options.get("group", 4)
    for group in (slice(start, start + size) for start in range(0, 4, size)) if options else ():
        a, p = advantage[group], probs[group]
        a -= (p * a).sum(-1).mean()
        a /= np.sqrt(((p * a**2).sum(-1) + share**2 * others(noise)[group]).mean())
    expected = -(probs * advantage).sum(-1).mean(), ((value - (probs * values).sum(-1)) ** 2).mean()
    np.testing.assert_allclose(rewards, (probs * values).sum(-1), rtol=1e-5)
    np.testing.assert_allclose((metrics["policy_loss"], metrics["value_loss"]), expected, atol=1e-5)
    np.testing.assert_allclose(total, expected[0] + 0.5 * expected[1], atol=1e-5)
    relative = advantage - (probs * advantage).sum(-1, keepdims=True)
    np.testing.assert_allclose(gradient, -probs * relative / value.size, atol=1e-6)


def test_leaving_one_out_adds_no_bias(clips):
    logits, value, table = clips
    actions = all_action_sequences()
    exact = jax.grad(lambda x: expected_gradient.expected_loss(x, value, table, **WEIGHTS)[0])(logits)
    for b in range(CLIPS):

        def one(first, second, b=b):
            pair = jnp.stack([first, second])[:, None]
            rewards = reward.clip_reward(at(table[None, b : b + 1], pair), **WEIGHTS)
            loss = lambda x: policy_gradient.rloo_loss(x, value[b : b + 1], pair, rewards)[0]
            probability = jnp.exp(act.log_prob(jnp.broadcast_to(logits[b], (2, FRAMES, CELLS)), pair[:, 0]).sum())
            return probability * jax.grad(loss)(logits[b : b + 1])[0]

        pairs = jnp.asarray(list(itertools.product(range(len(actions)), repeat=2)))
        mean = jax.jit(jax.vmap(one))(actions[pairs[:, 0]], actions[pairs[:, 1]]).sum(0)
        np.testing.assert_allclose(mean, CLIPS * exact[b], atol=5e-7)


def test_the_loss_is_the_mean_of_the_sampled_losses_minus_the_variance_of_the_reward(clips):
    logits, value, table = clips
    parts = exact_mean(clips, "thresholds", lambda *x: (policy_gradient.reinforce_loss(*x)[1], jnp.square(x[-1])))
    _, metrics, rewards = expected_gradient.expected_loss(*clips, **WEIGHTS)
    policy, both, squares = (np.mean([f(p) for p in parts]) for f in (
        lambda p: p[0]["policy_loss"], lambda p: p[0]["value_loss"], lambda p: p[1]))  # fmt: skip
    np.testing.assert_allclose(metrics["policy_loss"], policy, rtol=1e-5)
    np.testing.assert_allclose(metrics["value_loss"], both - (squares - jnp.square(rewards).mean()), rtol=1e-4)


def test_the_effect_of_a_frame_on_the_other_rewards_is_ignored(clips):
    """The release weights the gradient of a frame with its own reward, so only the frame's share of the AUC counts."""
    logits, value, table = clips
    gradient = jax.grad(
        lambda x, iou, u: expected_gradient.expected_loss(x, value, iou, iou_weight=1.0, auc_weight=u)[0]
    )
    small, large = (gradient(logits, table, u) for u in (1.0, float(FRAMES)))

    def mean_reward(logits):  # of the clip, by definition
        probs, actions = jax.nn.log_softmax(logits), all_action_sequences()
        probability = jax.vmap(lambda a: jnp.exp(at(probs, a[None]).sum(-1)))(actions)
        iou = jax.vmap(lambda a: at(table, jnp.broadcast_to(a, (CLIPS, FRAMES))))(actions)
        return (probability[..., None] * reward.clip_reward(iou, 1.0, 1.0)).sum(0).mean()

    true = -jax.grad(mean_reward)(logits)
    np.testing.assert_allclose(large, true, atol=2e-7)
    assert np.abs(small - true).max() > 1e-3


def a_batch(clips, grid=4):
    """Random logits, values, box maps and ground truth of clips."""
    rng = np.random.default_rng(5)
    maps = lambda low, high: rng.uniform(low, high, (clips, FRAMES, grid, grid, 2))
    box = np.concatenate([rng.uniform(0.2, 0.5, (clips, FRAMES, 2)), rng.uniform(0.2, 0.5, (clips, FRAMES, 2))], -1)
    parts = (
        rng.normal(0, 1, (clips, FRAMES, grid**2)),
        rng.normal(0.5, 0.1, (clips, FRAMES)),
        maps(0.2, 0.5),
        maps(0, 1),
    )
    return tuple(jnp.asarray(x, jnp.float32) for x in (*parts, box))


def fields(**changes):
    made = relo_config.base().rl
    made.update(changes)
    return made


def gradients(config, keys, batch):
    """The gradient by the logits for each key, and the metrics."""
    logits, value, *rest = batch
    loss = lambda x, key: rl.estimator_loss(key, x, value, ClipFeatures(None, *rest), config)
    return jax.jit(jax.vmap(jax.grad(loss, has_aux=True), (None, 0)))(logits, keys)


@pytest.mark.parametrize("changes", [{"estimator": "reinforce"}, {"estimator": "rloo"}, {"auc": "continuous"}])
def test_sampled_gradients_scatter_around_the_expected_one(changes):
    batch = a_batch(2)
    sampled, metrics = gradients(fields(**changes), jax.random.split(jax.random.key(1), 20_000), batch)
    exact, expected = gradients(
        fields(**{**changes, "estimator": "expected"}), jax.random.split(jax.random.key(2), 1), batch
    )
    error = np.asarray(sampled.std(0)) / np.sqrt(len(sampled))
    z = np.asarray(sampled.mean(0) - exact[0]) / error
    assert np.abs(z).max() < 4.5 and 0.6 < np.square(z).mean() < 1.5
    assert error.max() < 0.1 * np.abs(exact).max()  # so that a wrong gradient would be noticed
    for name in ("reward", "iou", "auc", "entropy"):
        error = float(metrics[name].std()) / np.sqrt(len(sampled))
        assert abs(float(metrics[name].mean() - expected[name][0])) < 4.5 * error + 1e-5, name


def test_standardised_advantages_approach_the_expected_ones_as_the_batch_grows():
    """A batch of many copies of the same clips has the deviation of infinitely many samples."""
    copies, batch = 20_000, a_batch(2)
    many = [jnp.tile(x, (copies, *[1] * (x.ndim - 1))) for x in batch]
    key = jax.random.split(jax.random.key(1), 1)
    sampled = gradients(fields(normalize_advantage=True), key, many)[0][0]
    sampled = np.asarray(sampled).reshape(copies, *batch[0].shape) * copies  # each is a part of the mean over the batch
    exact = gradients(fields(normalize_advantage=True, estimator="expected"), key, batch)[0][0]
    error = sampled.std(0) / np.sqrt(copies)
    z = (sampled.mean(0) - exact) / error
    assert np.abs(z).max() < 4.5 and 0.6 < np.square(z).mean() < 1.5
    length = (sampled * exact).sum((1, 2, 3)) / np.square(exact).sum()  # relative to the expected gradient
    error = length.std() / np.sqrt(copies)
    assert abs(length.mean() - 1) < 4 * error and error < 0.03


def test_expected_and_leave_one_out_scatter_less():
    batch, keys = a_batch(4), jax.random.split(jax.random.key(1), 500)
    spread = {}
    for estimator in ("reinforce", "rloo", "expected"):
        spread[estimator] = float(gradients(fields(estimator=estimator), keys, batch)[0].var(0).sum())
    assert spread["expected"] < 1e-12 < spread["rloo"] < spread["reinforce"] / 4
