"""Lights on the device: those of the host, in pictures (test_scene.py) and in how they are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.data.synthetic import lighting as on_host
from relo_jax.data.synthetic.device import lighting
from relo_jax.data.synthetic.device.supply import Supply

FRAMES, COUNT = 30, 3000
STILL = np.repeat(np.eye(2, 3, dtype=np.float32)[None], FRAMES, 0)
CENTER = np.stack([np.linspace(20, 300, FRAMES), np.full(FRAMES, 100.0)], 1)
SIZES = np.full(FRAMES, 30.0)


@pytest.fixture(scope="module")
def drawn():
    """What the target meets and the camera does: brightness [COUNT, F] at the target, gain [COUNT, F]."""

    def draw(key):
        supply = Supply(key, 128)
        lights = lighting.random_lights(supply, jnp.asarray(STILL), jnp.asarray(CENTER), jnp.asarray(SIZES), 1.0)
        met = jax.vmap(lambda maps, at: lighting.brightness(lights, maps, at[None])[0].mean())(lights.maps, CENTER)
        return met, lighting.exposure_control(supply, lights, 320, 200)

    return jax.device_get(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), COUNT)))


def hosts():
    met, gains = [], []
    for seed in range(COUNT):
        rng = np.random.default_rng(seed)
        lights = on_host.random_lights(rng, STILL, CENTER, SIZES)
        met.append(np.diagonal(on_host.brightness(lights, CENTER, slice(None)).mean(-1)))
        gains.append(on_host.exposure_control(rng, lights, FRAMES, 320, 200))
    return np.array(met), np.array(gains)


def test_the_target_meets_lights_as_on_the_host(drawn):
    for ours, theirs in zip(drawn, hosts(), strict=True):
        ours, theirs = np.log(ours), np.log(theirs)
        spread = np.stack([np.ptp(ours, 1), np.ptp(theirs, 1), ours.mean(1), theirs.mean(1)])
        levels = np.quantile(spread, [0.1, 0.3, 0.5, 0.7, 0.9], axis=1)
        np.testing.assert_allclose(levels[:, 0], levels[:, 1], atol=0.06)
        np.testing.assert_allclose(levels[:, 2], levels[:, 3], atol=0.06)
        assert levels[-1, 0] > 0.05


class Fixed:
    """A supply of a camera that compensates four fifths, a quarter of the difference in each frame."""

    log_uniform = lambda self, low, high: 4.0

    def uniform(self, low=0.0, high=1.0, size=None):
        return 0.8 if (low, high) == (0, 1) else np.log(4.0)  # the host's log_uniform asks for the logarithm


def test_the_gain_of_the_camera_is_the_hosts_loop():
    """A light that goes through the frame, and was there before the first one."""
    maps = jnp.asarray(STILL).at[:, 0, 2].set(400 * jnp.cos(2.5 * jnp.arange(FRAMES)))[:, None]
    dark = jnp.full((1, 3), 0.25)
    lights = lighting.Lights(jnp.zeros(1, int), maps, dark, jnp.ones(1), jnp.zeros((1, on_host.WAVES, 3)))
    on_hosts = on_host.Light("edge", np.asarray(maps[:, 0]), np.full(3, 0.25), 1.0, np.zeros((on_host.WAVES, 3)))
    expected = on_host.exposure_control(Fixed(), (on_hosts,), FRAMES, 320, 200)
    np.testing.assert_allclose(lighting.exposure_control(Fixed(), lights, 320, 200), expected, rtol=1e-4)
    assert expected[0] > 1.5 and np.ptp(expected) > 0.5


def test_where_no_light_happens_nothing_changes():
    supply = Supply(jax.random.key(0), 128)
    lights = lighting.random_lights(supply, jnp.asarray(STILL), jnp.asarray(CENTER), jnp.asarray(SIZES), 0.0)
    assert (lighting.brightness(lights, lights.maps[3], CENTER) == 1).all()
    assert np.allclose(lighting.exposure_control(supply, lights, 320, 200), 1)
    grade, noise = lighting.at_night(supply, jnp.eye(3, 4), jnp.asarray(0.1), 0.0)
    assert np.array_equal(grade, np.eye(3, 4)) and noise == np.float32(0.1)


def test_nights_are_dark_pale_and_noisy():
    grade, noise = lighting.at_night(Supply(jax.random.key(1), 8), jnp.eye(3, 4), jnp.asarray(0.1), 1.0)
    red = np.asarray(grade)[:, 0]
    assert grade[:, :3].sum(1).max() < 0.61 and red[1] > 0 and red[0] < 0.6 and noise > 0.1
