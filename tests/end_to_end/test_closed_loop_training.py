"""The RL stage in the closed loop: the same losses, on the regions that the policy's own actions lead to."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from relo_jax import config as relo_config
from relo_jax.data.clips import pipeline
from relo_jax.errors import UserError
from relo_jax.geometry.boxes import clip_box_xywh, cxcywh_to_xywh
from relo_jax.geometry.crop import box_from_crop, crop_windows
from relo_jax.mdp import action as act
from relo_jax.mdp import reward
from relo_jax.train import mesh, rl, state
from relo_jax.train.features import encode
from tests.mdp.closed_loop import FRAMES, SIZE, batch_of, drifting, plans
from tests.train import tiny

CLIPS = 8


@functools.cache
def model():
    return tiny.model(search_size=SIZE)


@functools.cache
def variables():
    """Fresh weights; the boxes are a fifth of the region, about the target's size, instead of half of it."""
    fresh = jax.tree.map(lambda x: x, tiny.variables(search_size=SIZE))
    fresh["params"]["regression"]["size"]["out"]["bias"] = np.full(2, np.log(0.2 / 0.8), np.float32)
    return fresh


def config(**fields):
    made = relo_config.paper("rl")
    made.batch_size, made.total_steps, made.rl.rollout = CLIPS, 100, "closed_loop"
    made.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return made


@pytest.fixture(scope="module")
def sequence(natural_image):
    return drifting(natural_image)


@pytest.fixture(scope="module")
def batch(sequence):
    return batch_of(sequence, plans(sequence, CLIPS, closed_loop=True, scale_jitter=0.1, shift_jitter=1.0))


@pytest.fixture(scope="module")
def frames(batch):
    """Features of the batch, with sampled actions."""
    encode_clips = jax.jit(lambda variables, batch, key: encode(model(), config(), variables, batch, None, key))
    return encode_clips(variables(), batch, jax.random.key(6))


def regions(batch, frames):
    """The boxes that the regions were cut around, `[B, T, 4]`, computed on the host from action to action."""
    center = np.array(batch["start_box_xywh"])
    centers = []
    for t in range(FRAMES):
        centers.append(center)
        box = np.array(act.decode_boxes(frames.size[:, t], frames.offset[:, t], frames.action[:, t]))
        box[:, 0] = np.where(batch["flips"][:, t], 1 - box[:, 0], box[:, 0])
        side = crop_windows(center, 4.0)[:, 2:].astype(np.float32)
        center = clip_box_xywh(box_from_crop(box, center, SIZE / side, SIZE), 240, 320)
    return np.stack(centers, 1)


def on_canvas(batch, centers):
    """Which regions lie entirely on their canvas, `[B, T]`; beyond it they are black."""
    window, canvas = crop_windows(centers, 4.0), np.asarray(batch["canvas_windows"])
    low, high = window[..., :2] - canvas[..., :2], window[..., :2] + window[..., 2:] - canvas[..., :2]
    return ((low >= 0) & (high < canvas[..., 2:])).all(-1)


def test_a_clip_equals_the_teacher_forced_one_with_the_policys_boxes_as_jitter(sequence, batch, frames):
    """Regions cut on the host from whole frames and encoded as a teacher-forced clip give the same maps and boxes."""
    teacher = plans(sequence, CLIPS, scale_jitter=0.1, shift_jitter=1.0)
    for plan, centers in zip(teacher, regions(batch, frames), strict=True):
        plan.crop_center_xywh[1:] = centers
    run = config(rl__rollout="teacher_forced", rl__path="frame")
    forced = jax.jit(lambda batch: encode(model(), run, variables(), batch))(batch_of(sequence, teacher))
    same = np.logical_and.accumulate(on_canvas(batch, regions(batch, frames)), 1)  # tokens remember earlier regions
    assert (same <= np.asarray(frames.alive)).all() and same[:, 2:].sum() > CLIPS / 2
    for name in ("features", "size", "offset", "box_xywh"):
        ours, theirs = (np.asarray(getattr(x, name))[same] for x in (frames, forced))
        np.testing.assert_allclose(ours, theirs, atol=2e-4, err_msg=name)


def test_lost_frames_have_no_reward_and_lower_the_clips_auc():
    rng = np.random.default_rng(0)
    maps = lambda low, high: jnp.asarray(rng.uniform(low, high, (1, 4, 4, 4, 2)), jnp.float32)
    size, offset, action = maps(0.3, 0.5), maps(0, 1), jnp.full((1, 4), 5)
    box = cxcywh_to_xywh(act.decode_boxes(size, offset, action))  # all hit
    alive = jnp.asarray([[True, True, True, False]])
    _, metrics = rl.rl_loss(jnp.zeros((1, 4, 16)), jnp.zeros((1, 4)), size, offset, action, box, config().rl, alive)
    auc = reward.clip_auc(jnp.asarray([0.999, 0.999, 0.999, 0.0]))
    np.testing.assert_allclose(metrics["reward"], 3 / 4 * (1 + auc), rtol=1e-4)
    np.testing.assert_allclose([metrics["iou"], metrics["auc"], metrics["lost"]], [0.75, auc, 0.25], rtol=1e-4)


def test_the_target_outside_the_region_counts_too():
    """The box fills the region and the target is twice as wide; in a teacher-forced clip that is a hit."""
    size, offset = jnp.full((1, 1, 1, 1, 2), 1.0), jnp.full((1, 1, 1, 1, 2), 0.5)
    box, action = jnp.asarray([[[0.0, 0.0, 2.0, 1.0]]]), jnp.zeros((1, 1), jnp.int32)
    assert float(rl.frame_iou(size, offset, action, box)[0, 0]) == 1.0
    assert float(rl.frame_iou(size, offset, action, box, jnp.ones((1, 1), bool))[0, 0]) == 0.5


def test_no_gradient_comes_from_lost_frames(batch, frames):
    """The canvas after the end of an episode changes nothing, to the bit; before it, it does."""
    lost = ~np.asarray(frames.alive)
    assert lost.any() and not lost[:, :2].any()
    heads = {name: variables()["params"][name] for name in ("policy", "value")}

    @jax.jit
    def gradient(canvases):
        features = encode(model(), config(), variables(), batch | {"canvas_images": canvases}, None, jax.random.key(6))
        loss = lambda heads: rl.heads_loss(model(), config(), heads, variables()["batch_stats"], features, None, 0)
        return jax.grad(loss, has_aux=True)(heads)

    canvases = np.asarray(batch["canvas_images"])
    other = np.where(lost[..., None, None, None], 255 - canvases, canvases)
    before, changed = gradient(canvases), gradient(other)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, before, changed)))
    other[0, 0] = 255 - other[0, 0]
    assert not np.array_equal(gradient(other)[0]["policy"]["out"]["kernel"], before[0]["policy"]["out"]["kernel"])


@functools.cache
def step_of(devices, parts):
    run = config(accumulate_steps=parts, rl__entropy_weight=0.01)
    where = mesh.make_mesh(run, jax.devices()[:devices])
    with jax.set_mesh(where):
        return run, where, rl.make_step(model(), run, state.optimizer(run))


def run_steps(batch, steps, devices=1, parts=1):
    run, where, step = step_of(devices, parts)
    history = []
    with jax.set_mesh(where):
        current = state.create_state(run, jax.tree.map(jnp.asarray, variables()), jax.random.key(3))[0]
        current = jax.device_put(current, NamedSharding(where, PartitionSpec()))
        placed = mesh.place(batch, where)
        for _ in range(steps):
            current, metrics = step(current, placed)
            history.append(metrics)
    return jax.device_get(history)


def test_a_run_is_reproducible_and_each_step_samples_anew(batch):
    one, again = run_steps(batch, 3), run_steps(batch, 3)
    assert one == again and step_of(1, 1)[2]._cache_size() == 1  # compiled once
    assert all(row["finite"] and 0 <= row["lost"] < 1 for row in one)
    assert len({float(row["iou"]) for row in one}) == 3


def test_devices_and_parts_change_nothing(batch):
    one, spread = run_steps(batch, 2), run_steps(batch, 2, devices=4, parts=2)
    for name in ("loss", "grad_norm", "iou", "lost"):
        np.testing.assert_allclose([row[name] for row in one], [row[name] for row in spread], rtol=1e-4, err_msg=name)


def test_the_pipeline_gives_canvases_and_the_evaluation_acts_greedily():
    run = config(batch_size=2, data__workers=0, rl__clip_length=3, data__max_gap=4)
    clip = next(pipeline.make_dataset(run, model().config, train=False).starting_at(0))
    assert clip["canvas_images"].shape == (2, 3, 2 * SIZE, 2 * SIZE, 3) and "search_images" not in clip
    clip = {name: clip[name] for name in clip if name not in ("index", "dataset", "failed", "note")}
    evaluate = rl.make_eval(model(), run)
    metrics = evaluate(variables(), clip)
    assert set(metrics) == {"greedy_iou", "greedy_auc", "lost"}
    assert metrics == evaluate(variables(), clip)
    run = config(batch_size=2, data__workers=0, rl__rollout="teacher_forced")
    assert "search_images" in next(pipeline.make_dataset(run, model().config).starting_at(0))


@pytest.mark.parametrize("estimator", ["rloo", "expected"])
def test_estimators_that_need_all_rewards_are_refused(estimator):
    with pytest.raises(UserError, match=f"config.rl.estimator is '{estimator}': in the closed loop") as error:
        relo_config.validate(config(rl__estimator=estimator))
    assert "\n" not in str(error.value)
    relo_config.validate(config())
