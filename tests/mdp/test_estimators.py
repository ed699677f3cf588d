"""Every estimator of the policy gradient has the same mean, and the expected one is that mean."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax import config as relo_config
from relo_jax.errors import UserError
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
    return (jnp.asarray(x, jnp.float32) for x in (rng.normal(size=shape), rng.normal(size=shape[:2]), table))


@pytest.fixture(scope="module")
def world(clips):
    return tuple(clips)


def every_clip_of_actions():
    """All ways to act in a clip, `[N^T, T]`: the clips do not depend on each other, so both may act alike."""
    return jnp.asarray(list(itertools.product(range(CELLS), repeat=FRAMES)))


def look_up(table, action):
    return jnp.take_along_axis(table, action[..., None], -1)[..., 0]


def exact_mean(world, auc, of_actions):
    """The mean over all clips of actions of `of_actions(logits, value, actions [B, T], rewards)`, a tree of means over
    clips: each clip's part is weighted with the probability of what was done in that clip."""
    logits, value, table = world
    parts = []
    for b in range(CLIPS):
        one = logits[b : b + 1], value[b : b + 1], table[b : b + 1]

        def weighted(actions, one=one):
            rewards = reward.clip_reward(look_up(one[2], actions[None]), **WEIGHTS, auc=auc)
            chance = jnp.exp(act.log_prob(one[0], actions[None]).sum())
            return jax.tree.map(lambda x: chance * x, of_actions(one[0], one[1], actions[None], rewards))

        parts.append(jax.tree.map(lambda x: x.sum(0), jax.vmap(weighted)(every_clip_of_actions())))
    return parts


@pytest.mark.parametrize("auc", AUCS)
def test_the_expected_gradient_is_the_mean_of_reinforces_over_all_actions(world, auc):
    logits, value, table = world

    def gradient(logits, value, action, rewards):
        loss = lambda *x: policy_gradient.reinforce_loss(*x, action, rewards)[0]
        return jax.grad(loss, (0, 1))(logits, value), rewards

    parts = exact_mean(world, auc, jax.jit(gradient))
    loss = lambda *x: expected_gradient.expected_loss(*x, table, **WEIGHTS, auc=auc)
    ours, (_, rewards) = jax.grad(lambda *x: (loss(*x)[0], loss(*x)[1:]), (0, 1), has_aux=True)(logits, value)
    for b, (theirs, mean_rewards) in enumerate(parts):
        for mine, exact in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(CLIPS * mine[b], exact[0], atol=2e-7)
        np.testing.assert_allclose(rewards[b], mean_rewards[0], rtol=1e-5)


def test_leaving_one_out_adds_no_bias(world):
    logits, value, table = world
    actions = every_clip_of_actions()
    exact = jax.grad(lambda x: expected_gradient.expected_loss(x, value, table, **WEIGHTS)[0])(logits)
    for b in range(CLIPS):

        def one(first, second, b=b):
            pair = jnp.stack([first, second])[:, None]
            rewards = reward.clip_reward(look_up(table[None, b : b + 1], pair), **WEIGHTS)
            loss = lambda x: policy_gradient.rloo_loss(x, value[b : b + 1], pair, rewards)[0]
            chance = jnp.exp(act.log_prob(jnp.broadcast_to(logits[b], (2, FRAMES, CELLS)), pair[:, 0]).sum())
            return chance * jax.grad(loss)(logits[b : b + 1])[0]

        pairs = jnp.asarray(list(itertools.product(range(len(actions)), repeat=2)))
        mean = jax.jit(jax.vmap(one))(actions[pairs[:, 0]], actions[pairs[:, 1]]).sum(0)
        np.testing.assert_allclose(mean, CLIPS * exact[b], atol=5e-7)


def test_the_loss_is_the_mean_of_the_sampled_losses_but_for_the_variance_of_the_reward(world):
    logits, value, table = world
    parts = exact_mean(world, "thresholds", lambda *x: (policy_gradient.reinforce_loss(*x)[1], jnp.square(x[-1])))
    _, metrics, rewards = expected_gradient.expected_loss(*world, **WEIGHTS)
    policy, both, squares = (np.mean([f(p) for p in parts]) for f in (
        lambda p: p[0]["policy_loss"], lambda p: p[0]["value_loss"], lambda p: p[1]))  # fmt: skip
    np.testing.assert_allclose(metrics["policy_loss"], policy, rtol=1e-5)
    np.testing.assert_allclose(metrics["value_loss"], both - (squares - jnp.square(rewards).mean()), rtol=1e-4)


def test_what_a_frame_does_for_the_reward_of_the_others_is_no_part_of_it(world):
    """The release weighs the gradient of a frame with its own reward: of the AUC that is the frame's share alone."""
    logits, value, table = world
    gradient = jax.grad(
        lambda x, iou, u: expected_gradient.expected_loss(x, value, iou, iou_weight=1.0, auc_weight=u)[0]
    )
    small, large = (gradient(logits, table, u) for u in (1.0, float(FRAMES)))

    def mean_reward(logits):  # of the clip, by definition
        probs, actions = jax.nn.log_softmax(logits), every_clip_of_actions()
        chance = jax.vmap(lambda a: jnp.exp(look_up(probs, a[None]).sum(-1)))(actions)
        iou = jax.vmap(lambda a: look_up(table, jnp.broadcast_to(a, (CLIPS, FRAMES))))(actions)
        return (chance[..., None] * reward.clip_reward(iou, 1.0, 1.0)).sum(0).mean()

    true = -jax.grad(mean_reward)(logits)
    np.testing.assert_allclose(large, true, atol=2e-7)
    assert np.abs(small - true).max() > 1e-3


def a_batch(clips, grid=4):
    """Logits, values, box maps and boxes of clips, as the heads give them."""
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
    exact, told = gradients(
        fields(**{**changes, "estimator": "expected"}), jax.random.split(jax.random.key(2), 1), batch
    )
    error = np.asarray(sampled.std(0)) / np.sqrt(len(sampled))
    z = np.asarray(sampled.mean(0) - exact[0]) / error
    assert np.abs(z).max() < 4.5 and 0.6 < np.square(z).mean() < 1.5
    assert error.max() < 0.1 * np.abs(exact).max()  # so that a wrong gradient would be seen
    for name in ("reward", "iou", "auc", "entropy"):
        error = float(metrics[name].std()) / np.sqrt(len(sampled))
        assert abs(float(metrics[name].mean() - told[name][0])) < 4.5 * error + 1e-5, name


def test_standardised_advantages_come_to_the_expected_ones_as_the_batch_grows():
    """One batch of many copies of the same clips: their deviation is that of infinitely many samples."""
    copies, batch = 20_000, a_batch(2)
    many = [jnp.tile(x, (copies, *[1] * (x.ndim - 1))) for x in batch]
    key = jax.random.split(jax.random.key(1), 1)
    sampled = gradients(fields(normalize_advantage=True), key, many)[0][0]
    sampled = np.asarray(sampled).reshape(copies, *batch[0].shape) * copies  # each a part of the mean over the batch
    exact = gradients(fields(normalize_advantage=True, estimator="expected"), key, batch)[0][0]
    error = sampled.std(0) / np.sqrt(copies)
    z = (sampled.mean(0) - exact) / error
    assert np.abs(z).max() < 4.5 and 0.6 < np.square(z).mean() < 1.5
    length = (sampled * exact).sum((1, 2, 3)) / np.square(exact).sum()  # as a fraction of the expected one's
    error = length.std() / np.sqrt(copies)
    assert abs(length.mean() - 1) < 4 * error and error < 0.03


def test_expected_and_leave_one_out_scatter_less():
    batch, keys = a_batch(4), jax.random.split(jax.random.key(1), 500)
    spread = {}
    for estimator in ("reinforce", "rloo", "expected"):
        spread[estimator] = float(gradients(fields(estimator=estimator), keys, batch)[0].var(0).sum())
    assert spread["expected"] < 1e-12 < spread["rloo"] < spread["reinforce"] / 4


def test_all_boxes_are_those_of_the_actions_one_by_one():
    _, _, size, offset, _ = a_batch(2)
    every = act.decode_all(size, offset)
    for action in range(16):
        one = act.decode_boxes(size, offset, jnp.full((2, FRAMES), action))
        np.testing.assert_array_equal(every[..., action, :], one)


def test_the_continuous_auc_is_what_many_thresholds_come_to():
    iou = np.random.default_rng(0).uniform(0, 1, (4, 8)).astype(np.float32)
    success = (iou[..., None] > np.linspace(0, 1, 20_001)).mean(-2)
    fine = np.trapezoid(success, dx=1 / 20_000, axis=-1)
    np.testing.assert_allclose(reward.clip_auc(jnp.asarray(iou), "continuous"), fine, atol=1e-4)
    np.testing.assert_allclose(reward.clip_auc(jnp.asarray(iou)), fine, atol=0.026)  # half an interval at most


def test_the_entropy_bonus_goes_from_one_weight_to_the_other():
    config = relo_config.paper("rl")
    config.total_steps, config.rl.entropy_weight, config.rl.entropy_weight_end = 10, 0.4, 0.1
    logits = a_batch(2)[0]
    entropy = act.entropy(logits).mean()
    for step, weight in ((0, 0.4), (5, 0.25), (10, 0.1)):
        np.testing.assert_allclose(rl.entropy_bonus(logits, config, jnp.int32(step)), weight * entropy, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimator": "reinforced"}, "did you mean 'reinforce'"),
        ({"auc": "continous"}, "did you mean 'continuous'"),
        ({"estimator": "rloo", "samples": 1}, "config.rl.samples is 1"),
        ({"entropy_weight": -0.1}, "config.rl.entropy_weight is -0.1"),
    ],
)
def test_estimators_that_do_not_exist_are_refused_in_one_line(changes, message):
    config = relo_config.paper("rl")
    config.rl.update(changes)
    with pytest.raises(UserError, match=message) as error:
        relo_config.validate(config)
    assert "\n" not in str(error.value)
