"""The RL stage: loss and gradients equal the release's, an update changes only what is trained, the reward teaches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax import config as config_lib
from relo_jax.errors import UserError
from relo_jax.mdp import action as act
from relo_jax.mdp import reward
from relo_jax.profiling.flops import matmul_flops
from relo_jax.train import features, rl, state, warmup
from tests.golden import release_arrays
from tests.train import tiny

CLIPS, FRAMES = 4, 3
SIZES = dict(search_size=64, drop_path=0.1)
clips = functools.partial(tiny.batch, CLIPS, FRAMES, search_size=64)


@pytest.mark.parametrize("kind", ["raw", "normalized"])
def test_loss_and_gradients_equal_the_releases(fixtures, kind):
    data = release_arrays(fixtures / "rl_loss.npz")
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
def updated(stage, steps=2, **rl_fields):
    """State and metrics after some updates on one batch."""
    run = config(stage, **rl_fields)
    current, tx = state.create_state(run, jax.tree.map(jnp.asarray, tiny.variables(**SIZES)), jax.random.key(3))
    step = {"warmup": warmup, "rl": rl}[stage].make_step(tiny.model(**SIZES), run, tx)
    history = []
    for _ in range(steps):
        current, metrics = step(current, clips())
        history.append(jax.device_get(metrics))
    return jax.device_get(state.variables_of(current)), jax.device_get(current), history


@pytest.mark.parametrize(("stage", "frozen"), [("warmup", ("policy", "value")), ("rl", ("encoder", "regression"))])
def test_a_stage_leaves_frozen_parts_equal_to_the_bit(stage, frozen):
    after, _, history = updated(stage)
    assert all(row["finite"] for row in history)
    for collection in ("params", "batch_stats"):
        for name, before in tiny.variables(**SIZES)[collection].items():
            same = jax.tree.map(np.array_equal, before, after[collection][name])
            if name in frozen:
                assert all(jax.tree.leaves(same))
            else:
                assert not all(jax.tree.leaves(same))


def test_the_optimiser_has_no_moments_of_frozen_parts():
    _, current, _ = updated("rl")
    moments = [x.size for x in jax.tree.leaves(current.opt_state) if x.ndim]
    assert sum(moments) == 2 * sum(x.size for x in jax.tree.leaves(current.params))


def test_clip_path_and_frame_path_give_the_same_update():
    _, clip_state, (by_clip,) = updated("rl", steps=1, path="clip")
    _, frame_state, (by_frame,) = updated("rl", steps=1, path="frame")
    for name in by_clip:
        np.testing.assert_allclose(by_clip[name], by_frame[name], rtol=1e-4, atol=1e-5)
    # Adam's moments and not the parameters: Adam divides by the gradient's size, and where the gradient is rounding (a
    # bias before a batch norm) the direction of the step is arbitrary.
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6)
    jax.tree.map(close, clip_state.opt_state, frame_state.opt_state)
    jax.tree.map(close, clip_state.batch_stats, frame_state.batch_stats)


def test_a_frozen_clip_needs_the_last_block_only_for_the_heads():
    """Features and boxes stay the same: nothing reads the template and temporal tokens of the last block."""
    run = config("rl", path="clip")
    lean, whole = (
        lambda variables, encode=encode: encode(tiny.model(**SIZES), run, variables, clips(), None)
        for encode in (features.encode, features.encode_with_gradient)
    )
    ours, expected = jax.jit(lambda variables: (lean(variables), whole(variables)))(tiny.variables(**SIZES))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), ours, expected)
    # 16 search, 4 template and 2 temporal tokens of width 32 need q, out and three matrices of three times the width;
    # attention has the 22 tokens and the 2 of the last frame as keys.
    unread, keys, width = 4 + 2, 22 + 2, 32
    saved = 2 * unread * (11 * width**2 + 2 * keys * width)
    assert (
        matmul_flops(whole, tiny.variables(**SIZES)) - matmul_flops(lean, tiny.variables(**SIZES))
        == CLIPS * FRAMES * saved
    )


def test_drop_path_in_the_frozen_encoder_is_optional():
    plain, dropped = (updated("rl", path=path, drop_path=True)[2][0]["loss"] for path in ("clip", "frame"))
    assert np.isfinite([plain, dropped]).all()
    assert updated("rl", path="clip")[2][0]["loss"] not in (plain, dropped)


@pytest.mark.parametrize("estimator", ["reinforce", "rloo", "expected"])
def test_the_reward_alone_teaches_localisation(estimator):
    history = updated("rl", steps=60, estimator=estimator)[2]
    early, late = (np.mean([row["iou"] for row in rows]) for rows in (history[:10], history[-10:]))
    assert late > early + 0.05
    assert history[-1]["entropy"] < history[0]["entropy"]
    assert history[-1]["value_loss"] < history[0]["value_loss"]  # part of a frame's score in tracking


def test_the_entropy_bonus_lowers_the_loss_and_keeps_the_policy_broad():
    bonus = updated("rl", steps=60, estimator="expected", entropy_weight=2.0, entropy_weight_end=1.0)[2]
    plain = updated("rl", steps=60, estimator="expected")[2]
    np.testing.assert_allclose(bonus[0]["loss"], plain[0]["loss"] - 2 * plain[0]["entropy"], rtol=1e-5)
    for step, row in enumerate(bonus):
        losses = row["policy_loss"] + 0.5 * row["value_loss"]
        np.testing.assert_allclose(row["loss"], losses - (2 - step / 100) * row["entropy"], rtol=1e-4)
    assert bonus[-1]["entropy"] > plain[-1]["entropy"] + 0.5


def test_the_weight_of_the_entropy_bonus_changes_linearly():
    config = config_lib.paper("rl")
    config.total_steps, config.rl.entropy_weight, config.rl.entropy_weight_end = 10, 0.4, 0.1
    logits = jnp.asarray(np.random.default_rng(5).normal(size=(2, 3, 16)), jnp.float32)
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
def test_bad_fields_of_the_section_rl_are_refused_in_one_line(changes, message):
    config = config_lib.paper("rl")
    config.rl.update(changes)
    with pytest.raises(UserError, match=message) as error:
        config_lib.validate(config)
    assert "\n" not in str(error.value)


def test_a_step_that_is_not_finite_changes_nothing():
    run = config("warmup")
    current, tx = state.create_state(run, jax.tree.map(jnp.asarray, tiny.variables(**SIZES)), jax.random.key(3))
    before = jax.device_get(current)
    step = warmup.make_step(tiny.model(**SIZES), run, tx)
    boxes = clips()["search_boxes_xywh"].copy()
    boxes[1, 2, 0] = np.nan
    after, metrics = step(current, clips() | {"search_boxes_xywh": boxes})
    assert not metrics["finite"]
    same = jax.tree.map(np.array_equal, (before.params, before.opt_state, before.batch_stats, before.step),
                        jax.device_get((after.params, after.opt_state, after.batch_stats, after.step)))  # fmt: skip
    assert all(jax.tree.leaves(same))
