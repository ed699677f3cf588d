"""Smooth fields over a view, on the device: `relo_jax.data.synthetic.coarse` in JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from relo_jax.data.synthetic.coarse import CELL


def spread(field: Callable[[Array], Array], view: Any, size: int) -> Array:
    """A field over a view, float32 [size, size, C].

    Args:
      field: values [P, C] at points [P, 2] of the frame.
      view: as in `scene.render`.
      size: of the view's sides, in output pixels.
    """
    cells = -(-size // CELL)
    along = (jnp.arange(cells) + 0.5) * size / cells / view.scale
    points = jnp.stack(jnp.broadcast_arrays(view.x + along[None], view.y + along[:, None]), -1).reshape(-1, 2)
    values = field(points)
    position = jnp.clip((jnp.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
    weight = jnp.maximum(1 - jnp.abs(position[:, None] - jnp.arange(cells)), 0)
    grid = values.reshape(cells, cells, -1)
    return jnp.einsum("ia,abc,jb->ijc", weight, grid, weight, precision=jax.lax.Precision.HIGHEST)
