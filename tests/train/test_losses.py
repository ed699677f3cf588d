"""Losses and their gradients equal the release's; an update touches what its stage trains, and nothing else."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax import config as config_lib
from relo_jax.mdp import action as act
from relo_jax.mdp import reward
from relo_jax.model import RELO, init_variables
from relo_jax.profiling.flops import matmul_flops
from relo_jax.train import features, rl, state, warmup

CLIPS, FRAMES = 4, 3


def golden(fixtures, name):
    """The release's arrays, frames after clips and channels last."""
    data = dict(np.load(fixtures / name))
    order = lambda x: np.moveaxis(np.swapaxes(x, 0, 1), 2, -1) if x.ndim == 5 else np.swapaxes(x, 0, 1)
    return {k: order(x) if x.ndim > 1 else x for k, x in data.items()}


def test_warm_up_loss_and_gradients_are_the_releases(fixtures):
    data = golden(fixtures, "warmup_loss.npz")
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


def test_the_papers_warm_up_looks_at_the_true_centre_only(fixtures):
    data = golden(fixtures, "warmup_loss.npz")
    box = data["gt_boxes_xywh"]
    options = dict(giou_weight=2.0, l1_weight=5.0, center_focal_weight=0.0, decode_at="center")
    loss = lambda size: warmup.warmup_loss(size, data["offset_map"], None, box, **options)[0]
    gradient = np.asarray(jax.jit(jax.grad(loss))(data["size_map"]))
    touched = np.abs(gradient).sum(-1).reshape(*gradient.shape[:2], -1)
    np.testing.assert_array_equal(touched.argmax(-1), act.center_action(jnp.asarray(box), 8))
    assert ((touched > 0).sum(-1) == 1).all()


@pytest.mark.parametrize("kind", ["raw", "normalized"])
def test_rl_loss_and_gradients_are_the_releases(fixtures, kind):
    data = golden(fixtures, "rl_loss.npz")
    fields = config_lib.base().rl
    fields.normalize_advantage = kind == "normalized"
    size, offset, action = data["size_map"], data["offset_map"], data["actions"].astype(np.int32)
    box = data["gt_boxes_xywh"]
    np.testing.assert_allclose(act.decode_boxes(size, offset, action), data["boxes_cxcywh"], atol=1e-6)
    iou = rl.frame_iou(size, offset, action, box)
    np.testing.assert_allclose(iou, data["iou"], atol=1e-6)
    np.testing.assert_allclose(reward.clip_auc(iou), data["auc"], rtol=1e-5)

    def loss(logits, value):
        return rl.rl_loss(logits, value, size, offset, action, box, fields)

    run = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (total, metrics), (by_logits, by_value) = run(data["policy_logits"], data["values"])
    np.testing.assert_allclose(total, data[f"{kind}_total_loss"], rtol=1e-5)
    np.testing.assert_allclose(metrics["policy_loss"], data[f"{kind}_policy_loss"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(metrics["value_loss"], data[f"{kind}_value_loss"], rtol=1e-5)
    np.testing.assert_allclose(by_logits, data[f"{kind}_grad_logits"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(by_value, data[f"{kind}_grad_values"], rtol=1e-5, atol=1e-7)


def config(stage, **rl_fields):
    made = config_lib.base()
    made.stage, made.total_steps = stage, 100
    made.optimizer.learning_rate = made.optimizer.encoder_learning_rate = 1e-2
    made.warmup.center_focal_weight = 1.0
    made.rl.update(rl_fields)
    return made


@functools.cache
def model():
    return RELO.from_variant(
        "tiny", width=32, heads=2, depth=2, head_width=16, search_size=64, template_size=32, drop_path=0.1
    )


@functools.cache
def variables():
    return jax.device_get(init_variables(model(), jax.random.key(0)))


def batch():
    rng = np.random.default_rng(0)
    images = lambda *shape: jnp.asarray(rng.integers(0, 256, (CLIPS, *shape, 3), dtype=np.uint8))
    return {
        "template_images": images(1, 32, 32),
        "template_boxes_xywh": jnp.asarray([[[0.25, 0.25, 0.5, 0.5]]] * CLIPS),
        "search_images": images(FRAMES, 64, 64),
        "search_boxes_xywh": jnp.asarray(rng.uniform(0.2, 0.5, (CLIPS, FRAMES, 4)), jnp.float32),
    }


@functools.cache
def updated(stage, steps=2, **rl_fields):
    """State and metrics after some updates on one batch."""
    run = config(stage, **rl_fields)
    current, tx = state.create_state(run, jax.tree.map(jnp.asarray, variables()), jax.random.key(3))
    step = {"warmup": warmup, "rl": rl}[stage].make_step(model(), run, tx)
    history = []
    for _ in range(steps):
        current, metrics = step(current, batch())
        history.append(jax.device_get(metrics))
    return jax.device_get(state.variables_of(current)), jax.device_get(current), history


@pytest.mark.parametrize(("stage", "frozen"), [("warmup", ("policy", "value")), ("rl", ("encoder", "regression"))])
def test_what_a_stage_does_not_train_keeps_every_bit(stage, frozen):
    after, _, history = updated(stage)
    assert all(row["finite"] for row in history)
    for collection in ("params", "batch_stats"):
        for name, before in variables()[collection].items():
            same = jax.tree.map(np.array_equal, before, after[collection][name])
            if name in features:
                assert all(jax.tree.leaves(same))
            else:
                assert not all(jax.tree.leaves(same))


def test_the_optimiser_holds_nothing_of_what_is_frozen():
    _, current, _ = updated("rl")
    moments = [x.size for x in jax.tree.leaves(current.opt_state) if x.ndim]
    assert sum(moments) == 2 * sum(x.size for x in jax.tree.leaves(current.params))


def test_clip_path_and_frame_path_give_the_same_update():
    _, clip_state, (by_clip,) = updated("rl", steps=1, path="clip")
    _, frame_state, (by_frame,) = updated("rl", steps=1, path="frame")
    for name in by_clip:
        np.testing.assert_allclose(by_clip[name], by_frame[name], rtol=1e-4, atol=1e-5)
    # Adam's moments, not the parameters: it divides by the gradient's size, and where that is nothing but rounding
    # (a bias before a batch norm) so is the direction of the step.
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6)
    jax.tree.map(close, clip_state.opt_state, frame_state.opt_state)
    jax.tree.map(close, clip_state.batch_stats, frame_state.batch_stats)


def test_of_the_last_block_a_frozen_clip_takes_what_the_heads_read():
    """The same features and boxes; template and temporal tokens are looked at in the last block, and go no further."""
    run = config("rl", path="clip")
    lean, whole = (
        lambda variables, encode=encode: encode(model(), run, variables, batch(), None)
        for encode in (features.encode, features.encode_with_gradient)
    )
    found, expected = jax.jit(lambda variables: (lean(variables), whole(variables)))(variables())
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, expected)
    # 16 search, 4 template and 2 temporal tokens, width 32; q, out and three matrices of three times the width; and the
    # products of attention, whose keys are the 22 and the last frame's 2.
    unread, keys, width = 4 + 2, 22 + 2, 32
    saved = 2 * unread * (11 * width**2 + 2 * keys * width)
    assert matmul_flops(whole, variables()) - matmul_flops(lean, variables()) == CLIPS * FRAMES * saved


def test_drop_path_in_the_frozen_encoder_is_a_choice():
    plain, dropped = (updated("rl", path=path, drop_path=True)[2][0]["loss"] for path in ("clip", "frame"))
    assert np.isfinite([plain, dropped]).all()
    assert updated("rl", path="clip")[2][0]["loss"] not in (plain, dropped)


@pytest.mark.parametrize("estimator", ["reinforce", "rloo", "expected"])
def test_the_reward_alone_teaches_where_to_look(estimator):
    history = updated("rl", steps=60, estimator=estimator)[2]
    early, late = (np.mean([row["iou"] for row in rows]) for rows in (history[:10], history[-10:]))
    assert late > early + 0.05
    assert history[-1]["entropy"] < history[0]["entropy"]
    assert history[-1]["value_loss"] < history[0]["value_loss"]  # what the score of a frame is made of


def test_the_entropy_bonus_is_taken_off_the_loss_and_keeps_the_policy_open():
    bonus = updated("rl", steps=60, estimator="expected", entropy_weight=2.0, entropy_weight_end=1.0)[2]
    plain = updated("rl", steps=60, estimator="expected")[2]
    np.testing.assert_allclose(bonus[0]["loss"], plain[0]["loss"] - 2 * plain[0]["entropy"], rtol=1e-5)
    for step, row in enumerate(bonus):
        losses = row["policy_loss"] + 0.5 * row["value_loss"]
        np.testing.assert_allclose(row["loss"], losses - (2 - step / 100) * row["entropy"], rtol=1e-4)
    assert bonus[-1]["entropy"] > plain[-1]["entropy"] + 0.5


def test_a_step_that_is_not_finite_changes_nothing():
    run = config("warmup")
    current, tx = state.create_state(run, jax.tree.map(jnp.asarray, variables()), jax.random.key(3))
    before = jax.device_get(current)
    step = warmup.make_step(model(), run, tx)
    bad = batch()
    bad["search_boxes_xywh"] = bad["search_boxes_xywh"].at[1, 2, 0].set(jnp.nan)
    after, metrics = step(current, bad)
    assert not metrics["finite"]
    same = jax.tree.map(np.array_equal, (before.params, before.opt_state, before.batch_stats, before.step),
                        jax.device_get((after.params, after.opt_state, after.batch_stats, after.step)))  # fmt: skip
    assert all(jax.tree.leaves(same))


def test_the_step_schedule_drops_once_and_the_cosine_ends_at_nothing():
    run = config("warmup")
    run.optimizer.warmup_steps = 4
    rate = state.learning_rate_schedule(run, 1.0)
    np.testing.assert_allclose([rate(0), rate(3), rate(79), rate(80), rate(99)], [0.25, 1, 1, 0.1, 0.1], rtol=1e-6)
    run.optimizer.schedule = "cosine"
    rate = state.learning_rate_schedule(run, 1.0)
    np.testing.assert_allclose([rate(0), rate(4), rate(52), rate(100)], [0, 1, 0.5, 0], atol=1e-6)
