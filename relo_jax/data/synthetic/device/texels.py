"""Pictures whose pixels are 32-bit words of four channels, and their bilinear interpolation two channels at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from relo_jax.data.synthetic.cutout import PATCH

# A cut-out's three sizes one after the other, each with a border of transparent texels.
SIZES = tuple(PATCH >> level for level in range(3))
STARTS = tuple(int(sum((size + 2) ** 2 for size in SIZES[:level])) for level in range(3))
TEXELS = sum((size + 2) ** 2 for size in SIZES)
_EVEN = np.uint32(0x00FF00FF)  # channels 0 and 2 of a word, with room for a product beside each
_HALVES = np.uint32(0x00800080)


def pack(image: Any) -> Any:
    """Words uint32 [...] of an image [..., C] with up to four channels in 0 to 255; NumPy's or JAX's, as that."""
    return join([image[..., c].astype(np.uint32) for c in range(image.shape[-1])])


def join(channels: Sequence[Any]) -> Any:
    """Words uint32 [...] of up to four channels uint32 [...]; NumPy's or JAX's, as those."""
    word = channels[0]
    for c, channel in enumerate(channels[1:], 1):
        word = word | (channel << np.uint32(8 * c))
    return word


def split(words: Array, count: int) -> list[Array]:
    """The first `count` channels, float32 [...] each."""
    return [((words >> (8 * c)) & 255).astype(jnp.float32) for c in range(count)]


def pyramid(rgba: Array) -> Array:
    """Words [TEXELS] of a premultiplied cut-out [96, 96, 4], at its three sizes."""
    levels, image = [], rgba
    for level in range(3):
        if level:
            half = image.shape[0] // 2
            image = jnp.round(image.reshape(half, 2, half, 2, 4).mean((1, 3)))
        levels.append(pack(jnp.pad(image, ((1, 1), (1, 1), (0, 0)))).reshape(-1))
    return jnp.concatenate(levels)


def interpolate(table: Array, start: ArrayLike, pitch: ArrayLike, x: Array, y: Array) -> tuple[Array, Array]:
    """Bilinear interpolation: words with channels 0 and 2, and with channels 1 and 3, in halves of 16 bits.

    Two channels share each multiplication: their products with weights of 8 bits fit into half a word. Sums of such
    words over up to 256 samples still do.

    Args:
      table: words [N].
      start: index of the texel at (0, 0).
      pitch: texels of a row.
      x, y: positions, at least 0, whose right and lower neighbours are in the table, too.
    """
    column, row = jnp.floor(x), jnp.floor(y)
    across, down = ((256 * v + 0.5).astype(jnp.uint32) for v in (x - column, y - row))
    both = (across * down + 128) >> 8
    first = start + row.astype(jnp.int32) * pitch + column.astype(jnp.int32)
    even = odd = jnp.asarray(_HALVES)
    for step, weight in ((0, 256 - across - down + both), (1, across - both), (pitch, down - both), (pitch + 1, both)):
        words = table.at[first + step].get(mode="promise_in_bounds")
        even, odd = even + (words & _EVEN) * weight, odd + ((words >> 8) & _EVEN) * weight
    return (even >> 8) & _EVEN, (odd >> 8) & _EVEN


def channels(sums: tuple[Array, Array], samples: int) -> list[Array]:
    """The four channels, float32, of `interpolate`'s words summed over samples."""
    even, odd = sums
    words = (even & 0xFFFF, odd & 0xFFFF, even >> 16, odd >> 16)
    return [word.astype(jnp.float32) / samples for word in words]
