"""Cut-outs: how their surfaces bend and turn."""

from dataclasses import replace

import numpy as np
import pytest

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.cutout import PATCH, bend_field, bent, cutout, turned
from relo_jax.data.synthetic.procedural import Procedural


@pytest.fixture(scope="module")
def ball():
    """A grey disc of radius 40 with a bright stripe along its middle."""
    rows, columns = np.indices((PATCH, PATCH)) - (PATCH - 1) / 2
    alpha = np.where(np.hypot(rows, columns) < 40, 255, 0).astype(np.uint8)
    rgb = np.full((PATCH, PATCH, 3), 60, np.uint8)
    rgb[np.abs(columns) < 4] = 250
    angle = np.linspace(0, 2 * np.pi, 40)
    return cutout(rgb, alpha, 40 * np.stack([np.cos(angle), np.sin(angle)], 1) + PATCH / 2)


def stripe(patch):
    """Where the stripe crosses the middle row, in pixels from the centre; None if it is not there."""
    row = patch[patch.shape[0] // 2, :, 0]
    return np.flatnonzero(row > 200).mean() - (len(row) - 1) / 2 if (row > 200).any() else None


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_surface_turns_inside_its_silhouette(ball, level):
    radius, before = 40 / 2**level, ball.levels[level]
    assert stripe(turned(ball, level, 0.0)) == pytest.approx(0, abs=0.6)
    assert stripe(turned(ball, level, -0.6)) == pytest.approx(radius * np.sin(0.6), abs=0.1 * radius)
    assert stripe(turned(ball, level, 0.6)) == pytest.approx(-radius * np.sin(0.6), abs=0.1 * radius)
    for angle in (0.4, 1.6, 3.0, 7.0):
        patch = turned(ball, level, angle)
        assert np.array_equal(patch[..., 3], before[..., 3])
        assert (patch[..., :3] <= patch[..., 3:]).all()  # colours stay premultiplied


def test_a_full_turn_is_none_and_the_back_is_the_front_mirrored(ball):
    front = turned(ball, 0, 0.3).astype(int)
    assert np.abs(turned(ball, 0, 0.3 + 2 * np.pi) - front).max() <= 1
    assert np.abs(turned(ball, 0, np.pi - 0.3)[:, ::-1] - front).mean() < 3


def test_gaps_of_a_silhouette_show_the_mean_colour(ball):
    level = ball.levels[0].copy()
    level[:, 40:56] = 0  # the stripe becomes a gap
    gap = replace(ball, levels=(level,))
    assert turned(gap, 0, 0.9)[48, 20, :3] == pytest.approx([60] * 3, abs=2)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_bent_patch_shows_what_lies_up_to_its_amplitude_away(level):
    rows, columns = np.indices((PATCH >> level, PATCH >> level))
    patch = (2 * np.stack([columns, rows], -1)).astype(np.uint8)
    expected = 6.0 / 2**level * bend_field(3)[level]
    moved = (bent(patch, 6.0, 3).astype(int) - patch) / 2
    inside = np.s_[7:-7, 7:-7]  # what comes from beyond the border is 0
    np.testing.assert_allclose(moved[inside], expected[inside], atol=0.3)
    assert np.abs(expected[inside]).max() > 2.0 / 2**level
    assert np.array_equal(bent(patch, 0.0, 3), patch)


def test_turning_bodies_become_narrower_or_wider_with_their_boxes():
    options = Options(num_frames=40, bank_size=24, bending=0.0)
    still, turning = (Procedural(5, "train", replace(options, turning=p)) for p in (0.0, 1.0))
    assert all(layer.turn is None for layer in still.scene(1).layers)
    scene, before = turning.scene(1), still.scene(1)
    body = scene.layers[scene.target[0]]
    assert body.turn is not None and np.ptp(body.turn) > 0.1
    width = lambda s: np.hypot(*np.moveaxis(s.layers[s.target[0]].maps[:, :, 0], 1, 0))
    ratio = width(scene) / width(before)
    assert ratio[0] == pytest.approx(1) and np.ptp(ratio) > 0.05
    assert not np.array_equal(turning[1].boxes_xywh, still[1].boxes_xywh)
    assert np.array_equal(scene.background_maps, before.background_maps)
