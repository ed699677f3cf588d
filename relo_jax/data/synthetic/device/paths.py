"""Smooth random paths, as of `relo_jax.data.synthetic.motion.wander`, on the device."""

from __future__ import annotations

import numpy as np
from jax import Array

from relo_jax.data.synthetic.device import affine
from relo_jax.data.synthetic.device.supply import Supply, kept


class Paths:
    """A supply of smooth random paths of speed 1, all drawn in one array operation."""

    def __init__(self, supply: Supply, slow: int, frames: int):
        """`slow` ordinary paths, and two each of `gait` and of `shake`, which are faster."""
        fastest, slowest = np.full((slow + 4, 1), 8.0), np.full((slow + 4, 1), 240.0)
        fastest[slow:, 0], slowest[slow:, 0] = (3, 3, 4, 4), (9, 9, 120, 120)
        paths = kept(affine.wander(supply, slow + 4, frames, fastest, slowest))
        self._slow, self._next, self.gait, self.shake = paths[:slow], 0, paths[slow : slow + 2], paths[slow + 2 :]

    def take(self, count: int) -> Array:
        """The next ordinary paths, [count, F]."""
        self._next += count
        return self._slow[self._next - count : self._next]

    def take_one(self) -> Array:
        """The next ordinary path, [F]."""
        return self.take(1)[0]
