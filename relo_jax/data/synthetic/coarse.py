"""Smooth fields over a view: computed at the cells of a coarse grid, and interpolated between these."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

CELL = 4  # output pixels of a side


def spread(
    field: Callable[[np.ndarray], np.ndarray], x: float, y: float, scale: float, width: int, height: int
) -> np.ndarray:
    """A field over a view, float32 [height, width, C].

    Args:
      field: values [P, C] at points [P, 2] of the frame.
      x, y, scale, width, height: the view, as in `scene.render`.
    """
    rows, columns = -(-height // CELL), -(-width // CELL)
    # Centres of the cells, in the frame. `resize` puts them there in the output too.
    at_x = x + (np.arange(columns) + 0.5) * width / columns / scale
    at_y = y + (np.arange(rows) + 0.5) * height / rows / scale
    points = np.stack(np.meshgrid(at_x, at_y), -1).reshape(-1, 2)
    values = field(points)
    return cv2.resize(values.reshape(rows, columns, -1).astype(np.float32), (width, height))
