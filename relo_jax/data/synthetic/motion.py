"""How things move in composed clips: smooth random paths with bounded speed, jumps, folding at the border, affine maps.

A path is a sum of sinusoids whose amplitudes grow with their periods, so that each contributes the same speed: small
shakes and long excursions at once, in closed form, for all frames of all objects in one array operation.
"""

from __future__ import annotations

import numpy as np


def log_uniform(rng: np.random.Generator, low: float, high: float, size=None):
    """exp(U(log low, log high))."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def wander(rng: np.random.Generator, count: int, frames: int, fastest: float = 8, slowest: float = 240) -> np.ndarray:
    """[count, frames] smooth random paths of speed 1 (root mean square a frame), periods in frames."""
    parts = 5
    period = log_uniform(rng, fastest, slowest, (count, parts))
    weight = rng.exponential(1.0, (count, parts))
    amplitude = weight / np.sqrt((weight**2).sum(1, keepdims=True)) * period * (np.sqrt(2) / (2 * np.pi))
    phase = rng.uniform(0, 2 * np.pi, (count, parts))
    # In single precision, where the sine is many times faster; the angles stay small enough for it.
    turns = (2 * np.pi / period).astype(np.float32)[..., None] * np.arange(frames, dtype=np.float32)
    waves = np.sin(turns + phase.astype(np.float32)[..., None])
    return np.einsum("kp,kpf->kf", amplitude.astype(np.float32), waves).astype(np.float64)


def fold(path: np.ndarray, low, high) -> np.ndarray:
    """Reflects a path into [low, high]: it turns back at the border as a ball does."""
    span = np.maximum(high - low, 1e-6)
    phase = np.mod(path - low, 2 * span)
    return low + np.minimum(phase, 2 * span - phase)


def jumps(rng: np.random.Generator, frames: int, probability: float, low: float, high: float) -> np.ndarray:
    """[frames, 2] accumulated sudden displacements of length U(low, high) in random directions."""
    happens = rng.random(frames) < probability
    angle, length = rng.uniform(0, 2 * np.pi, frames), rng.uniform(low, high, frames)
    step = np.where(happens, length, 0)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return np.cumsum(step, axis=0)


def affine_maps(center: np.ndarray, angle: np.ndarray, scale_x, scale_y, anchor) -> np.ndarray:
    """[F, 2, 3]: patch -> frame maps that scale about `anchor` (x, y in the patch), rotate, and put it at `center`."""
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
    """The inverse affine maps, [..., 2, 3]."""
    a, b, c, d = maps[..., 0, 0], maps[..., 0, 1], maps[..., 1, 0], maps[..., 1, 1]
    linear = np.stack([np.stack([d, -b], -1), np.stack([-c, a], -1)], -2) / (a * d - b * c)[..., None, None]
    return np.concatenate([linear, -(linear @ maps[..., 2:])], axis=-1)


def apply(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    """[F, 2, 3] maps on [P, 2] points -> [F, P, 2]."""
    return points @ np.swapaxes(maps[..., :2], -1, -2) + maps[..., None, :, 2]
