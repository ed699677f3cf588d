"""How bodies and limbs move on the device, as they do on the host, and how often light, spray and night come."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.device import affine, compose
from relo_jax.data.synthetic.device.cast import Cast, Slots

FRAMES = 30
CORNERS = jnp.array([[20.0, 10], [70, 80]])


@pytest.fixture(scope="module")
def body_maps():
    along = jnp.linspace(0, 1, FRAMES)
    return affine.maps(100 + 80 * jnp.stack([along, along**2], 1), 0.4 * along, 1.5, 1.2, CORNERS.mean(0))


def in_patch(maps, points):
    """Points [F, 2] of the frames in a layer's patch."""
    return np.asarray(affine.apply(affine.invert(maps), points))


def test_a_limb_hangs_from_the_body_or_from_the_end_of_the_limb_before_it(body_maps):
    body = compose._one(compose._moving(body_maps, 0.0))
    corners = jnp.stack([CORNERS, CORNERS + 5, CORNERS - 4, CORNERS + 2])
    hung = jax.jit(lambda key: compose._limbs(key, corners, body, 1.0))
    chained = 0
    for seed in range(12):
        limbs = [limb.maps[:, 0] for limb in hung(jax.random.key(seed))]
        for k, maps in enumerate(limbs):
            anchor = jnp.stack([corners[k, :, 0].mean(), corners[k, 0, 1] + 8])
            joint = affine.apply(maps, anchor)
            on_body = np.ptp(in_patch(body_maps, joint), 0).max()
            on_limb = np.ptp(in_patch(limbs[k - 1], joint), 0).max() if k >= 2 else np.inf
            assert min(on_body, on_limb) < 0.02 < max(on_body, on_limb)
            if on_limb < on_body:
                end = [corners[k - 1, :, 0].mean(), corners[k - 1, 1, 1] - 8]
                np.testing.assert_allclose(in_patch(limbs[k - 1], joint)[0], end, atol=0.02)
                chained += 1
    assert 6 <= chained <= 18  # half of 24


def test_a_body_that_turns_becomes_narrower_or_wider_about_its_middle(body_maps):
    depths = set()
    for seed in range(6):
        maps, turn, turns = compose._turning(jax.random.key(seed), body_maps, CORNERS, Options(turning=1.0))
        width, before = (np.linalg.norm(np.asarray(k)[:, :, 0], axis=1) for k in (maps, body_maps))
        sine, cosine, ratio = np.sin(turn), np.cos(turn), np.square(width / before)
        depth = np.sqrt((ratio - cosine**2)[np.abs(sine) > 0.2] / sine[np.abs(sine) > 0.2] ** 2)
        assert turns and ratio[0] == pytest.approx(1, abs=1e-4)
        np.testing.assert_allclose(
            affine.apply(maps, CORNERS.mean(0)), affine.apply(body_maps, CORNERS.mean(0)), atol=1e-3
        )
        np.testing.assert_allclose(np.asarray(maps)[:, :, 1], np.asarray(body_maps)[:, :, 1], atol=1e-5)
        if len(depth):
            np.testing.assert_allclose(depth, depth[0], rtol=1e-2)
            depths.add(round(float(depth[0]), 3))
    assert len(depths) >= 3 and 0.4 <= min(depths) and max(depths) <= 2
    still, turn, turns = compose._turning(jax.random.key(0), body_maps, CORNERS, Options())
    assert still is body_maps and not turns and not turn.any()


def test_light_spray_and_night_come_as_often_as_the_options_say():
    options = Options(num_frames=4, clutter=0, distractors=0, limbs=0, sensor_noise=0.0, grade=0.0,
                      lighting=0.25, spray=0.75, night=0.5)  # fmt: skip
    count = Slots.of(options).count
    nothing = jnp.zeros((count, 1), jnp.uint32)
    cast = Cast(nothing, jnp.broadcast_to(CORNERS, (count, 2, 2)), jnp.ones(count, bool), nothing, nothing)

    def happens(key):
        scene = compose.compose(key, cast, options)
        is_dark = scene.grade[:, :3].sum(1).max() < 0.7
        return (scene.lights.color != 1).any(), (scene.clouds.opacity > 0).any(), is_dark, scene.noise_strength > 0

    lit, sprayed, dark, noisy = jax.jit(jax.vmap(happens))(jax.random.split(jax.random.key(0), 400))
    for share, expected in ((lit.mean(), 0.25), (sprayed.mean(), 0.75), (dark.mean(), 0.5)):
        assert share == pytest.approx(expected, abs=0.08)
    assert (dark == noisy).all()
