"""Spray on the device: that of the host, in pictures (test_scene.py) and in how it is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.data.synthetic import spray as on_host
from relo_jax.data.synthetic.device import spray
from relo_jax.data.synthetic.device.supply import Supply

FRAMES, COUNT = 30, 3000
STILL = np.repeat(np.eye(2, 3, dtype=np.float32)[None], FRAMES, 0)
MOVED = STILL + np.linspace(0, 60, FRAMES)[:, None, None] * np.eye(2, 3, 2)  # the scene moves to the right
CENTER = np.stack([np.linspace(20, 300, FRAMES), np.full(FRAMES, 100.0)], 1)
SIZES = np.full(FRAMES, 30.0)


@pytest.fixture(scope="module")
def drawn():
    """What becomes of a grey target: the factor and the brightness that is added, each [COUNT, F]."""

    def draw(key):
        clouds = spray.random_clouds(Supply(key, 128), jnp.asarray(MOVED), jnp.asarray(CENTER), jnp.asarray(SIZES), 1.0)
        made = jax.vmap(lambda frame, at: spray.veil(clouds, frame, at[None])[0])(jnp.arange(FRAMES), CENTER)
        return made[:, 0], made[:, 1:].mean(-1)

    return jax.device_get(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), COUNT)))


def hosts():
    made = []
    for seed in range(COUNT):
        clouds = on_host.random_clouds(np.random.default_rng(seed), MOVED, CENTER, SIZES)
        made.append([on_host.veil(clouds, CENTER[k : k + 1], k)[0] for k in range(FRAMES)])
    made = np.array(made)
    return made[..., 0], made[..., 1:].mean(-1)


def test_the_target_meets_clouds_as_on_the_host(drawn):
    (factor, added), (their_factor, their_added) = drawn, hosts()
    statistics = lambda factor, added: np.stack(
        [factor.min(1), factor.mean(1), np.abs(np.diff(factor)).mean(1), added.max(1) / 255]
    )
    shares = [0.1, 0.3, 0.5, 0.7, 0.9]
    ours, theirs = (np.quantile(statistics(*k), shares, axis=1) for k in ((factor, added), (their_factor, their_added)))
    np.testing.assert_allclose(ours, theirs, atol=0.04)
    assert ours[0, 0] < 0.4 and ours[-1, -1] > 0.5


def test_where_no_spray_happens_nothing_changes():
    clouds = spray.random_clouds(Supply(jax.random.key(0), 128), *map(jnp.asarray, (STILL, CENTER, SIZES)), 0.0)
    made = spray.veil(clouds, jnp.asarray(3), jnp.asarray(CENTER))
    assert np.array_equal(made, np.repeat([[1.0, 0, 0, 0]], FRAMES, 0))
