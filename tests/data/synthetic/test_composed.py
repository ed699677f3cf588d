"""Composed scenes as sequences: a crop shows the same as its frame, and boxes enclose the target."""

from dataclasses import replace

import numpy as np
import pytest

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic import motion
from relo_jax.data.synthetic.composed import as_sequence
from relo_jax.data.synthetic.procedural import Procedural
from relo_jax.data.synthetic.scene import render
from relo_jax.geometry.crop import crop_host

CLEAN = Options(num_frames=40, bank_size=24, sensor_noise=0, blur=0, compression=0)


@pytest.fixture(scope="module")
def scenes():
    source = Procedural(11, "train", CLEAN)
    return [source.scene(k) for k in range(12)]


def test_a_rendered_crop_is_the_crop_of_the_rendered_frame(scenes):
    for k, scene in enumerate(scenes):
        s = as_sequence("x", scene)
        t = int(np.flatnonzero(s.visible)[k])
        box = s.boxes_xywh[t] + [3, -2, 4, 1]
        drawn, factor = s.read_crop(t, box, 4.0, 128)
        cut, factor_cut = crop_host(s.read_frame(t), box, 4.0, 128)
        assert factor == factor_cut
        difference = np.abs(drawn.astype(int) - cut).max(-1)
        smooth = np.ones((128, 128), bool)  # away from edges, where half a pixel is a large difference
        for axis in (0, 1):
            step = np.abs(np.diff(cut.astype(int), axis=axis)).max(-1) > 8
            pad = [(0, 1), (0, 0)] if axis == 0 else [(0, 0), (0, 1)]
            edge = np.pad(step, pad)
            for shift in (-1, 0, 1, 2):
                smooth &= ~np.roll(edge, shift, axis)
        assert np.mean(difference[smooth] <= 8) > 0.97
        assert np.median(difference) <= 4


def test_outside_the_frame_a_crop_is_black_by_the_croppers_rule(scenes):
    bright = replace(scenes[0], grade=np.eye(3, 4, dtype=np.float32) + np.array([0, 0, 0, 40], np.float32))
    s = as_sequence("x", bright)
    for box in ([-20, 30, 40, 40], [428, 296, 40, 50], [100, -30, 30, 30], [0, 0, 80, 60], [436, 322, 8, 8]):
        drawn, _ = s.read_crop(5, np.array(box, float), 4.0, 160)
        cut, scale = crop_host(s.read_frame(5), np.array(box, float), 4.0, 160)
        black, expected = (drawn == 0).all(-1), (cut == 0).all(-1)
        tolerance = 0.5 * scale + 1  # interpolation blurs the border over half a pixel of the frame
        for axis in (0, 1):
            ends = [np.flatnonzero(~b.all(axis)) for b in (black, expected)]
            assert abs(ends[0][0] - ends[1][0]) <= tolerance and abs(ends[0][-1] - ends[1][-1]) <= tolerance


def silhouette(scene, t):
    """bool [H, W]: the pixels of the target, occluded or not."""
    dark = tuple(replace(scene.layers[k], gain=np.zeros(len(scene))) for k in scene.target)
    white = np.full_like(scene.background, 255)
    plain = replace(
        scene, background=white, layers=dark, light=np.ones(len(scene)), grade=np.eye(3, 4, dtype=np.float32)
    )
    return render(plain, t, 0, 0, 1, scene.width, scene.height)[..., 0] < 128


def test_boxes_enclose_the_silhouette_tightly(scenes):
    for scene in scenes:
        boxes = as_sequence("x", scene).boxes_xywh
        for t in range(0, len(scene), 9):
            mask = silhouette(scene, t)
            if mask.sum() < 30:
                continue
            rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            drawn = np.array([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1])
            x, y, w, h = boxes[t]
            given = np.array([x, y, x + w, y + h])
            tolerance = 1.5 + 0.04 * max(w, h)  # thin tips fade below one half; bending is known to first order
            assert np.all(np.abs(drawn - given) < tolerance), (t, drawn, given)


def test_the_box_encloses_the_part_of_the_target_inside_the_frame(scenes):
    checked = 0
    for scene in scenes:
        center = as_sequence("x", scene).boxes_xywh[0, :2] + as_sequence("x", scene).boxes_xywh[0, 2:] / 2
        for corner in ((0, 150), (scene.width, 150), (200, 0), (200, scene.height)):
            layers = list(scene.layers)
            for k in scene.target:
                maps = layers[k].maps.copy()
                maps[..., 2] += corner - center
                layers[k] = replace(layers[k], maps=maps)
            moved = replace(scene, layers=tuple(layers))
            x, y, w, h = as_sequence("x", moved).boxes_xywh[0]
            mask = silhouette(moved, 0)
            rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            if min(len(rows), len(cols)) < 4:
                continue
            drawn = np.array([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1])
            assert np.abs(drawn - [x, y, x + w, y + h]).max() < 2.5 + 0.04 * max(w, h)
            checked += 1
    assert checked > 25


def test_a_target_that_is_occluded_or_outside_is_not_visible(scenes):
    scene = scenes[3]
    boxes, visible = as_sequence("x", scene).boxes_xywh, as_sequence("x", scene).visible
    t = int(np.flatnonzero(visible)[0])
    body = scene.layers[scene.target[0]]
    wall = replace(body, maps=motion.compose(body.maps, np.array([[[3.0, 0, -96], [0, 3.0, -96]]])))
    hidden = as_sequence("x", replace(scene, layers=(*scene.layers, wall)))
    assert not hidden.visible[t]
    assert np.allclose(hidden.boxes_xywh, boxes)  # occlusion does not shrink the box
    away = body.maps.copy()
    away[..., 2] += 1000
    layers = tuple(replace(v, maps=away) if k in scene.target else v for k, v in enumerate(scene.layers))
    assert not as_sequence("x", replace(scene, layers=layers)).visible.any()
