"""Fits the position table of an ImageNet-pretrained encoder to search and template crops.

Fast-iTPN has one table for its square image; RELO has one for the search crop and one for the template. Each is the
top-left corner of the pretrained table ("index" in the release's configs), or the whole table enlarged if it is too
small, as in the release.
"""

import math

import numpy as np

from relo_jax.config.model_config import STRIDE
from relo_jax.errors import UserError
from relo_jax.model import RELO


def split_positions(table: np.ndarray, model: RELO, where: str = "") -> np.ndarray:
    """RELO's two position tables from one square table.

    Args:
      table: `[1, P, D]`, P a square number, row-major.
      model: its search and template grids set the sizes.
      where: the file, which begins the message of an error.

    Returns:
      `[1, Ns + Nt, D]`, search first.

    Raises:
      UserError: P is not a square number.
    """
    side = math.isqrt(table.shape[1]) if table.ndim == 3 else 0
    if not side or side * side != table.shape[1]:
        raise UserError(f"{where}pos_embed has shape {table.shape}, expected (1, side * side, width)")
    square = table.reshape(side, side, -1)
    parts = []
    for size in (model.config.search_size, model.config.template_size):
        new = size // STRIDE
        if new > side:
            weights = bicubic_weights(side, new)
            part = np.einsum("ip,jq,pqd->ijd", weights, weights, square)
        else:
            part = square[:new, :new]
        parts.append(part.reshape(new * new, -1))
    return np.concatenate(parts)[None].astype(np.float32)


def bicubic_weights(old: int, new: int) -> np.ndarray:
    """Matrix `[new, old]` of PyTorch's bicubic resampling with aligned corners (Keys' kernel, a = -0.75)."""
    a = -0.75
    at = np.arange(new) * ((old - 1) / max(new - 1, 1))
    weights = np.zeros((new, old))
    for tap in (-1, 0, 1, 2):
        index = np.floor(at).astype(int) + tap
        d = np.abs(at - index)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        np.add.at(weights, (np.arange(new), index.clip(0, old - 1)), np.where(d <= 1, near, far))
    return weights
