"""Clips: order of frames, jitter, augmentation and normalised boxes, all as functions of (seed, index)."""

import dataclasses

import numpy as np
import pytest

from relo_jax.config.data_options import ClipOptions
from relo_jax.data.clips.plan import clip_rng, eligible, jitter_box, plan_clip, sample_order
from relo_jax.data.clips.source import ClipSource, MixturePart
from relo_jax.data.datasets.folder import SequenceFolder
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.geometry.crop import box_to_crop_norm, crop_host

OPTIONS = ClipOptions(templates=2, frames=3, template_size=64, search_size=128)
PLAIN = ClipOptions(
    templates=2, frames=3, template_size=64, search_size=128, brightness=0, grey=0, flip=0, frame_flip=0
)
RED = np.array([250, 20, 20])


def red_square(frames=40, name="square", visible=None):
    """A red square with a green corner, which crosses a textured grey background."""
    rng = np.random.default_rng(0)
    background = np.repeat(rng.integers(90, 110, (120, 160, 1)), 3, 2).astype(np.uint8)
    boxes = np.stack([[20 + 2.0 * t, 40, 24, 18] for t in range(frames)])

    def read_frame(t):
        frame = background.copy()
        x, y, w, h = boxes[t].astype(int)
        frame[y : y + h, x : x + w] = RED
        frame[y : y + h // 2, x : x + w // 2] = (20, 250, 20)
        return frame

    return Sequence(name, boxes, np.ones(frames, bool) if visible is None else visible, read_frame)


def folder(sequences):
    return [MixturePart("folder", SequenceFolder(sequences))]


def colored(image, channel):
    """Bounding box x1, y1, x2, y2 of the pixels in which one channel dominates."""
    other = [c for c in range(3) if c != channel]
    mask = image[..., channel].astype(int) - image[..., other].max(-1) > 60
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1])


def test_a_clip_has_the_shapes_and_types_that_training_expects():
    clip = ClipSource(folder((red_square(),)), OPTIONS, seed=3)[5]
    assert {k: (v.shape, str(v.dtype)) for k, v in clip.items()} == {
        "template_images": ((2, 64, 64, 3), "uint8"),
        "template_boxes_xywh": ((2, 4), "float32"),
        "search_images": ((3, 128, 128, 3), "uint8"),
        "search_boxes_xywh": ((3, 4), "float32"),
        "index": ((), "int64"),
        "dataset": ((), "int32"),
        "failed": ((), "int32"),
        "note": ((512,), "uint8"),
    }
    assert clip["index"] == 5 and clip["failed"] == 0 and not clip["note"].any()


def test_a_clip_is_a_function_of_seed_and_index():
    source, again = (ClipSource(folder((red_square(),)), OPTIONS, seed=3) for _ in range(2))
    again[4]  # clips that were drawn before do not matter
    for key, value in source[9].items():
        assert np.array_equal(value, again[9][key])
    assert not np.array_equal(source[9]["search_images"], source[10]["search_images"])
    other = ClipSource(folder((red_square(),)), OPTIONS, seed=4)
    assert not np.array_equal(source[9]["search_images"], other[9]["search_images"])


@pytest.mark.parametrize("options", [PLAIN, OPTIONS], ids=["plain", "augmented"])
def test_boxes_lie_on_the_target_in_templates_and_search_crops(options):
    source, checked = ClipSource(folder((red_square(),)), options, seed=1), 0
    for index in range(12):
        clip = source[index]
        for kind in ("template", "search"):
            for image, box in zip(clip[f"{kind}_images"], clip[f"{kind}_boxes_xywh"], strict=True):
                x, y, w, h = box * (image.shape[0] - 1)
                if x < 1 or y < 1 or x + w > image.shape[0] - 2 or y + h > image.shape[0] - 2:
                    continue
                if np.abs(image.astype(int)[..., 0] - image[..., 1]).max() < 20:
                    continue  # a grey clip
                red, green = colored(image, 0), colored(image, 1)
                drawn = np.concatenate([np.minimum(red[:2], green[:2]), np.maximum(red[2:], green[2:])])
                assert np.abs(drawn - [x, y, x + w, y + h]).max() < 2.5
                checked += 1
    assert checked > 25


def test_flips_mirror_target_and_box_together():
    """The green corner is on the left. In half of the crops it must be on the right, relative to the box."""
    source, right = ClipSource(folder((red_square(),)), OPTIONS, seed=1), []
    for index in range(40):
        clip = source[index]
        for image, box in zip(clip["template_images"], clip["template_boxes_xywh"], strict=True):
            if np.abs(image.astype(int)[..., 0] - image[..., 1]).max() > 20:
                right.append(colored(image, 1)[[0, 2]].mean() > (box[0] + box[2] / 2) * 63)
    assert 0.3 < np.mean(right) < 0.7


def test_grey_and_flip_are_joint_and_brightness_is_not():
    options = ClipOptions(templates=1, frames=3, template_size=64, search_size=64, grey=0.5, frame_flip=0)
    source = ClipSource(folder((red_square(),)), options, seed=0)
    greys, spread = [], []
    for index in range(40):
        clip = source[index]
        images = [*clip["template_images"], *clip["search_images"]]
        grey = [bool((i[..., 0] == i[..., 2]).all()) for i in images]
        assert len(set(grey)) == 1
        greys.append(grey[0])
        levels = [np.median(i[i.sum(-1) > 0]) for i in images]
        spread.append(np.ptp(levels))
    assert 0.3 < np.mean(greys) < 0.7
    assert np.median(spread) > 5


def test_jitter_has_the_statistics_of_the_release():
    box = np.array([50.0, 60, 40, 10])
    drawn = np.stack([jitter_box(clip_rng(0, k), box, 0.5, 3.5) for k in range(6000)])
    scale = np.log(drawn[:, 2:] / box[2:])
    assert np.allclose(scale.mean(0), 0, atol=0.03) and np.allclose(scale.std(0), 0.5, atol=0.02)
    assert abs(np.corrcoef(scale.T)[0, 1]) < 0.05  # the sides are independent
    shift = (drawn[:, :2] + drawn[:, 2:] / 2 - box[:2] - box[2:] / 2) / np.sqrt(drawn[:, 2:].prod(1))[:, None]
    assert np.abs(shift).max() <= 1.75 and np.abs(shift).max() > 1.7
    assert np.allclose(shift.std(0), 3.5 / np.sqrt(12), atol=0.03)
    assert np.abs(shift.mean(0)).max() < 0.06
    assert np.array_equal(jitter_box(clip_rng(0, 0), box, 0, 0), box)


def test_jitter_by_hand():
    box = np.array([50.0, 60, 40, 10])
    drawn = jitter_box(clip_rng(0, 1), box, 0.5, 3.5)
    rng = clip_rng(0, 1, attempt=0)
    size = box[2:] * np.exp(rng.normal(0, 0.5, 2))
    middle = [70, 65] + np.sqrt(size[0] * size[1]) * 3.5 * (rng.random(2) - 0.5)
    assert np.allclose(drawn, [*(middle - size / 2), *size])
    assert not np.allclose(drawn, jitter_box(clip_rng(0, 1, attempt=1), box, 0.5, 3.5))


@pytest.mark.parametrize(("shift", "tries"), [(3.999, 1), (4.0, 10), (9.0, 10)])
def test_jitter_is_drawn_ten_times_until_the_centre_lies_inside_the_crop(shift, tries):
    """A generator that always moves the box to the left, by half of the shift."""

    class Rng:
        count = 0

        def random(self, size):
            self.count += 1
            return np.array([0.0, 0.5])

    rng, box = Rng(), np.array([50.0, 60, 40, 10])
    drawn = jitter_box(rng, box, 0, shift)
    assert rng.count == tries and np.allclose(drawn, [50 - min(shift, 4) / 2 * 20, 60, 40, 10])


def test_large_jitter_keeps_the_targets_centre_in_the_crop():
    box = np.array([50.0, 60, 40, 30])
    for k in range(300):
        drawn = jitter_box(clip_rng(1, k), box, 0.5, 6.0)
        offset = np.abs(drawn[:2] + drawn[2:] / 2 - box[:2] - box[2:] / 2)
        assert (offset <= 2 * np.sqrt(drawn[2:].prod())).all()


def test_frames_are_visible_near_each_other_and_in_order_of_time_or_in_reverse():
    visible = np.zeros(1000, bool)
    visible[::7] = True
    up = 0
    for k in range(300):
        frames = sample_order(clip_rng(2, k), visible, 4, 50)
        steps = np.diff(frames)
        assert (steps >= 0).all() or (steps <= 0).all()
        up += bool((steps >= 0).all())
        assert visible[frames].all()
        assert frames.max() - frames.min() <= 100
    assert 120 < up < 190
    ends = np.isin(np.arange(100), (20, 70))  # of a gap: either is near the other
    mixed = [len(set(sample_order(clip_rng(4, k), ends, 4, gap))) for gap in (50, 49) for k in range(100)]
    assert np.mean(mixed[:100]) > 1.75 and set(mixed[100:]) == {1}  # both are drawn in 7 of 8 clips
    rng = clip_rng(5, 0)
    orders = [sample_order(rng, np.ones(50, bool), 9, 50) for _ in range(3000)]
    assert abs(np.mean([order[0] < order[-1] for order in orders]) - 0.5) < 0.03
    late = np.arange(1000) >= 980  # the base is drawn from the visible frames, so there is always a frame near it
    assert all(late[sample_order(clip_rng(3, k), late, 2, 5)].all() for k in range(20))
    assert len(set(sample_order(clip_rng(2, 0), np.eye(1, 30, 3, dtype=bool)[0], 4, 50))) == 1


def test_a_plan_has_templates_first_and_jitters_search_crops_alone():
    sequence, levels = red_square(), []
    for k in range(100):
        plan = plan_clip(clip_rng(0, k), sequence, OPTIONS)
        levels.append(plan.brightness)
        assert plan.factor.tolist() == [2, 2, 4, 4, 4] and plan.size.tolist() == [64, 64, 128, 128, 128]
        assert plan.templates == 2 and plan.closed_loop is None
        np.testing.assert_array_equal(plan.boxes_xywh, sequence.boxes_xywh[plan.frames])
        moved = (plan.crop_center_xywh != plan.boxes_xywh).all(1)
        assert moved.tolist() == [False, False, True, True, True]
    assert 0.8 <= np.min(levels) < 0.81 and 1.19 < np.max(levels) <= 1.2 and abs(np.mean(levels) - 1) < 0.02


def test_a_clip_for_a_rollout_has_canvases_and_a_first_region_that_fits():
    """Otherwise it is the same clip. A first region that is larger than its canvas is shrunk around the target."""
    options, shrunk = dataclasses.replace(OPTIONS, scale_jitter=1.0), 0
    for k in range(60):
        closed, forced = (
            plan_clip(clip_rng(0, k), red_square(), dataclasses.replace(options, closed_loop=value))
            for value in (True, False)
        )
        for name in ("frames", "boxes_xywh", "grey", "brightness", "templates"):
            np.testing.assert_array_equal(getattr(closed, name), getattr(forced, name))
        assert closed.factor.tolist() == [2, 2, 8, 8, 8] and closed.size.tolist() == [64, 64, 256, 256, 256]
        np.testing.assert_array_equal(closed.crop_center_xywh, closed.boxes_xywh)
        np.testing.assert_array_equal(closed.flip, [*forced.flip[:2], False, False, False])
        np.testing.assert_array_equal(closed.closed_loop.flip, forced.flip[2:])
        start, drawn, (x, y, w, h) = closed.closed_loop.start_box_xywh, forced.crop_center_xywh[2], closed.boxes_xywh[2]
        largest = 0.99 * 2 * np.sqrt(w * h)  # side of the box: a canvas has 8 of the target, a region 4 of its box
        if np.sqrt(drawn[2] * drawn[3]) < largest:
            np.testing.assert_array_equal(start, drawn)
            continue
        shrunk += 1
        factor, middle = largest / np.sqrt(drawn[2] * drawn[3]), np.array([x + w / 2, y + h / 2])
        np.testing.assert_allclose(start, [*(middle + factor * (drawn[:2] - middle)), *(factor * drawn[2:])])
    assert 3 < shrunk < 30


def test_only_long_sequences_with_enough_visible_frames_are_eligible():
    few = np.zeros(40, bool)
    few[:10] = True
    assert eligible(np.array([19, 20, 40, 40]), np.array([19, 20, 10, 11]), np.zeros(4, bool), 5).tolist() == [
        False, True, False, True,
    ]  # fmt: skip
    assert eligible(1, 1, True, 5) and not eligible(1, 0, True, 5)  # a photograph is repeated
    source = ClipSource(folder((red_square(40, "poor", few), red_square(40, "rich"))), OPTIONS, seed=0)
    assert {source.describe(k) for k in range(20)} == {"rich"}
    with pytest.raises(UserError, match="poor"):
        ClipSource(folder((red_square(40, "poor", few),)), OPTIONS, seed=0)
    with pytest.raises(UserError, match="no sequences"):
        ClipSource(folder(()), OPTIONS, seed=0)


def test_without_augmentation_a_template_is_the_crop_of_the_release():
    s = red_square()
    clip = ClipSource(folder((s,)), PLAIN, seed=6)[0]
    frames = sample_order(_after_pick(6, 0, 1), s.visible, 5, 400)
    image, factor = crop_host(s.read_frame(frames[0]), s.boxes_xywh[frames[0]], 2.0, 64)
    assert np.array_equal(clip["template_images"][0], image)
    box = s.boxes_xywh[frames[0]]
    assert np.allclose(clip["template_boxes_xywh"][0], box_to_crop_norm(box, box, factor, 64), atol=1e-6)


def _after_pick(seed, index, count):
    rng = clip_rng(seed, index)
    rng.integers(count)
    return rng
