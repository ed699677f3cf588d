"""The camera of `scene.render`: blur, pixels, light and colours, sensor noise, JPEG-like compression.

Blur and pixels are linear and act on rows and columns alike, so one matrix [S, S] does both, by two products that suit
every device.
"""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

NOISE_OFFSETS = 100  # in each direction

# The tables of the JPEG standard (ITU T.81, annex K), which every encoder scales by its quality.
_LUMINANCE = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
_CHROMINANCE = """17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99"""
_STEPS = np.stack([np.array(t.split(), np.float32).reshape(8, 8) for t in (_LUMINANCE, _CHROMINANCE, _CHROMINANCE)])
# From channels in the encoder's order, blue first, in which scenes hand over red first.
_TO_YCC = np.array(
    [[0.114, 0.587, 0.299], [0.5, -0.331264, -0.168736], [-0.081312, -0.418688, 0.5]], np.float32
)  # fmt: skip
_TO_RGB = np.linalg.inv(_TO_YCC).astype(np.float32)


@flax.struct.dataclass
class Tables:
    """What all scenes share.

    Attributes:
      noise: uint8 [256, 256, 3], the sensor's noise around 128.
      fields: float32 [64, TEXELS, 2], the bend fields at the texels of a cut-out.
    """

    noise: Array
    fields: Array


def take(scene: Any, view: Any, image: Array, tables: Tables, effects: Any) -> Array:
    """The camera's picture uint8 [S, S, 3] of an image float32 [S, S, 3]; the others as in `scene.render`."""
    size, picture = image.shape[0], image
    if effects.optics:
        matrix = optics(size, scene.blur * view.scale, scene.pixel * view.scale)
        picture = _rounded(jnp.einsum("ij,jkc,lk->ilc", matrix, picture, matrix))
    light = scene.light[view.frame][:, None] * scene.grade
    picture = _rounded((picture[..., None, :] * light[:, :3]).sum(-1) + light[:, 3])
    if effects.noise:
        strength, noise = scene.noise_strength, _noise(tables.noise, scene.noise_offsets[view.frame], size)
        picture = _rounded(picture + strength * (noise - 128))
    if effects.compression:
        picture = jnp.where(scene.quality > 0, compress(picture, jnp.maximum(scene.quality, 1)), picture)
    return picture.astype(jnp.uint8)


def _rounded(picture):
    return jnp.clip(jnp.round(picture), 0, 255)


def optics(size: int, sigma: Array, pixel: Array) -> Array:
    """[S, S]: the Gaussian blur of `sigma` pixels (none up to 0.3), then pixels of side `pixel` (none up to 1)."""
    i, j = jnp.arange(size)[:, None], jnp.arange(size)[None]
    blur = jnp.where(sigma > 0.3, gaussian(size, jnp.maximum(sigma, 0.3)), i == j)
    few = jnp.maximum(jnp.round(size / jnp.maximum(pixel, 1)), 1)
    step = size / few
    shared = jnp.minimum((i + 1) * step, j + 1) - jnp.maximum(i * step, j)  # of large pixel i and pixel j
    down = jnp.maximum(shared, 0) / step
    position = jnp.clip((i + 0.5) / step - 0.5, 0, few - 1)
    up = jnp.where(j < few, jnp.maximum(1 - jnp.abs(position - j), 0), 0)
    return jnp.where(pixel > 1, up @ (down @ blur), blur)


def gaussian(size: int, sigma: Array) -> Array:
    """[S, S]: a blur with OpenCV's radius, whose image goes on mirrored."""
    i, j = jnp.arange(size)[:, None], jnp.arange(size)[None]
    radius = jnp.round(sigma * 6 + 1).astype(jnp.int32) // 2

    def weight(distance):
        return jnp.where(distance <= radius, jnp.exp(-(distance**2) / (2 * sigma**2)), 0)

    last = size - 1
    mirrored = jnp.where(j > 0, weight(i + j), 0) + jnp.where(j < last, weight(2 * last - i - j), 0)
    total = weight(jnp.abs(jnp.arange(-last, last + 1))).sum()
    return (weight(jnp.abs(i - j)) + mirrored) / total


def _noise(noise, offset, size):
    """float32 [S, S, 3]: the noise from the offset (x, y) on; beyond its end it goes on mirrored."""
    along = offset[:, None] + jnp.arange(size)
    along = jnp.minimum(along, 2 * noise.shape[0] - 1 - along)
    return noise[along[1][:, None], along[0][None]].astype(jnp.float32)


def compress(picture: Array, quality: Array) -> Array:
    """What JPEG of a quality from 1 to 100 leaves of a picture [S, S, 3]; colours have half the resolution."""
    size = picture.shape[0]
    padding = -size % 16
    picture = jnp.pad(picture, ((0, padding), (0, padding), (0, 0)), mode="edge")
    scale = jnp.floor(jnp.where(quality < 50, 5000 / quality, 200 - 2 * quality))
    steps = jnp.clip(jnp.floor((_STEPS * scale + 50) / 100), 1, 255)
    parts = jnp.round(_mix(_TO_YCC, picture))
    half = (size + padding) // 2
    colors = jnp.round(parts[..., 1:].reshape(half, 2, half, 2, 2).mean((1, 3)))
    light = _quantised(parts[..., :1] - 128, steps[0]) + 128
    colors = _doubled(_doubled(_quantised(colors, steps[1]), 0), 1)
    return _rounded(_mix(_TO_RGB, jnp.concatenate([light, jnp.round(colors)], -1)))[:size, :size]


def _quantised(parts, steps):
    """Channels [S, S, C] around 0 after their cosine transforms, in blocks of 8 x 8, were rounded to steps [8, 8]."""
    count, channels, basis = parts.shape[0] // 8, parts.shape[2], _cosines()
    blocks = parts.reshape(count, 8, count, 8, channels)
    precise = dict(precision=jax.lax.Precision.HIGHEST)  # a lower one would show at the edges of blocks
    waves = jnp.einsum("ui,aibjc,vj->aubvc", basis, blocks, basis, **precise)
    steps = steps[:, None, :, None]
    waves = jnp.round(waves / steps) * steps
    blocks = jnp.round(jnp.einsum("ui,aubvc,vj->aibjc", basis, waves, basis, **precise))
    return jnp.clip(blocks.reshape(parts.shape), -128, 127)


def _doubled(parts, axis):
    """Twice as many rows (columns), interpolated linearly."""
    count = parts.shape[axis]
    pick = lambda step: jnp.take(parts, jnp.clip(jnp.arange(count) + step, 0, count - 1), axis)
    both = jnp.stack([0.75 * parts + 0.25 * pick(-1), 0.75 * parts + 0.25 * pick(1)], axis + 1)
    return both.reshape(*parts.shape[:axis], 2 * count, *parts.shape[axis + 1 :])


def _mix(matrix, picture):
    """A matrix [3, 3] on the channels."""
    return (picture[..., None, :] * matrix).sum(-1)


def _cosines():
    """[8, 8]: the orthonormal cosine transform."""
    u, i = np.arange(8)[:, None], np.arange(8)[None]
    return (np.cos((2 * i + 1) * u * np.pi / 16) * np.where(u, 0.5, 8**-0.5)).astype(np.float32)
