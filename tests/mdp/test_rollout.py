"""Closed-loop rollouts: regions follow the chosen boxes by the tracker's geometry; off the canvas an episode ends."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.geometry.boxes import iou_xywh
from relo_jax.mdp import rollout
from tests.mdp.closed_loop import BOX, FRAMES, SIZE, batch_of, drifting, plans


@pytest.fixture(scope="module")
def sequence(natural_image):
    return drifting(natural_image)


def closed_loop_batch(sequence, count=6, **changes):
    return rollout.ClosedLoopBatch.of(batch_of(sequence, plans(sequence, count, closed_loop=True, **changes)))


def as_action(box_xywh, crop_center_xywh, side, flips):
    """A box in pixels as a policy's box: relative to the region, and mirrored with it."""
    center = lambda box: box[..., :2] + box[..., 2:] / 2
    place = (center(box_xywh) - center(crop_center_xywh)) / side[..., None] + 0.5
    place[..., 0] = np.where(flips, 1 - place[..., 0], place[..., 0])
    return np.concatenate([place, box_xywh[..., 2:] / side[..., None]], -1)


def given_boxes(memory, crops, box):
    """A policy that chooses the boxes of its inputs."""
    return memory, box, crops


cut = jax.jit(rollout.cut_regions, static_argnums=3)
run = jax.jit(lambda batch, boxes: rollout.rollout(given_boxes, 0, batch, boxes, SIZE))


def following_the_truth(batch):
    truth = np.asarray(batch.target_boxes_xywh, np.float64)
    centers = np.concatenate([np.asarray(batch.start_box_xywh)[:, None], truth[:, :-1]], 1)
    actions = as_action(truth, centers, np.full(truth.shape[:2], 4 * BOX), np.asarray(batch.flips))
    return run(batch, jnp.asarray(actions, jnp.float32))


def test_a_policy_that_follows_the_truth_gets_the_teacher_forced_regions(sequence):
    """Without jitter, with mirrored frames and regions beyond the border of the frame."""
    exact = dict(scale_jitter=0.0, shift_jitter=0.0)
    batch = closed_loop_batch(sequence, **exact)
    seen, episode = following_the_truth(batch)
    teacher = plans(sequence, 6, **exact)
    for plan in teacher:
        plan.crop_center_xywh[2:] = plan.boxes_xywh[1:-1]
    expected = batch_of(sequence, teacher)
    np.testing.assert_array_equal(seen, expected["search_images"])
    boxes = rollout.target_in_regions(batch, episode, SIZE)
    np.testing.assert_allclose(boxes, expected["search_boxes_xywh"], atol=1e-5)
    assert episode.alive.all() and batch.flips.any() and not batch.flips.all()
    np.testing.assert_allclose(episode.boxes_xywh, batch.target_boxes_xywh, atol=1e-3)
    assert (np.asarray(expected["search_images"]) == 0).all(-1).mean() > 0.01  # black, outside the frame


def test_a_mirrored_region_has_the_target_on_its_other_side(sequence):
    batch = closed_loop_batch(sequence)
    batch = batch.replace(target_boxes_xywh=batch.target_boxes_xywh * jnp.array([1, 1, 1, 0.4]))
    _, episode = following_the_truth(batch)
    box, mirrored = (rollout.target_in_regions(batch.replace(flips=batch.flips ^ flip), episode, SIZE)
                     for flip in (False, True))  # fmt: skip
    np.testing.assert_allclose(box[..., 0] + mirrored[..., 0] + box[..., 2], 1, atol=1e-6)
    np.testing.assert_array_equal(box[..., 1:], mirrored[..., 1:])
    assert np.ptp(box[..., 0]) > 0.01


def test_a_clip_equals_its_teacher_forced_twin(sequence):
    """It has the same frames, templates, augmentations and first region; a canvas has its target in the middle."""
    closed, forced = (batch_of(sequence, plans(sequence, 6, closed_loop=value)) for value in (True, False))
    for name in ("template_images", "template_boxes_xywh"):
        np.testing.assert_array_equal(closed[name], forced[name])
    batch = rollout.ClosedLoopBatch.of(closed)
    assert batch.canvas_images.shape == (6, FRAMES, 2 * SIZE, 2 * SIZE, 3)
    middle = batch.canvas_windows[..., :2] + batch.canvas_windows[..., 2:] / 2
    center = batch.target_boxes_xywh[..., :2] + batch.target_boxes_xywh[..., 2:] / 2
    assert np.abs(middle - center).max() <= 0.5
    crop, _, on_canvas = cut(batch.canvas_images[:, 0], batch.canvas_windows[:, 0], batch.start_box_xywh, SIZE)
    crop = jnp.where(batch.flips[:, 0, None, None, None], crop[:, :, ::-1], crop)
    inside = on_canvas & (batch.start_box_xywh[:, 2:].prod(-1) < BOX**2) & near(batch, center)
    assert inside.sum() >= 2
    np.testing.assert_array_equal(crop[inside], forced["search_images"][:, 0][inside])


def test_every_episode_starts_with_a_region_on_its_canvas(sequence):
    """The paper's jitter makes one region in forty larger than its canvas; it is shrunk, the others stay the same."""
    jitter = dict(scale_jitter=0.5, shift_jitter=3.5)
    closed, forced = (plans(sequence, 400, closed_loop=value, **jitter) for value in (True, False))
    count = 0
    for plan, twin in zip(closed, forced, strict=True):
        drawn, target = twin.crop_center_xywh[1], plan.boxes_xywh[1]
        large = np.sqrt(drawn[2:].prod()) > 0.99 * 2 * BOX
        count += large
        if large:
            factor = 0.99 * 2 * BOX / np.sqrt(drawn[2:].prod())
            middle = np.array([*(target[:2] + BOX / 2), 0, 0])
            np.testing.assert_allclose(plan.closed_loop.start_box_xywh - middle, factor * (drawn - middle), atol=1e-9)
        else:
            np.testing.assert_array_equal(plan.closed_loop.start_box_xywh, drawn)
    assert 0 < count < 40
    batch = rollout.ClosedLoopBatch.of(batch_of(sequence, closed))
    assert cut(batch.canvas_images[:, 0], batch.canvas_windows[:, 0], batch.start_box_xywh, SIZE)[2].all()


def near(batch, center):
    """Which first regions lie entirely on the canvas."""
    start = batch.start_box_xywh
    apart = jnp.abs(start[:, :2] + start[:, 2:] / 2 - center[:, 0]).max(-1)
    return apart + 2 * jnp.sqrt(start[:, 2:].prod(-1)) < 4 * BOX - 1


# Boxes on a canvas of 128 x 128 pixels that shows 256 x 256 of the frame, from (1000, 2000) on.
PLACES = {
    "in the middle": ((128, 128, 32), 128, True),
    "its centre on the left border": ((0, 128, 32), 128, True),
    "its centre a pixel of the canvas further left": ((-2, 128, 32), 128, False),
    "its centre on the right border": ((256, 128, 32), 128, False),
    "its centre above the canvas": ((128, -2, 32), 128, False),
    "its centre on the lower border": ((128, 256, 32), 128, False),
    "as large as the canvas": ((128, 128, 64), 256, True),
    "larger than the canvas": ((128, 128, 64.5), 258, False),
    "smaller than a pixel of the canvas": ((100, 90, 0.1), 2, True),
}


def test_a_region_is_on_its_canvas_with_its_centre_and_its_size():
    places, sides, there = zip(*PLACES.values(), strict=True)
    box = np.float32([[1000 + x - size / 2, 2000 + y - size / 2, size, size] for x, y, size in places])
    canvas = np.random.default_rng(0).integers(0, 256, (len(box), 128, 128, 3), np.uint8)
    window = np.float32([[1000, 2000, 256]] * len(box))
    crops, side, on_canvas = cut(canvas, window, box, 64)
    assert on_canvas.tolist() == list(there) and side.tolist() == list(sides)
    np.testing.assert_array_equal(crops[0], canvas[0, 32:96, 32:96])
    assert (crops[-1] == canvas[-1, 45, 50]).all()  # one pixel, enlarged


def test_a_bad_action_has_consequences(sequence):
    """After a step to the side, the next region lies there, and the target is no longer in its middle."""
    inside = dataclasses.replace(sequence, boxes_xywh=sequence.boxes_xywh - [80, 0, 0, 0])
    batch = closed_loop_batch(inside, scale_jitter=0.0, shift_jitter=0.0, flip=0.0, frame_flip=0.0)
    stay = np.tile(np.float32([0.5, 0.5, 0.25, 0.25]), (6, FRAMES, 1))
    aside = stay.copy()
    aside[:, 1, 0] = 0.75  # of a region 64 pixels wide
    (_, stayed), (_, went) = run(batch, jnp.asarray(stay)), run(batch, jnp.asarray(aside))
    np.testing.assert_allclose(went.crop_center_xywh[:, :2], stayed.crop_center_xywh[:, :2])
    np.testing.assert_allclose(went.crop_center_xywh[:, 2:, 0] - stayed.crop_center_xywh[:, 2:, 0], 16.0, atol=1e-3)
    before, after = (rollout.target_in_regions(batch, episode, SIZE) for episode in (stayed, went))
    np.testing.assert_allclose(before[:, 2:, 0] - after[:, 2:, 0], 16 / 63, atol=1e-3)


@pytest.mark.parametrize(
    "action",
    [
        [1.5, 0.5, 0.25, 0.25],  # 64 pixels to the right
        [0.5, 0.5, 0.99, 0.99],  # four times as large, so that the region exceeds the canvas
        [np.nan, 0.5, 0.25, 0.25],
        [3e38, 0.5, 0.25, 0.25],
    ],
    ids=["aside", "large", "nan", "far"],
)
def test_an_episode_ends_for_good_when_its_region_leaves_the_canvas(sequence, action):
    still = dataclasses.replace(sequence, boxes_xywh=np.tile(sequence.boxes_xywh[:1], (24, 1)))
    batch = closed_loop_batch(still, scale_jitter=0.0, shift_jitter=0.0, flip=0.0, frame_flip=0.0)
    actions = np.tile(np.float32([0.5, 0.5, 0.25, 0.25]), (6, FRAMES, 1))
    actions[:3, 1] = action
    seen, episode = run(batch, jnp.asarray(actions))
    np.testing.assert_array_equal(episode.alive, [[True, True, False, False, False]] * 3 + [[True] * FRAMES] * 3)
    lost = np.asarray(iou_xywh(episode.boxes_xywh, batch.target_boxes_xywh))
    assert (lost[3:] > 0.99).all() and seen.dtype == np.uint8


def test_a_target_that_enters_the_lost_region_does_not_revive_the_episode(sequence):
    batch = closed_loop_batch(sequence, scale_jitter=0.0, shift_jitter=0.0, flip=0.0, frame_flip=0.0)
    actions = jnp.asarray(np.tile(np.float32([-1.5, 0.5, 0.25, 0.25]), (6, FRAMES, 1)))
    _, episode = run(batch, actions)
    waiting = episode.crop_center_xywh[:, 3, :2] + BOX / 2  # where the region stayed
    windows = batch.canvas_windows.at[:, 3, :2].set(jnp.round(waiting) - 4 * BOX)
    _, again = run(batch.replace(canvas_windows=windows), actions)
    assert cut(batch.canvas_images[:, 3], windows[:, 3], again.crop_center_xywh[:, 3], SIZE)[2].all()
    np.testing.assert_array_equal(again.alive, [[True, False, False, False, False]] * 6)


def test_boxes_stay_in_the_frame_like_the_trackers(sequence):
    """At the right border of a 320 x 240 frame, a box is clipped, but at least ten pixels remain."""
    still = dataclasses.replace(sequence, boxes_xywh=np.tile([[300.0, 100.0, BOX, BOX]], (24, 1)))
    batch = closed_loop_batch(still, scale_jitter=0.0, shift_jitter=0.0, flip=0.0, frame_flip=0.0)
    actions = np.tile(np.float32([0.5, 0.5, 0.25, 0.25]), (6, FRAMES, 1))
    actions[:, 1, 0] = 0.625  # eight pixels to the right
    actions[:3, 1, 0] = 0.8  # nineteen
    _, episode = run(batch, jnp.asarray(actions))
    np.testing.assert_allclose(episode.boxes_xywh[:3, 1], [[310, 100, 10, 16]] * 3, atol=1e-3)
    np.testing.assert_allclose(episode.boxes_xywh[3:, 1], [[308, 100, 12, 16]] * 3, atol=1e-3)
    np.testing.assert_array_equal(episode.crop_center_xywh[:, 2], episode.boxes_xywh[:, 1])


def test_boxes_do_not_shrink_below_the_trackers_minimum(sequence):
    batch = closed_loop_batch(sequence, scale_jitter=0.0, shift_jitter=0.0)
    actions = np.tile(np.float32([0.5, 0.5, 0.01, 0.3]), (6, FRAMES, 1))
    _, episode = run(batch, jnp.asarray(actions))
    assert episode.boxes_xywh[..., 2:].min() == 10.0
