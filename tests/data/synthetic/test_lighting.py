"""Light that changes: patterns, views of them, what the target meets, and the camera's reaction."""

from dataclasses import replace

import numpy as np
import pytest

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.lighting import Light, brightness, exposure_control, pattern, random_lights
from relo_jax.data.synthetic.procedural import Procedural

FRAMES = 40
OPTIONS = Options(num_frames=FRAMES, bank_size=24)
STILL = np.repeat(np.eye(2, 3)[None], FRAMES, 0)


def light(kind, color=(0.5, 0.5, 0.5), softness=0.1, maps=STILL):
    return Light(kind, maps, np.array(color), softness, np.ones((6, 3)))


def moved(x):
    """Maps from the frame to a light whose origin is at x [F], on the left border."""
    maps = STILL.copy()
    maps[:, 0, 2] = -x
    return maps


@pytest.mark.parametrize(
    "kind, inside, outside",
    [("edge", (2, 9), (-2, 9)), ("band", (0.5, 9), (1.5, 9)), ("pool", (0.3, 0.6), (0.9, 0.9))],
)
def test_a_pattern_is_one_inside_and_zero_outside(kind, inside, outside):
    assert pattern(light(kind), np.array([inside, outside])) == pytest.approx([1, 0], abs=0.05)
    blurred = pattern(light(kind, softness=8.0), np.array([inside, outside]))
    assert 0.1 < blurred[1] < 0.5 < blurred[0] < 0.95


def test_leaves_let_through_about_half_of_the_light():
    waves = np.concatenate([np.random.default_rng(0).normal(0, 1.5, (6, 2)), np.zeros((6, 1))], 1)
    shade = pattern(replace(light("leaves"), waves=waves), np.random.default_rng(1).uniform(-90, 90, (4000, 2)))
    assert 0.4 < shade.mean() < 0.6 and np.mean((shade < 0.1) | (shade > 0.9)) > 0.8


def test_lights_multiply_in_each_colour():
    both = (light("edge", (0.5, 1, 2)), light("pool", (0.5, 0.5, 0.5)))
    at = np.array([[0.7, 0.0], [9.0, 0.0], [-9.0, 0.0]])
    assert brightness(both, at, 0) == pytest.approx(np.array([[0.25, 0.5, 1], [0.5, 1, 2], [1, 1, 1]]), abs=1e-3)
    assert brightness(both, at, slice(None)).shape == (FRAMES, 3, 3)


def test_the_target_meets_the_lights_that_are_drawn_for_it():
    center = np.stack([np.linspace(20, 300, FRAMES), np.full(FRAMES, 100.0)], 1)
    changes = []
    for seed in range(60):
        lights = random_lights(np.random.default_rng(seed), STILL, center, np.full(FRAMES, 30.0))
        at_target = np.array([brightness(lights, center[k : k + 1], k)[0].mean() for k in range(FRAMES)])
        changes.append(at_target.max() / at_target.min())
    assert np.mean(np.array(changes) > 1.3) > 0.7 and max(changes) > 3


def test_the_camera_compensates_with_a_delay():
    darker = (light("edge", (0.25, 0.25, 0.25), maps=moved(np.where(np.arange(FRAMES) < 10, 1000.0, -1000.0))),)
    gains = np.array([exposure_control(np.random.default_rng(k), darker, FRAMES, 100, 80) for k in range(40)])
    assert np.allclose(gains[:, :10], 1, atol=1e-3)
    assert (np.diff(gains[:, 9:], axis=1) >= 0).all() and gains.max() <= 4 and gains[:, -1].max() > 3
    assert np.median(gains[:, 11] / gains[:, -1]) < 0.95  # not at once


def test_light_and_night_change_pictures_and_no_box():
    plain = Procedural(5, "train", OPTIONS)
    lit = Procedural(5, "train", replace(OPTIONS, lighting=1.0))
    night = Procedural(5, "train", replace(OPTIONS, night=1.0))
    for index in range(4):
        before, *others = (source[index] for source in (plain, lit, night))
        for other in others:
            assert np.array_equal(before.boxes_xywh, other.boxes_xywh)
        frames = [sequence.read_frame(20).astype(float) for sequence in (before, *others)]
        assert np.abs(frames[1] - frames[0]).mean() > 1
        assert frames[2].mean() < 0.7 * frames[0].mean()
    assert plain.scene(0).lights == () and 1 <= len(lit.scene(0).lights) <= 2
