"""RL of the encoder: what moves and what does not, and that the policy is taught as it is on frozen features."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from relo_jax import config as relo_config
from relo_jax.errors import UserError
from relo_jax.model import RELO, init_variables
from relo_jax.train import features, rl, state

CLIPS, FRAMES, DEPTH = 4, 2, 3


@functools.cache
def model(remat=False):
    sizes = dict(width=16, stem_blocks=(1, 1), depth=DEPTH, heads=2, head_width=16, search_size=32, template_size=32)
    return RELO.from_variant("tiny", remat=remat, **sizes)


@functools.cache
def variables():
    return jax.device_get(init_variables(model(), jax.random.key(0)))


@functools.cache
def batch():
    rng = np.random.default_rng(0)
    images = lambda count: rng.integers(0, 256, (CLIPS, count, 32, 32, 3), dtype=np.uint8)
    return {
        "template_images": images(1),
        "template_boxes_xywh": np.tile(np.float32([0.25, 0.25, 0.5, 0.5]), (CLIPS, 1, 1)),
        "search_images": images(FRAMES),
        "search_boxes_xywh": rng.uniform(0.2, 0.5, (CLIPS, FRAMES, 4)).astype(np.float32),
    }


def config(**rl_fields):
    made = relo_config.starter("rl")
    made.optimizer.warmup_steps, made.optimizer.weight_decay = 0, 0.1
    made.rl.update({"estimator": "expected", "path": "frame"} | rl_fields)
    return made


def test_of_the_last_blocks_nothing_else_moves_not_even_by_weight_decay():
    run = config(train="last_blocks", train_blocks=2)
    relo_config.validate(run)
    current, tx = state.create_state(run, jax.tree.map(jnp.asarray, variables()), jax.random.key(3))
    current, metrics = rl.make_step(model(remat=True), run, tx)(current, batch())
    assert metrics["finite"] and {"giou_loss", "l1_loss", "center_iou", "greedy_auc"} <= metrics.keys()
    before = flatten_dict(variables()["params"], sep="/")
    for name, after in flatten_dict(jax.device_get(state.variables_of(current)["params"]), sep="/").items():
        if name.startswith("encoder/blocks/"):
            np.testing.assert_array_equal(after[:-2], before[name][:-2], err_msg=name)
            assert not np.array_equal(after[-2], before[name][-2]) and not np.array_equal(after[-1], before[name][-1])
        else:
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
def test_only_what_has_a_gradient_is_trained(fields, paths):
    assert state.trained(config(**fields)) == paths


@functools.cache
def gradients():
    """By all parameters, at the same ones: with the box losses, without, and of the heads on frozen features."""
    stats, key = variables()["batch_stats"], jax.random.key(4)

    def end_to_end(params, weight):
        run, whole = config(train="all"), {"params": params, "batch_stats": stats}
        with run.ignore_type():  # one program for both weights
            run.rl.box_weight = weight
        return rl.end_to_end_loss(model(), run, whole, batch(), key, 0)[0]

    def on_frozen(params):
        run, whole = config(), {"params": params, "batch_stats": stats}
        drop_key, action_key = jax.random.split(key)
        seen = features.encode(model(), run, whole, batch(), drop_key, action_key)
        return rl.heads_loss(model(), run, params, stats, seen, action_key, 0)[0]

    @jax.jit
    def three(params):
        both = jax.vmap(jax.grad(end_to_end), (None, 0))(params, jnp.asarray([1.0, 0.0]))
        return jax.tree.map(lambda x: x[0], both), jax.tree.map(lambda x: x[1], both), jax.grad(on_frozen)(params)

    return [flatten_dict(x, sep="/") for x in jax.device_get(three(variables()["params"]))]


def test_policy_and_value_learn_what_they_learn_on_frozen_features():
    whole, _, heads = gradients()
    for name, wanted in heads.items():
        if name.startswith(("policy/", "value/")):
            # The bias of a convolution before a batch norm does nothing: its gradient is rounding.
            np.testing.assert_allclose(whole[name], wanted, rtol=1e-3, atol=1e-5, err_msg=name)
        else:
            assert not wanted.any(), name


def test_the_box_losses_teach_encoder_and_boxes_and_the_reward_the_encoder_alone():
    with_boxes, without, _ = gradients()
    for name, by_reward in without.items():
        if name.startswith("regression/"):
            assert not by_reward.any(), name  # a constant of the reward
        elif name.startswith("encoder/"):
            assert by_reward.any(), name
            assert not np.allclose(by_reward, with_boxes[name], rtol=1e-2, atol=0), name
    assert with_boxes["regression/size/out/kernel"].any() and not with_boxes["regression/center/out/kernel"].any()


def test_what_cannot_be_is_one_line():
    with pytest.raises(UserError, match="config.rl.train is 'all': closed-loop rollouts") as error:
        relo_config.validate(config(train="all", rollout="closed_loop", estimator="reinforce"))
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="config.rl.train_blocks is 4, but the encoder has 3 main blocks"):
        state.create_state(config(train="last_blocks", train_blocks=4), variables(), jax.random.key(0))
    with pytest.raises(UserError, match="at least 1"):
        relo_config.validate(config(train="last_blocks", train_blocks=0))
