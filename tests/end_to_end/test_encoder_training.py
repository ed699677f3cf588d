"""RL of the encoder: only the trained parts change, and the policy learns the same as on frozen features."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from relo_jax import config as relo_config
from relo_jax.errors import UserError
from relo_jax.train import features, rl, state
from tests.train import tiny

CLIPS, FRAMES = 4, 2
SIZES = dict(width=16, stem_blocks=(1, 1), depth=3)


clips = functools.partial(tiny.batch, CLIPS, FRAMES)


def config(**rl_fields):
    made = relo_config.starter("rl")
    made.optimizer.warmup_steps, made.optimizer.weight_decay = 0, 0.1
    made.rl.update({"estimator": "expected", "path": "frame"} | rl_fields)
    return made


def test_with_last_blocks_nothing_else_moves_not_even_by_weight_decay():
    run = config(train="last_blocks", train_blocks=2)
    relo_config.validate(run)
    current, tx = state.create_state(run, jax.tree.map(jnp.asarray, tiny.variables(**SIZES)), jax.random.key(3))
    current, metrics = rl.make_step(tiny.model(**SIZES, remat=True), run, tx)(current, clips())
    assert metrics["finite"] and {"giou_loss", "l1_loss", "center_iou", "greedy_auc"} <= metrics.keys()
    before = flatten_dict(tiny.variables(**SIZES)["params"], sep="/")
    for name, after in flatten_dict(jax.device_get(state.variables_of(current)["params"]), sep="/").items():
        if name.startswith("encoder/blocks/"):
            np.testing.assert_array_equal(after[:-2], before[name][:-2], err_msg=name)
            assert not np.array_equal(after[-2], before[name][-2]) and not np.array_equal(after[-1], before[name][-1])
        elif "/conv" not in name or not name.endswith("/bias"):  # a norm behind it takes its gradient away
            still = name.startswith(("encoder/", "regression/center/")) and not name.startswith("encoder/fc_norm/")
            assert np.array_equal(after, before[name]) == still, name
    moments = jax.tree_util.tree_leaves_with_path(current.opt_state)
    of_blocks = [x for path, x in moments if "blocks" in jax.tree_util.keystr(path)]
    assert of_blocks and not any(x[:-2].any() for x in of_blocks)


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"train": "heads"}, ("policy", "value")),
        ({"train": "all"}, ("encoder", "regression/offset", "regression/size", "policy", "value")),
        ({"train": "all", "box_weight": 0.0}, ("encoder", "policy", "value")),
    ],
)
def test_only_parts_with_a_gradient_are_trained(fields, paths):
    assert state.trained(config(**fields)) == paths


@functools.cache
def gradients():
    """Of all parameters, at the same values: with the box losses, without, and of the heads on frozen features."""
    batch = jax.tree.map(jnp.asarray, clips())
    stats, key = tiny.variables(**SIZES)["batch_stats"], jax.random.key(4)

    def end_to_end(params, weight):
        run, whole = config(train="all"), {"params": params, "batch_stats": stats}
        with run.ignore_type():  # one program for both weights
            run.rl.box_weight = weight
        return rl.end_to_end_loss(tiny.model(**SIZES), run, whole, batch, key, 0)[0]

    def on_frozen(params):
        run, whole = config(), {"params": params, "batch_stats": stats}
        drop_key, action_key = jax.random.split(key)
        frames = features.encode(tiny.model(**SIZES), run, whole, batch, drop_key, action_key)
        return rl.heads_loss(tiny.model(**SIZES), run, params, stats, frames, action_key, 0)[0]

    @jax.jit
    def three(params):
        both = jax.vmap(jax.grad(end_to_end), (None, 0))(params, jnp.asarray([1.0, 0.0]))
        return jax.tree.map(lambda x: x[0], both), jax.tree.map(lambda x: x[1], both), jax.grad(on_frozen)(params)

    return [flatten_dict(x, sep="/") for x in jax.device_get(three(tiny.variables(**SIZES)["params"]))]


def test_policy_and_value_learn_the_same_as_on_frozen_features():
    whole, _, heads = gradients()
    for name, expected in heads.items():
        if name.startswith(("policy/", "value/")):
            # The bias of a convolution before a batch norm has no effect: its gradient is rounding.
            np.testing.assert_allclose(whole[name], expected, rtol=1e-3, atol=1e-5, err_msg=name)
        else:
            assert not expected.any(), name


def test_the_box_losses_train_encoder_and_boxes_and_the_reward_only_the_encoder():
    with_boxes, without, _ = gradients()
    for name, by_reward in without.items():
        if name.startswith("regression/"):
            assert not by_reward.any(), name  # boxes are constants of the reward
        elif name.startswith("encoder/"):
            assert by_reward.any(), name
            assert not np.allclose(by_reward, with_boxes[name], rtol=1e-2, atol=0), name
    assert with_boxes["regression/size/out/kernel"].any() and not with_boxes["regression/center/out/kernel"].any()


def test_impossible_configs_are_refused_in_one_line():
    with pytest.raises(UserError, match="config.rl.train is 'all': closed-loop rollouts") as error:
        relo_config.validate(config(train="all", rollout="closed_loop", estimator="reinforce"))
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="config.rl.train_blocks is 4, but the encoder has 3 main blocks"):
        state.create_state(config(train="last_blocks", train_blocks=4), tiny.variables(**SIZES), jax.random.key(0))
    with pytest.raises(UserError, match="at least 1"):
        relo_config.validate(config(train="last_blocks", train_blocks=0))
