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
# Keeps an array, or a tree of them: the compiler would rather compute it anew in every place that reads it.
kept = jax.lax.optimization_barrier


class Supply:
    """Hands out `count` random numbers of a key, each once; the methods are those of numpy's generators.

    Taking more than `count` is an error while the program is traced.
    """

    def __init__(self, key: Array, count: int):
        numbers = jax.random.uniform(key, (count,))
        self._uniform, self._normal = kept((numbers, ndtri(jnp.maximum(numbers, 1e-7))))
        self._next = 0

    def _take(self, numbers, shape):
        shape = (shape,) if isinstance(shape, int) else shape
        start, self._next = self._next, self._next + math.prod(shape)
        if self._next > len(numbers):
            raise ValueError(f"a supply of {len(numbers)} random numbers is used up")
        return numbers[start : self._next].reshape(shape)

    def uniform(self, low: ArrayLike = 0.0, high: ArrayLike = 1.0, shape: Shape = ()) -> Array:
        """U(low, high)."""
        return low + jnp.subtract(high, low) * self._take(self._uniform, shape)

    def log_uniform(self, low: ArrayLike, high: ArrayLike, shape: Shape = ()) -> Array:
        """exp(U(log low, log high)) of numbers that are known when the program is traced."""
        return jnp.exp(self.uniform(np.log(low), np.log(high), shape))

    def angle(self, shape: Shape = ()) -> Array:
        """U(0, 2 pi)."""
        return self.uniform(0, 2 * jnp.pi, shape)

    def normal(self, mean: ArrayLike = 0.0, spread: ArrayLike = 1.0, shape: Shape = ()) -> Array:
        """N(mean, spread^2)."""
        return mean + spread * self._take(self._normal, shape)

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
        quantiles = np.interp(np.linspace(0, 1, 257), share / share[-1], x).astype(np.float32)
        position = 256 * self.uniform(shape=shape)
        below = position.astype(jnp.int32)
        low, high = (jnp.asarray(quantiles)[jnp.minimum(below + k, 256)] for k in (0, 1))
        return low + (position - below) * (high - low)
