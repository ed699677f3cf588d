"""Closed-loop rollouts: regions follow the chosen boxes, by the tracker's geometry; who leaves the canvas is lost."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.geometry.boxes import iou_xywh
from relo_jax.mdp import rollout
from tests.mdp.worlds import BOX, FRAMES, SIZE, batch_of, drifting, plans


@pytest.fixture(scope="module")
def sequence(natural_image):
    return drifting(natural_image)


def world_of(sequence, count=6, **changes):
    return rollout.ClosedLoopBatch.of(batch_of(sequence, plans(sequence, count, closed_loop=True, **changes)))


def as_action(box_xywh, crop_center_xywh, side, flips):
    """A box in pixels as a policy would say it: relative to the region, mirrored where that is."""
    center = lambda box: box[..., :2] + box[..., 2:] / 2
    place = (center(box_xywh) - center(crop_center_xywh)) / side[..., None] + 0.5
    place[..., 0] = np.where(flips, 1 - place[..., 0], place[..., 0])
    return np.concatenate([place, box_xywh[..., 2:] / side[..., None]], -1)


def say(memory, crops, box):
    """A policy that gives the boxes that it is given."""
    return memory, box, crops


cut = jax.jit(rollout.cut_regions, static_argnums=3)
unroll = jax.jit(lambda world, boxes: rollout.rollout(say, 0, world, boxes, SIZE))


def acting_by_the_truth(world):
    truth = np.asarray(world.target_boxes_xywh, np.float64)
    around = np.concatenate([np.asarray(world.start_box_xywh)[:, None], truth[:, :-1]], 1)
    actions = as_action(truth, around, np.full(truth.shape[:2], 4 * BOX), np.asarray(world.flips))
    return unroll(world, jnp.asarray(actions, jnp.float32))


def test_who_acts_by_the_truth_sees_the_teacher_s_regions_around_the_truth_before(sequence):
    """No jitter; mirrored frames among them, and regions beyond the border of the picture."""
    exact = dict(scale_jitter=0.0, shift_jitter=0.0)
    world = world_of(sequence, **exact)
    seen, episode = acting_by_the_truth(world)
    teacher = plans(sequence, 6, **exact)
    for plan in teacher:
        plan.crop_center_xywh[2:] = plan.boxes_xywh[1:-1]
    expected = batch_of(sequence, teacher)
    np.testing.assert_array_equal(seen, expected["search_images"])
    boxes = rollout.target_in_regions(world, episode, SIZE)
    np.testing.assert_allclose(boxes, expected["search_boxes_xywh"], atol=1e-5)
    assert episode.alive.all() and world.flips.any() and not world.flips.all()
    np.testing.assert_allclose(episode.boxes_xywh, world.target_boxes_xywh, atol=1e-3)
    assert (np.asarray(expected["search_images"]) == 0).all(-1).mean() > 0.01  # black, outside of the picture


def test_a_clip_shows_what_its_teacher_forced_twin_does(sequence):
    """The same frames, templates, variations and first region; a canvas has its target in the middle."""
    closed, forced = (batch_of(sequence, plans(sequence, 6, closed_loop=value)) for value in (True, False))
    for name in ("template_images", "template_boxes_xywh"):
        np.testing.assert_array_equal(closed[name], forced[name])
    world = rollout.ClosedLoopBatch.of(closed)
    assert world.canvas_images.shape == (6, FRAMES, 2 * SIZE, 2 * SIZE, 3)
    middle = world.canvas_windows[..., :2] + world.canvas_windows[..., 2:] / 2
    center = world.target_boxes_xywh[..., :2] + world.target_boxes_xywh[..., 2:] / 2
    assert np.abs(middle - center).max() <= 0.5
    crop, _, on_canvas = cut(world.canvas_images[:, 0], world.canvas_windows[:, 0], world.start_box_xywh, SIZE)
    crop = jnp.where(world.flips[:, 0, None, None, None], crop[:, :, ::-1], crop)
    inside = on_canvas & (world.start_box_xywh[:, 2:].prod(-1) < BOX**2) & near(world, center)
    assert inside.sum() >= 2
    np.testing.assert_array_equal(crop[inside], forced["search_images"][:, 0][inside])


def test_every_episode_begins_with_a_region_on_its_canvas(sequence):
    """Also with the paper's jitter, of which one in forty makes a region larger than a canvas; others stay the same."""
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
            np.testing.assert_allclose(plan.world.start_xywh - middle, factor * (drawn - middle), atol=1e-9)
        else:
            np.testing.assert_array_equal(plan.world.start_xywh, drawn)
    assert 0 < count < 40
    world = rollout.ClosedLoopBatch.of(batch_of(sequence, closed))
    assert cut(world.canvas_images[:, 0], world.canvas_windows[:, 0], world.start_box_xywh, SIZE)[2].all()


def near(world, center):
    """Which first regions lie on the canvas as a whole."""
    start = world.start_box_xywh
    apart = jnp.abs(start[:, :2] + start[:, 2:] / 2 - center[:, 0]).max(-1)
    return apart + 2 * jnp.sqrt(start[:, 2:].prod(-1)) < 4 * BOX - 1


def test_a_bad_action_has_consequences(sequence):
    """A step to the side, and the next region is there: the target is no longer in its middle."""
    inside = dataclasses.replace(sequence, boxes_xywh=sequence.boxes_xywh - [80, 0, 0, 0])
    world = world_of(inside, scale_jitter=0.0, shift_jitter=0.0, flip=0.0, frame_flip=0.0)
    stay = np.tile(np.float32([0.5, 0.5, 0.25, 0.25]), (6, FRAMES, 1))
    aside = stay.copy()
    aside[:, 1, 0] = 0.75  # of a region 64 pixels wide
    (_, stayed), (_, went) = unroll(world, jnp.asarray(stay)), unroll(world, jnp.asarray(aside))
    np.testing.assert_allclose(went.crop_center_xywh[:, :2], stayed.crop_center_xywh[:, :2])
    np.testing.assert_allclose(went.crop_center_xywh[:, 2:, 0] - stayed.crop_center_xywh[:, 2:, 0], 16.0, atol=1e-3)
    before, after = (rollout.target_in_regions(world, episode, SIZE) for episode in (stayed, went))
    np.testing.assert_allclose(before[:, 2:, 0] - after[:, 2:, 0], 16 / 63, atol=1e-3)


@pytest.mark.parametrize(
    "action",
    [
        [1.5, 0.5, 0.25, 0.25],  # 64 pixels to the right, from where the target is within 64 of
        [0.5, 0.5, 0.99, 0.99],  # four times as large, so that the canvas does not hold the region
        [np.nan, 0.5, 0.25, 0.25],
        [3e38, 0.5, 0.25, 0.25],
    ],
    ids=["aside", "large", "nan", "far"],
)
def test_an_episode_ends_when_its_region_leaves_the_canvas_and_does_not_begin_again(sequence, action):
    still = dataclasses.replace(sequence, boxes_xywh=np.tile(sequence.boxes_xywh[:1], (24, 1)))
    world = world_of(still, scale_jitter=0.0, shift_jitter=0.0, flip=0.0, frame_flip=0.0)
    actions = np.tile(np.float32([0.5, 0.5, 0.25, 0.25]), (6, FRAMES, 1))
    actions[:3, 1] = action
    seen, episode = unroll(world, jnp.asarray(actions))
    np.testing.assert_array_equal(episode.alive, [[True, True, False, False, False]] * 3 + [[True] * FRAMES] * 3)
    lost = np.asarray(iou_xywh(episode.boxes_xywh, world.target_boxes_xywh))
    assert (lost[3:] > 0.99).all() and seen.dtype == np.uint8


def test_a_target_that_comes_to_the_lost_region_does_not_bring_it_back(sequence):
    world = world_of(sequence, scale_jitter=0.0, shift_jitter=0.0, flip=0.0, frame_flip=0.0)
    actions = jnp.asarray(np.tile(np.float32([-1.5, 0.5, 0.25, 0.25]), (6, FRAMES, 1)))
    _, episode = unroll(world, actions)
    waiting = episode.crop_center_xywh[:, 3, :2] + BOX / 2  # where the region stayed
    windows = world.canvas_windows.at[:, 3, :2].set(jnp.round(waiting) - 4 * BOX)
    _, again = unroll(world.replace(canvas_windows=windows), actions)
    assert cut(world.canvas_images[:, 3], windows[:, 3], again.crop_center_xywh[:, 3], SIZE)[2].all()
    np.testing.assert_array_equal(again.alive, [[True, False, False, False, False]] * 6)


def test_boxes_stay_in_the_picture_as_the_tracker_s_do(sequence):
    """At the right border of a picture of 320 x 240; what is outside is cut off, and ten pixels are left at least."""
    still = dataclasses.replace(sequence, boxes_xywh=np.tile([[300.0, 100.0, BOX, BOX]], (24, 1)))
    world = world_of(still, scale_jitter=0.0, shift_jitter=0.0, flip=0.0, frame_flip=0.0)
    actions = np.tile(np.float32([0.5, 0.5, 0.25, 0.25]), (6, FRAMES, 1))
    actions[:, 1, 0] = 0.625  # eight pixels to the right
    actions[:3, 1, 0] = 0.8  # nineteen
    _, episode = unroll(world, jnp.asarray(actions))
    np.testing.assert_allclose(episode.boxes_xywh[:3, 1], [[310, 100, 10, 16]] * 3, atol=1e-3)
    np.testing.assert_allclose(episode.boxes_xywh[3:, 1], [[308, 100, 12, 16]] * 3, atol=1e-3)
    np.testing.assert_array_equal(episode.crop_center_xywh[:, 2], episode.boxes_xywh[:, 1])


def test_boxes_do_not_shrink_below_what_the_tracker_keeps(sequence):
    world = world_of(sequence, scale_jitter=0.0, shift_jitter=0.0)
    actions = np.tile(np.float32([0.5, 0.5, 0.01, 0.3]), (6, FRAMES, 1))
    _, episode = unroll(world, jnp.asarray(actions))
    assert episode.boxes_xywh[..., 2:].min() == 10.0
