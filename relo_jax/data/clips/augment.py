"""Augmentation of a clip's crops (the paper's training data, with the release's numbers): grey, flip, brightness.

The release augments floats in [0, 1]. Here a table of 256 entries does the same on uint8 in a fraction of the time.
"""

from __future__ import annotations

import cv2
import numpy as np

_LEVELS = np.arange(256, dtype=np.float32)


def grey(image: np.ndarray) -> np.ndarray:
    """The luminance of a uint8 [H, W, 3] RGB image, in all three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def brighten(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiplies uint8 values by `factor` and clips them at 255."""
    return cv2.LUT(image, np.minimum(np.rint(_LEVELS * np.float32(factor)), 255).astype(np.uint8))


def flip(image: np.ndarray, box_xywh_norm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mirrors a crop and its normalised box: x -> 1 - x - w."""
    x, y, w, h = box_xywh_norm
    return cv2.flip(image, 1), np.array([1 - x - w, y, w, h])
