"""Affine maps [..., 2, 3] on the device, and smooth paths: `relo_jax.data.synthetic.motion` in JAX."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from relo_jax.data.synthetic.device.supply import Supply


def maps(center: Array, angle: ArrayLike, scale_x: ArrayLike, scale_y: ArrayLike, anchor: ArrayLike) -> Array:
    """Maps [F, 2, 3] that scale, then rotate, and move `anchor` to `center`.

    Args:
      center: [F, 2], positions in the frame.
      angle: in radians, [F] or a scalar, as are both scales.
      anchor: x, y in the patch.
    """
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rows = [[cos * scale_x, -sin * scale_y], [sin * scale_x, cos * scale_y]]
    frames = len(center)
    linear = jnp.stack([jnp.stack([jnp.broadcast_to(v, frames) for v in row], -1) for row in rows], -2)
    return jnp.concatenate([linear, (center - times(linear, anchor))[..., None]], -1)


def times(linear: Array, vector: ArrayLike) -> Array:
    """[..., 2, 2] times [..., 2], in full precision (a product of matrices may have less)."""
    return (linear * jnp.asarray(vector)[..., None, :]).sum(-1)


def compose(outer: Array, inner: Array) -> Array:
    """outer(inner(p)) of maps [..., 2, 3]."""
    linear = (outer[..., :, :2, None] * inner[..., None, :, :2]).sum(-2)
    shift = times(outer[..., :2], inner[..., 2]) + outer[..., 2]
    return jnp.concatenate([linear, shift[..., None]], -1)


def invert(outer: Array) -> Array:
    """The inverses of maps [..., 2, 3]."""
    a, b, c, d = outer[..., 0, 0], outer[..., 0, 1], outer[..., 1, 0], outer[..., 1, 1]
    linear = jnp.stack([jnp.stack([d, -b], -1), jnp.stack([-c, a], -1)], -2) / (a * d - b * c)[..., None, None]
    return jnp.concatenate([linear, -times(linear, outer[..., 2])[..., None]], -1)


def apply(outer: Array, points: ArrayLike) -> Array:
    """Maps [..., 2, 3] of points [..., 2]."""
    return times(outer[..., :2], points) + outer[..., 2]


def wander(supply: Supply, count: int, frames: int, fastest: ArrayLike = 8.0, slowest: ArrayLike = 240.0) -> Array:
    """Smooth random paths [count, frames] of speed 1.

    Args:
      fastest, slowest: limits of the periods, in frames; [count, 1] or a scalar.
    """
    parts = (count, 5)
    period = supply.log_uniform(fastest, slowest, parts)
    weight = -jnp.log1p(-supply.uniform(shape=parts))
    amplitude = weight / jnp.sqrt((weight**2).sum(1, keepdims=True)) * period * (2**0.5 / (2 * jnp.pi))
    phase = supply.angle(parts)
    turns = (2 * jnp.pi / period)[..., None] * jnp.arange(frames)
    return (amplitude[..., None] * jnp.sin(turns + phase[..., None])).sum(1)


def fold(path: Array, low: ArrayLike, high: ArrayLike) -> Array:
    """Reflects a path at the limits low and high, like a ball at a wall."""
    span = jnp.maximum(jnp.subtract(high, low), 1e-6)
    phase = jnp.mod(path - low, 2 * span)
    return jnp.add(low, jnp.minimum(phase, 2 * span - phase))


def jumps(supply: Supply, frames: int, probability: ArrayLike, low: float, high: float) -> Array:
    """[frames, 2]: the sum of sudden displacements so far, each of length U(low, high) in a random direction."""
    happens = supply.uniform(shape=frames) < probability
    angle, length = supply.angle(frames), supply.uniform(low, high, frames)
    step = jnp.where(happens, length, 0)[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1)
    return jnp.cumsum(step, axis=0)
