"""Augmentation of single crops."""

import numpy as np

from relo_jax.data.clips import augment


def test_two_flips_cancel():
    image = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    box = np.array([0.1, 0.2, 0.3, 0.4])
    once, box_once = augment.flip(image, box)
    assert np.allclose(box_once, [0.6, 0.2, 0.3, 0.4])
    twice, box_twice = augment.flip(once, box_once)
    assert np.array_equal(twice, image) and np.allclose(box_twice, box)


def test_brightness_multiplies_and_clips():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    assert np.array_equal(
        augment.brighten(ramp, 1.2).ravel(), np.minimum(np.rint(ramp.astype(float) * 1.2), 255).ravel()
    )
    assert augment.brighten(ramp, 0.8).max() == 204
