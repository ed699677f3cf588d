"""Heads: the box of one cell without those of the others."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.model.small import small, variables


def test_the_box_at_a_cell_is_that_of_the_maps():
    """In the middle, at borders and in corners, where the towers' padding shows."""
    model, side = small(), small().config.grid
    features = jax.random.normal(jax.random.key(3), (side * side, side * side, model.config.width))
    action = jnp.arange(side * side)
    whole = jax.jit(lambda v: model.apply(v, features, method="boxes"))(variables())
    cell = jax.jit(lambda v: model.apply(v, features, action, method="box_at"))(variables())
    for maps, one in zip(whole, cell, strict=True):
        at = maps.reshape(side * side, side * side, 2)[action, action]
        np.testing.assert_allclose(one, at, atol=1e-5)
        assert np.ptp(at) > 0
