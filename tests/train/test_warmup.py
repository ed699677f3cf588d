"""The centre map as the policy's opponent: trained alone, on what the policy sees, and measured as the policy is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from relo_jax import config as config_lib
from relo_jax.checkpoints.pytorch.parameter_map import abstract_variables
from relo_jax.errors import UserError
from relo_jax.mdp import action as act
from relo_jax.mdp import reward
from relo_jax.model import RELO
from relo_jax.train import rl, state, warmup

CLIPS, FRAMES = 3, 3
BOXES = (0.0, 0.0, 0.5, 0.5), (0.4, 0.4, 0.8, 0.8)  # from, to; large enough for random networks to hit


@pytest.fixture(scope="module")
def model():
    return RELO.from_variant(
        "tiny", width=32, heads=2, depth=1, head_width=16, search_size=64, template_size=32, drop_path=0.5
    )


@pytest.fixture(scope="module")
def variables(model):
    """Random ones; made by numpy, so that nothing is compiled for them."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if path[-1].key in ("scale", "var", "gamma1", "gamma2"):
            return jnp.ones(leaf.shape)
        spread = 0.1 if leaf.ndim == 1 else np.prod(leaf.shape[:-1]) ** -0.5
        return jnp.asarray(rng.normal(0, spread, leaf.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, abstract_variables(model))


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(1)
    images = lambda *shape: jnp.asarray(rng.integers(0, 256, (CLIPS, *shape, 3), dtype=np.uint8))
    return {
        "template_images": images(1, 32, 32),
        "template_boxes_xywh": jnp.asarray([[[0.25, 0.25, 0.5, 0.5]]] * CLIPS),
        "search_images": images(FRAMES, 64, 64),
        "search_boxes_xywh": jnp.asarray(rng.uniform(*BOXES, (CLIPS, FRAMES, 4)), jnp.float32),
    }


def center_config(**rl_fields):
    config = config_lib.base()
    config.total_steps, config.init_from = 100, "runs/warmup"
    config.warmup.update(train="center", center_focal_weight=2.0)
    config.optimizer.learning_rate = 1e-2
    config.rl.update(path="frame", **rl_fields)
    config_lib.validate(config)
    return config


def test_training_the_centre_map_leaves_all_else_to_the_bit(model, variables, batch):
    config = center_config()
    # A copy: the step donates its buffers.
    current, tx = state.create_state(config, jax.tree.map(jnp.copy, variables), jax.random.key(0))
    step, history = warmup.make_step(model, config, tx), []
    for _ in range(2):
        current, metrics = step(current, batch)
        history.append(jax.device_get(metrics))
    after = state.variables_of(current)
    for collection in ("params", "batch_stats"):
        before, now = (flatten_dict(tree[collection], sep="/") for tree in (variables, after))
        moved = {name for name in before if (before[name] != now[name]).any()}
        assert moved == {name for name in before if name.startswith("regression/center/")}
    first, second = history
    np.testing.assert_allclose(first["loss"], 2 * first["center_loss"], rtol=1e-6)
    assert second["loss"] < first["loss"] and second["giou_loss"] == first["giou_loss"]


def test_heat_map_and_policy_are_measured_alike_on_the_same_frames(model, variables, batch):
    """With one network for both towers the two stages' held-out metrics are the same numbers."""
    twin = {name: {**tree, "policy": tree["regression"]["center"]} for name, tree in variables.items()}
    config = center_config()
    of_map = warmup.make_eval(model, config)(twin, batch)
    of_policy = rl.make_eval(model, config)(twin, batch)
    for name in ("iou", "auc"):
        np.testing.assert_allclose(of_map[f"argmax_{name}"], of_policy[f"greedy_{name}"], rtol=1e-5)
    assert 0 < of_map["argmax_auc"] < 1


def test_the_auc_at_the_peak_is_that_of_the_reward():
    rng = np.random.default_rng(2)
    size, offset = rng.uniform(0.1, 0.6, (2, 5, 4, 4, 2)), rng.normal(0.5, 0.2, (2, 5, 4, 4, 2))
    center, box = rng.uniform(0.1, 0.9, (2, 5, 4, 4)), rng.uniform(0.2, 0.5, (2, 5, 4))
    options = dict(giou_weight=2.0, l1_weight=5.0, center_focal_weight=0.0, decode_at="center")
    _, metrics = warmup.warmup_loss(size, offset, center, box, **options)
    iou = rl.frame_iou(size, offset, act.greedy(jnp.asarray(center).reshape(2, 5, 16)), box)
    np.testing.assert_allclose(metrics["argmax_auc"], np.mean([reward.clip_auc(one) for one in iou]), rtol=1e-6)
    np.testing.assert_allclose(metrics["argmax_iou"], iou.mean(), rtol=1e-6)


def test_what_a_centre_map_cannot_be_trained_on_is_refused():
    config = center_config()
    config.init_from = ""
    with pytest.raises(UserError, match="give a warm-up to start from with config.init_from"):
        config_lib.validate(config)
    with pytest.raises(UserError, match="config.rl.rollout is 'closed_loop'"):
        center_config(rollout="closed_loop")
    config = config_lib.paper("rl")
    config.model.localizer = "heatmap"
    with pytest.raises(UserError, match="config.model.localizer is 'heatmap', but the RL stage trains a policy"):
        config_lib.validate(config)
