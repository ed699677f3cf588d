"""Procedural sequences: a function of the seed, hard for simple trackers, with plausible motion and visibility."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic import motion
from relo_jax.data.synthetic.procedural import Procedural, sequence
from relo_jax.data.synthetic.scene import render
from relo_jax.data.synthetic.textures import bank
from relo_jax.errors import UserError
from relo_jax.geometry.boxes import iou_xywh

OPTIONS = Options(num_frames=60, bank_size=24)


@pytest.fixture(scope="module")
def heldout():
    source = Procedural(5, "heldout", OPTIONS)
    return [source[k] for k in range(20)]


def auc(predicted, truth):
    iou = np.array([float(iou_xywh(p, t)) for p, t in zip(predicted, truth, strict=True)])
    return np.mean([np.mean(iou > threshold) for threshold in np.linspace(0, 1, 21)])


def test_a_sequence_is_a_function_of_seed_and_index():
    first, again = sequence(1, 7, 30, bank_size=24), sequence(1, 7, 30, bank_size=24)
    assert np.array_equal(first.boxes_xywh, again.boxes_xywh)
    assert np.array_equal(first.read_frame(11), again.read_frame(11))
    assert first.name == again.name


@pytest.mark.parametrize("seed, index, split", [(2, 7, "train"), (1, 8, "train"), (1, 7, "heldout")])
def test_seed_index_and_split_each_change_everything(seed, index, split):
    base, other = sequence(1, 7, 30, bank_size=24), sequence(seed, index, 30, split, bank_size=24)
    assert base.name != other.name
    assert not np.allclose(base.boxes_xywh, other.boxes_xywh, atol=1)
    assert np.abs(base.read_frame(3).astype(int) - other.read_frame(3)).mean() > 5


def test_held_out_textures_are_other_textures():
    train, heldout = bank(0, 24).textures, bank(1, 24).textures
    for texture in heldout:
        assert np.abs(train.astype(int) - texture).mean((1, 2, 3)).min() > 3


def test_the_members_of_a_family_take_turns_as_the_target():
    source = Procedural(3, "train", OPTIONS)
    targets = [source.scene(k).layers[source.scene(k).target[0]].cutout for k in range(8)]
    assert len({id(t) for t in targets}) == 8
    members = {id(layer.cutout) for layer in source.scene(0).layers + source.scene(1).layers}
    assert id(targets[0]) in members and id(targets[1]) in members
    shared = {id(layer.cutout) for k in range(1, 4) for layer in source.scene(k).layers}
    assert id(targets[0]) in shared  # the first target is a distractor in another sequence of the family


def test_a_box_that_never_moves_scores_low(heldout):
    scores = [auc(np.repeat(s.boxes_xywh[:1], len(s), 0), s.boxes_xywh) for s in heldout]
    assert np.mean(scores) < 0.25


def test_the_target_stays_in_the_search_region_around_its_last_box(heldout):
    moves, inside = [], []
    for s in heldout:
        center = s.boxes_xywh[:, :2] + s.boxes_xywh[:, 2:] / 2
        size = np.sqrt(s.boxes_xywh[:, 2:].prod(1))
        step = np.abs(np.diff(center, axis=0)).max(1)[s.visible[:-1] & s.visible[1:]]
        size = size[:-1][s.visible[:-1] & s.visible[1:]]
        moves.append(np.median(step / size))
        inside.append(np.mean(step < 2 * size))
    assert np.median(moves) < 0.3
    assert np.mean(inside) > 0.99


def test_most_frames_are_visible_and_boxes_stay_inside(heldout):
    assert np.mean([s.visible.mean() for s in heldout]) > 0.75
    for s in heldout:
        boxes = s.boxes_xywh[s.visible]
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, :2] + boxes[:, 2:] <= (OPTIONS.width, OPTIONS.height)).all()
        assert (boxes[:, 2:] >= 4).all()


def follow_color(s):
    """A tracker by colour: the blob in the search region with the colour closest to the target's in the first frame."""
    x, y, w, h = s.boxes_xywh[0].astype(int)
    first = cv2.cvtColor(s.read_frame(0), cv2.COLOR_RGB2LAB).astype(np.float32)
    color = first[y + h // 4 : y + h - h // 4, x + w // 4 : x + w - w // 4].reshape(-1, 3).mean(0)
    box, boxes = s.boxes_xywh[0], [s.boxes_xywh[0]]
    for t in range(1, len(s)):
        frame = cv2.cvtColor(s.read_frame(t), cv2.COLOR_RGB2LAB).astype(np.float32)
        left, top = np.maximum(box[:2] + box[2:] / 2 - 2 * np.sqrt(box[2:].prod()), 0).astype(int)
        reach = int(4 * np.sqrt(box[2:].prod()))
        distance = np.linalg.norm(frame[top : top + reach, left : left + reach] - color, axis=-1)
        _, _, stats, _ = cv2.connectedComponentsWithStats((distance < np.quantile(distance, 0.08)).astype(np.uint8))
        if len(stats) > 1:
            bx, by, bw, bh, _ = stats[1:][stats[1:, 4].argmax()]
            box = np.array([left + bx, top + by, max(bw, 5), max(bh, 5)], float)
        boxes.append(box)
    return np.array(boxes)


def test_a_tracker_by_colour_scores_low(heldout):
    assert np.mean([auc(follow_color(s), s.boxes_xywh) for s in heldout]) < 0.25


def test_the_target_is_visible(heldout):
    """Inside its box, a frame differs clearly from the same frame without the target."""
    source = Procedural(5, "heldout", replace(OPTIONS, sensor_noise=0, compression=0))
    differences = []
    for k in range(12):
        scene = source.scene(k)
        s = source[k]
        t = int(np.argmax(s.visible))
        without = replace(scene, layers=tuple(v for n, v in enumerate(scene.layers) if n not in scene.target))
        a, b = (render(v, t, 0, 0, 1, scene.width, scene.height).astype(int) for v in (scene, without))
        x, y, w, h = s.boxes_xywh[t].astype(int)
        differences.append(np.abs(a - b)[y : y + h, x : x + w].mean())
    assert np.median(differences) > 20
    assert np.min(differences) > 4


def test_a_switched_light_changes_nothing_but_the_light():
    plain, switched = (Procedural(5, "heldout", replace(OPTIONS, switch=p)) for p in (0.0, 1.0))
    ends = []
    for k in range(12):
        before, after = plain.scene(k), switched.scene(k)
        for one, other in zip(before.layers, after.layers, strict=True):
            np.testing.assert_array_equal(one.maps, other.maps)
        factor = after.light / before.light[:, None]  # of red, green and blue
        assert 0.05 <= factor.min() and factor.max() <= 1 and np.ptp(factor[[0, -1]], axis=1).max() > 0.01
        change = np.diff(factor, axis=0)
        assert (change >= -1e-9).all() or (change <= 1e-9).all()
        ends.append((factor[-1] / factor[0]).mean())
    assert min(ends) < 0.8 and max(ends) > 1.25  # goes out, comes on


def test_elongation_changes_the_aspect_ratio_but_not_the_size():
    shape = lambda options: np.array([sequence(5, k, 2, bank_size=24, **options).boxes_xywh[0, 2:] for k in range(24)])
    square, long = shape({}), shape({"elongation": 1.0})
    aspect = lambda sides: np.abs(np.log(sides[:, 0] / sides[:, 1]))
    assert np.median(aspect(long)) > 1.5 * np.median(aspect(square))
    assert 0.6 < np.median(long.prod(1)) / np.median(square.prod(1)) < 1.6


@pytest.mark.parametrize(("arguments", "message"), [((0, "test"), "split 'test' .known: train, "), ((-1,), "seed -1")])
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        Procedural(*arguments)


def test_targets_have_as_many_limbs_as_the_options_allow():
    options = replace(OPTIONS, limbs=5, articulated=1.0)
    limbs = [len(Procedural(5, "heldout", options).scene(index).target) - 1 for index in range(30)]
    assert min(limbs) == 0 and max(limbs) == 5
    assert all(len(Procedural(5, "heldout", replace(OPTIONS, articulated=0.0)).scene(k).target) == 1 for k in range(8))


def test_the_end_of_a_limb_moves_with_the_limb_that_it_hangs_from():
    """The joint of the last limb stays at one place of some part of the target before it."""
    scenes = [Procedural(5, "heldout", replace(OPTIONS, limbs=3, articulated=1.0)).scene(k) for k in range(60)]
    chained = 0
    for scene in (scene for scene in scenes if len(scene.target) == 4):
        body, second, third = (scene.layers[scene.target[k]] for k in (0, 2, 3))
        joint = np.array([[third.cutout.center[0], third.cutout.outline[:, 1].min() + 8]])
        placed = motion.apply(third.maps, joint)
        spread = [np.ptp(_in_patch(layer, placed), axis=0).max() for layer in (body, second)]
        assert min(spread) < 1e-3 < max(spread)
        chained += spread[1] < spread[0]
    assert chained >= 3


def _in_patch(layer, points):
    """Points [F, 1, 2] of the frames in the layer's patch."""
    maps = motion.invert(layer.maps)
    return (maps[:, :, :2] @ points[:, 0, :, None])[..., 0] + maps[:, :, 2]
