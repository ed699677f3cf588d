"""What scenes are made of, on the device: the host's texture bank and stock of cut-outs, and the bend fields."""

from __future__ import annotations

from typing import Any

import flax.struct
import numpy as np
from jax import Array

from relo_jax.data.synthetic import objects, textures
from relo_jax.data.synthetic.cutout import bend_field
from relo_jax.data.synthetic.device import camera, texels

BEND_FIELDS = 64


@flax.struct.dataclass
class Assets:
    """The bank of a seed and size, as arrays.

    Attributes:
      textures: uint32 [N, 256 * 256 + 128 * 128], each texture and the same at half the size.
      scenic: int32 [M], textures that can be a background.
      shades: float32 [24, 96, 96], factors that give objects relief.
      stock: uint32 [N, TEXELS], cut-outs for clutter, occluders and carriers.
      stock_corners: float32 [N, 2, 2], the upper left and lower right corner of each one's bounding box.
      tables: of rendering.
    """

    textures: Array
    scenic: Array
    shades: Array
    stock: Array
    stock_corners: Array
    tables: camera.Tables


def load(seed: int, size: int) -> Assets:
    """Makes the bank and stock as the host does (about 15 ms a texture), as numpy arrays."""
    bank = textures.bank(seed, size)
    stock = objects.stock(bank, seed)
    flat = [texels.pack(images).reshape(size, -1) for images in (bank.textures, bank.halves)]
    arrays: dict[str, Any] = {
        "textures": np.concatenate(flat, 1),
        "scenic": bank.scenic.astype(np.int32),
        "shades": bank.shades[..., 0].astype(np.float32) / 255,
        "stock": np.stack([host_pyramid(piece.levels) for piece in stock]),
        "stock_corners": np.stack([[k.outline.min(0), k.outline.max(0)] for k in stock]).astype(np.float32),
    }
    tables: dict[str, Any] = {"noise": bank.noise, "fields": bend_fields()}
    return Assets(tables=camera.Tables(**tables), **arrays)


def host_pyramid(levels: tuple[np.ndarray, ...]) -> np.ndarray:
    """Words [TEXELS] of a cut-out of the host."""
    return np.concatenate([texels.pack(np.pad(level, ((1, 1), (1, 1), (0, 0)))).reshape(-1) for level in levels])


def bend_fields() -> np.ndarray:
    """float32 [64, TEXELS, 2], at the texels of a cut-out."""
    border = ((1, 1), (1, 1), (0, 0))
    fields = (bend_field(number) for number in range(BEND_FIELDS))
    return np.stack([np.concatenate([np.pad(k, border).reshape(-1, 2) for k in field]) for field in fields])
