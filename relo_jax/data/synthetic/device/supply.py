"""Random numbers for what is drawn on the device: a scene needs thousands, in hundreds of places.

One call of `jax.random` makes them all, and each place takes a slice: a kernel for each place would take longer than
what is drawn from it.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtri
from jax.typing import ArrayLike

Shape = int | tuple[int, ...]


class Supply:
    """Hands out `count` random numbers of a key, each once; the methods are those of numpy's generators.

    Taking more than `count` is an error while the program is traced.
    """

    def __init__(self, key: Array, count: int):
        self._numbers, self._next = jax.random.uniform(key, (count,)), 0

    def uniform(self, low: ArrayLike = 0.0, high: ArrayLike = 1.0, shape: Shape = ()) -> Array:
        """U(low, high)."""
        shape = (shape,) if isinstance(shape, int) else shape
        start, self._next = self._next, self._next + math.prod(shape)
        if self._next > len(self._numbers):
            raise ValueError(f"a supply of {len(self._numbers)} random numbers is used up")
        return low + jnp.subtract(high, low) * self._numbers[start : self._next].reshape(shape)

    def log_uniform(self, low: ArrayLike, high: ArrayLike, shape: Shape = ()) -> Array:
        """exp(U(log low, log high))."""
        return jnp.exp(self.uniform(jnp.log(low), jnp.log(high), shape))

    def angle(self, shape: Shape = ()) -> Array:
        """U(0, 2 pi)."""
        return self.uniform(0, 2 * jnp.pi, shape)

    def normal(self, mean: ArrayLike = 0.0, spread: ArrayLike = 1.0, shape: Shape = ()) -> Array:
        """N(mean, spread^2)."""
        return mean + spread * ndtri(jnp.maximum(self.uniform(shape=shape), 1e-7))

    def happens(self, probability: ArrayLike) -> Array:
        """bool: true with this probability."""
        return self.uniform() < probability

    def integers(self, low: int, high: ArrayLike, shape: Shape = ()) -> Array:
        """int32 from low to high - 1."""
        number = jnp.floor(self.uniform(low, high, shape)).astype(jnp.int32)
        return jnp.minimum(number, jnp.asarray(high, jnp.int32) - 1)

    def order(self, count: int) -> Array:
        """int32 [count]: a random permutation."""
        return jnp.argsort(self.uniform(shape=count))

    def beta(self, a: float, b: float, shape: Shape = ()) -> Array:
        """Beta(a, b), from a table of quantiles."""
        x = (np.arange(1000) + 0.5) / 1000
        share = np.cumsum(x ** (a - 1) * (1 - x) ** (b - 1))
        return jnp.interp(self.uniform(shape=shape), jnp.asarray(share / share[-1]), jnp.asarray(x))
