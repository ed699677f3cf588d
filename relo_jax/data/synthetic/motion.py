"""Motion in composed scenes: smooth random paths of bounded speed, jumps, reflection at the border, affine maps.

A path is a sum of sinusoids whose amplitudes are proportional to their periods, so that each contributes the same
speed. One closed form gives fast shaking and slow excursions, for all frames of all objects in one array operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import ArrayLike


@overload
def log_uniform(rng: np.random.Generator, low: float, high: float, size: None = None) -> float: ...
@overload
def log_uniform(rng: np.random.Generator, low: float, high: float, size: int | tuple[int, ...]) -> np.ndarray: ...
@overload
def log_uniform(rng: np.random.Generator, low: Sequence[float], high: Sequence[float]) -> np.ndarray: ...
def log_uniform(
    rng: np.random.Generator,
    low: float | Sequence[float],
    high: float | Sequence[float],
    size: int | tuple[int, ...] | None = None,
) -> float | np.ndarray:
    """Draws exp(U(log low, log high)): a number, an array of shape `size`, or one number for each pair of limits."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def wander(rng: np.random.Generator, count: int, frames: int, fastest: float = 8, slowest: float = 240) -> np.ndarray:
    """Smooth random paths [count, frames] of speed 1 (root mean square, a frame).

    Args:
      fastest, slowest: limits of the periods, in frames.
    """
    parts = 5
    period = log_uniform(rng, fastest, slowest, (count, parts))
    weight = rng.exponential(1.0, (count, parts))
    amplitude = weight / np.sqrt((weight**2).sum(1, keepdims=True)) * period * (np.sqrt(2) / (2 * np.pi))
    phase = rng.uniform(0, 2 * np.pi, (count, parts))
    # The sine is many times faster in single precision, and the angles are small enough for it.
    turns = (2 * np.pi / period).astype(np.float32)[..., None] * np.arange(frames, dtype=np.float32)
    waves = np.sin(turns + phase.astype(np.float32)[..., None])
    return np.einsum("kp,kpf->kf", amplitude.astype(np.float32), waves).astype(np.float64)


def fold(path: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """Reflects a path at the limits low and high, like a ball at a wall."""
    span = np.maximum(high - low, 1e-6)
    phase = np.mod(path - low, 2 * span)
    return low + np.minimum(phase, 2 * span - phase)


def jumps(rng: np.random.Generator, frames: int, probability: float, low: float, high: float) -> np.ndarray:
    """[frames, 2]: the sum of sudden displacements so far, each of length U(low, high) in a random direction."""
    happens = rng.random(frames) < probability
    angle, length = rng.uniform(0, 2 * np.pi, frames), rng.uniform(low, high, frames)
    step = np.where(happens, length, 0)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return np.cumsum(step, axis=0)


def affine_maps(
    center: np.ndarray, angle: np.ndarray, scale_x: ArrayLike, scale_y: ArrayLike, anchor: ArrayLike
) -> np.ndarray:
    """Maps [F, 2, 3] from a patch to the frame: they scale, then rotate, and move `anchor` to `center`.

    Args:
      center: [F, 2], positions in the frame.
      angle: [F], in radians.
      scale_x, scale_y: [F] or scalars.
      anchor: x, y in the patch.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    maps = np.empty((len(center), 2, 3))
    maps[:, 0, 0], maps[:, 0, 1] = cos * scale_x, -sin * scale_y
    maps[:, 1, 0], maps[:, 1, 1] = sin * scale_x, cos * scale_y
    maps[:, :, 2] = center - maps[:, :, :2] @ np.asarray(anchor, np.float64)
    return maps


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """outer(inner(p)) of affine maps [..., 2, 3]."""
    linear = outer[..., :2] @ inner[..., :2]
    shift = (outer[..., :2] @ inner[..., 2:])[..., 0] + outer[..., 2]
    return np.concatenate([linear, shift[..., None]], axis=-1)


def invert(maps: np.ndarray) -> np.ndarray:
    """The inverses of affine maps [..., 2, 3]."""
    a, b, c, d = maps[..., 0, 0], maps[..., 0, 1], maps[..., 1, 0], maps[..., 1, 1]
    linear = np.stack([np.stack([d, -b], -1), np.stack([-c, a], -1)], -2) / (a * d - b * c)[..., None, None]
    return np.concatenate([linear, -(linear @ maps[..., 2:])], axis=-1)


def apply(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Applies maps [F, 2, 3] to points [P, 2]: [F, P, 2]."""
    return points @ np.swapaxes(maps[..., :2], -1, -2) + maps[..., None, :, 2]
