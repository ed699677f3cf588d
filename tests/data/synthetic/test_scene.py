"""Rendering: a crop shows the same as its frame, and boxes enclose the target."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic import motion
from relo_jax.data.synthetic.composed import as_sequence
from relo_jax.data.synthetic.procedural import Procedural
from relo_jax.data.synthetic.scene import motion_blur, render
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


def test_affine_maps_invert_and_compose():
    rng = np.random.default_rng(0)
    maps = motion.affine_maps(rng.normal(size=(5, 2)), rng.normal(size=5), np.full(5, 2.0), np.full(5, 0.5), (3, 4))
    points = rng.normal(size=(7, 2))
    assert np.allclose(motion.apply(motion.invert(maps)[0], motion.apply(maps, points)[0]), points)
    there = motion.apply(motion.compose(maps, maps), points)
    assert np.allclose(there[2], motion.apply(maps[2], motion.apply(maps, points)[2]))


def test_a_folded_path_stays_inside_and_keeps_its_speed():
    path = np.linspace(-50, 300, 2000)
    folded = motion.fold(path, 10.0, 60.0)
    assert folded.min() >= 10 and folded.max() <= 60
    assert np.abs(np.diff(folded)).max() <= np.diff(path).max() + 1e-9


def test_wandering_has_unit_speed():
    paths = motion.wander(np.random.default_rng(0), 400, 400)
    speed = np.sqrt((np.diff(paths, axis=1) ** 2).mean())
    assert 0.85 < speed < 1.1


@given(x=st.floats(-12, 12), y=st.floats(-12, 12))
def test_motion_blur_turns_a_point_into_a_line_centred_on_it(x, y):
    image = np.zeros((41, 41), np.float32)
    image[20, 20] = 1
    blurred = motion_blur(image, np.array([x, y]))
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    rows, cols = np.indices(image.shape)
    offsets = np.stack([cols.ravel() - 20, rows.ravel() - 20], 1)
    weight = blurred.ravel()
    assert weight @ offsets == pytest.approx([0, 0], abs=1e-4)
    length = np.hypot(x, y)
    if length < 1:
        np.testing.assert_array_equal(blurred, image)
        return
    spread = (offsets * weight[:, None]).T @ offsets
    along = np.array([x, y]) / length
    # A line has a variance of length^2 / 12; interpolation between pixels adds at most a quarter along each axis.
    assert length**2 / 12 - 0.1 < along @ spread @ along < (length + 1) ** 2 / 12 + 0.4
    across = np.array([-along[1], along[0]])
    assert across @ spread @ across < 0.5


def test_exposure_blurs_moving_things_only():
    scene = Procedural(5, "heldout", Options(num_frames=12, bank_size=24, clutter=0, distractors=0)).scene(3)
    maps = np.repeat(scene.background_maps[:1], 12, 0)
    layers = [replace(layer, maps=np.repeat(layer.maps[:1], 12, 0)) for layer in scene.layers]
    still = replace(scene, background_maps=maps, layers=tuple(layers), light=np.ones(12))
    still = replace(still, sensor_noise_strength=0.0, quality=0, blur=0.0)
    picture = lambda scene: render(scene, 6, 0, 0, 1, scene.width, scene.height).astype(int)
    before = picture(still)
    np.testing.assert_array_equal(picture(replace(still, exposure=0.8)), before)

    panned = maps.copy()
    panned[:, 0, 2] += 20 * (np.arange(12) - 6)  # frame 6 does not change
    panning = replace(still, layers=(), background_maps=panned)
    bare = picture(replace(still, layers=()))
    np.testing.assert_array_equal(picture(panning), bare)

    def shifted(pixels):
        return picture(replace(panning, background_maps=maps + np.array([[0, 0, pixels], [0, 0, 0]])))

    expected = np.mean([shifted(x) for x in np.linspace(-8, 8, 33)], 0)  # 0.8 of 20 pixels a frame
    error = np.abs(picture(replace(panning, exposure=0.8)) - expected)[:, 16:-16].mean()
    assert error < 0.3 < 0.5 * np.abs(bare - expected)[:, 16:-16].mean()  # rounding alone gives 0.25
    moving = [replace(layer, maps=layer.maps.copy()) for layer in layers]
    for layer in moving:
        layer.maps[:, 1, 2] += 10 * (np.arange(12) - 6)
    changed = np.abs(picture(replace(still, layers=tuple(moving), exposure=0.8)) - before).max(-1) > 0
    assert changed.any() and not changed.all()


def test_large_camera_pixels_limit_the_resolution_of_crops():
    scene = Procedural(5, "heldout", CLEAN).scene(2)
    scene = replace(scene, sensor_noise_strength=0.0, quality=0, blur=0.0)
    crop = lambda pixel: render(replace(scene, pixel=pixel), 5, 100, 80, 4, 192, 192).astype(float)
    sharp, coarse = crop(0.0), crop(2.0)
    resolved = cv2.resize(cv2.resize(sharp, (24, 24), interpolation=cv2.INTER_AREA), (192, 192))
    assert np.abs(coarse - resolved).max() <= 2  # the renderer rounds before it applies the colours
    assert np.abs(sharp - resolved).mean() > 1
    np.testing.assert_array_equal(crop(0.2), sharp)  # smaller than the crop's own pixels


def test_motion_blur_and_large_pixels_change_no_box():
    plain, blurred = (
        Procedural(5, "heldout", replace(CLEAN, **options)) for options in ({}, {"exposure": 0.8, "pixel": 3.0})
    )
    drawn = []
    for k in range(12):
        before, after = plain.scene(k), blurred.scene(k)
        assert before.exposure == before.pixel == 0
        np.testing.assert_array_equal(plain[k].boxes_xywh, blurred[k].boxes_xywh)
        drawn.append((after.exposure, after.pixel))
    exposure, pixel = np.array(drawn).T
    assert 0 < (exposure > 0).sum() < 12 and exposure.max() <= 0.8
    assert pixel.min() == 1 and 1 < pixel.max() <= 3


def test_motion_blur_is_the_same_in_a_crop_as_in_its_frame():
    """Also at the border of the crop, and where an object enters it."""
    scene = Procedural(5, "heldout", CLEAN).scene(4)
    scene = replace(scene, exposure=0.8, sensor_noise_strength=0.0, quality=0, blur=0.0)
    for layer in scene.layers:
        layer.maps[:, 0, 2] += 15 * np.arange(len(scene))
    whole = render(scene, 9, 0, 0, 1, scene.width, scene.height).astype(int)
    still = render(replace(scene, exposure=0.0), 9, 0, 0, 1, scene.width, scene.height)
    blurred = 0
    for x, y in [(0, 0), (64, 40), (130, 90), (201, 77), (250, 180), (310, 200)]:
        crop = render(scene, 9, x, y, 1, 128, 128)
        part = np.s_[y : y + 128, x : x + 128]
        assert np.abs(crop - whole[part]).max() <= 2
        blurred += np.abs(whole[part] - still[part].astype(int)).mean() > 1
    assert blurred >= 2


def test_an_object_that_jumps_across_the_frame_is_not_blurred():

    scene = Procedural(5, "heldout", replace(CLEAN, absence=0.0)).scene(4)
    away = replace(scene.layers[0], maps=scene.layers[0].maps.copy())
    away.maps[:9, 0, 2] -= 5000
    moved = replace(scene, layers=(away, *scene.layers[1:]))
    image = lambda scene, exposure: render(replace(scene, exposure=exposure), 9, 0, 0, 1, 448, 336)
    only_there = replace(moved, layers=(away,), background_maps=np.repeat(scene.background_maps[:1], len(scene), 0))
    np.testing.assert_array_equal(image(only_there, 0.8), image(only_there, 0.0))
