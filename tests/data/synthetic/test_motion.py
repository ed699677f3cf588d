"""Motion: affine maps, reflected paths, random paths."""

import numpy as np

from relo_jax.data.synthetic import motion


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
