"""Rendering: motion blur, and the resolution of the camera."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.procedural import Procedural
from relo_jax.data.synthetic.scene import motion_blur, render

CLEAN = Options(num_frames=40, bank_size=24, sensor_noise=0, blur=0, compression=0)


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
