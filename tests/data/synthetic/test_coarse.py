"""What is computed on a coarse grid is the same in every view."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relo_jax.data.synthetic import motion
from relo_jax.data.synthetic.lighting import Light, brightness, shine
from relo_jax.data.synthetic.spray import Cloud, cover, veil

MAPS = motion.invert(motion.affine_maps(np.full((1, 2), 40.0), np.array([0.4]), 30, 20, (0, 0)))
LIGHTS = (Light("pool", MAPS, np.array([0.3, 0.6, 1.5]), 1.0, np.ones((6, 3))),)
CLOUDS = (Cloud(MAPS, np.array([0.8]), np.array([200.0, 210, 220]), 0.0, 2.0, np.zeros((6, 4))),)
GREY, WIDTH, HEIGHT = 100, 56, 40


def lit(points):
    return GREY * brightness(LIGHTS, points, 0)


def clouded(points):
    made = veil(CLOUDS, points, 0)
    return GREY * made[:, :1] + made[:, 1:]


@pytest.mark.parametrize(("draw", "things", "exact"), [(shine, LIGHTS, lit), (cover, CLOUDS, clouded)])
@given(x=st.floats(-20, 60), y=st.floats(-20, 60), scale=st.floats(0.5, 4))
def test_each_view_shows_the_same(draw, things, exact, x, y, scale):
    view = draw(np.full((HEIGHT, WIDTH, 3), GREY, np.uint8), things, 0, x, y, scale).astype(float)
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    points = np.stack([x + columns / scale, y + rows / scale], -1).reshape(-1, 2)
    difference = np.abs(view - exact(points).reshape(HEIGHT, WIDTH, 3))
    # Between the cells of the grid it is interpolated; on the border it is that of the nearest cell.
    assert difference.mean() < 2 and difference[2:-2, 2:-2].max() < 8
