"""The warm-up: loss and gradients equal the release's; the centre map is trained and measured like a policy."""

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
from relo_jax.train import rl, state, warmup
from tests.golden import release_arrays
from tests.train import tiny

BOXES = (0.0, 0.0, 0.5, 0.5), (0.4, 0.4, 0.8, 0.8)  # from, to; large enough for random networks to hit


def test_loss_and_gradients_equal_the_releases(fixtures):
    data = release_arrays(fixtures / "warmup_loss.npz")
    box = data["gt_boxes_xywh"]
    np.testing.assert_allclose(warmup.gaussian_heatmap(box, 8), data["heatmap"], atol=1e-6)

    cells = np.asarray(warmup.gaussian_heatmap(box, 8, peak="cell")).reshape(*box.shape[:-1], -1)
    np.testing.assert_array_equal(cells.argmax(-1), act.center_action(box, 8))
    np.testing.assert_array_equal(cells.max(-1), 1.0)

    def loss(size, offset, center):
        options = dict(giou_weight=2.0, l1_weight=5.0, center_focal_weight=1.0, decode_at="argmax")
        return warmup.warmup_loss(size, offset, center, box, **options)

    maps = data["size_map"], data["offset_map"], data["score_map"][..., 0]
    (total, metrics), gradients = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(*maps)
    np.testing.assert_allclose(total, data["total_loss"], rtol=1e-5)
    np.testing.assert_allclose(metrics["giou_loss"], data["giou"].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["l1_loss"], data["l1"].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["center_loss"], data["focal"].mean(), rtol=1e-5)
    for ours, name in zip(gradients, ("grad_size", "grad_offset", "grad_score"), strict=True):
        np.testing.assert_allclose(ours, data[name].reshape(ours.shape), rtol=1e-5, atol=1e-6)


def test_the_focal_loss_of_groups_is_the_mean_of_theirs():
    """Each divides by its own peaks: a centre outside the crop has none."""
    rng = np.random.default_rng(3)
    center = jnp.asarray(rng.uniform(0.1, 0.9, (4, 2, 8, 8)), jnp.float32)
    box = jnp.asarray(rng.uniform(0.2, 0.5, (4, 2, 4)), jnp.float32).at[0, 1, 0].set(2.0)
    maps = jnp.zeros((4, 2, 8, 8, 2))
    weights = dict(giou_weight=2.0, l1_weight=5.0, center_focal_weight=1.0, decode_at="argmax")

    @jax.jit
    def center_losses(maps, center, box):
        loss = lambda a, b, group: warmup.warmup_loss(
            maps[a:b], maps[a:b], center[a:b], box[a:b], **weights, group=group
        )[1]["center_loss"]
        return loss(0, 4, 2), (loss(0, 2, 0) + loss(2, 4, 0)) / 2, loss(0, 4, 0)

    of_groups, mean, of_batch = center_losses(maps, center, box)
    np.testing.assert_allclose(of_groups, mean, rtol=1e-6)
    assert abs(of_batch - mean) > 1e-3


def test_the_papers_warm_up_trains_only_the_box_at_the_true_centre(fixtures):
    data = release_arrays(fixtures / "warmup_loss.npz")
    box = data["gt_boxes_xywh"]
    options = dict(giou_weight=2.0, l1_weight=5.0, center_focal_weight=0.0, decode_at="center")
    loss = lambda size: warmup.warmup_loss(size, data["offset_map"], None, box, **options)[0]
    gradient = np.asarray(jax.jit(jax.grad(loss))(data["size_map"]))
    touched = np.abs(gradient).sum(-1).reshape(*gradient.shape[:2], -1)
    np.testing.assert_array_equal(touched.argmax(-1), act.center_action(jnp.asarray(box), 8))
    assert ((touched > 0).sum(-1) == 1).all()


@pytest.fixture(scope="module")
def model():
    return tiny.model(depth=1, search_size=64, drop_path=0.5)


@pytest.fixture(scope="module")
def variables(model):
    """Random ones from NumPy, so that nothing is compiled for them."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if path[-1].key in ("scale", "var", "gamma1", "gamma2"):
            return jnp.ones(leaf.shape)
        spread = 0.1 if leaf.ndim == 1 else np.prod(leaf.shape[:-1]) ** -0.5
        return jnp.asarray(rng.normal(0, spread, leaf.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, abstract_variables(model))


@pytest.fixture(scope="module")
def batch():
    return tiny.batch(3, 3, search_size=64, seed=1, boxes=BOXES)


def center_config(**rl_fields):
    config = config_lib.base()
    config.total_steps, config.init_from = 100, "runs/warmup"
    config.warmup.update(train="center", center_focal_weight=2.0)
    config.optimizer.learning_rate = 1e-2
    config.rl.update(path="frame", **rl_fields)
    config_lib.validate(config)
    return config


def test_training_the_centre_map_leaves_everything_else_equal_to_the_bit(model, variables, batch):
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


def test_centre_map_and_policy_have_the_same_metrics_on_the_same_frames(model, variables, batch):
    """With the same network for both towers, the held-out metrics of the two stages are equal."""
    twin = {name: {**tree, "policy": tree["regression"]["center"]} for name, tree in variables.items()}
    config = center_config()
    of_map = warmup.make_eval(model, config)(twin, batch)
    of_policy = rl.make_eval(model, config)(twin, batch)
    for name in ("iou", "auc"):
        np.testing.assert_allclose(of_map[f"argmax_{name}"], of_policy[f"greedy_{name}"], rtol=1e-5)
    assert 0 < of_map["argmax_auc"] < 1


def test_the_auc_at_the_peak_equals_the_rewards():
    rng = np.random.default_rng(2)
    draw = lambda low, high, *shape: jnp.asarray(rng.uniform(low, high, (2, 5, *shape)), jnp.float32)
    size, offset = draw(0.1, 0.6, 4, 4, 2), draw(0.2, 0.8, 4, 4, 2)
    center, box = draw(0.1, 0.9, 4, 4), draw(0.2, 0.5, 4)
    options = dict(giou_weight=2.0, l1_weight=5.0, center_focal_weight=0.0, decode_at="center")
    _, metrics = warmup.warmup_loss(size, offset, center, box, **options)
    iou = rl.frame_iou(size, offset, act.greedy(center.reshape(2, 5, 16)), box)
    np.testing.assert_allclose(metrics["argmax_auc"], np.mean([reward.clip_auc(one) for one in iou]), rtol=1e-6)
    np.testing.assert_allclose(metrics["argmax_iou"], iou.mean(), rtol=1e-6)


def test_impossible_configs_of_a_centre_map_are_refused():
    config = center_config()
    config.init_from = ""
    with pytest.raises(UserError, match="name a finished warm-up with config.init_from"):
        config_lib.validate(config)
    with pytest.raises(UserError, match="config.rl.rollout is 'closed_loop'"):
        center_config(rollout="closed_loop")
    config = config_lib.paper("rl")
    config.model.localizer = "heatmap"
    with pytest.raises(UserError, match="config.model.localizer is 'heatmap', but the RL stage trains a policy"):
        config_lib.validate(config)
