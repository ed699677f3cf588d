"""Cut-outs: objects as small images with an alpha channel, and how their surfaces bend and turn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

PATCH = 96  # cut-outs are PATCH x PATCH
INSIDE = 0.93  # of the silhouette's width: leaves out its smooth edge


@dataclass(frozen=True)
class Cutout:
    """An object as an image with an alpha channel.

    Attributes:
      levels: premultiplied RGBA uint8 [96, 96, 4], and the same at 48 and 24 pixels.
      outline: float [P, 2], points of the silhouette in the patch.
    """

    levels: tuple[np.ndarray, ...]
    outline: np.ndarray

    @cached_property
    def extent(self) -> float:
        """The square root of the area of the bounding box."""
        return float(np.sqrt(np.prod(self.outline.max(0) - self.outline.min(0))))

    @property
    def center(self) -> np.ndarray:
        """The centre of the bounding box, x and y in the patch."""
        return (self.outline.max(0) + self.outline.min(0)) / 2

    @cached_property
    def hull(self) -> np.ndarray:
        """float [P, 2]: the outline's convex hull; after an affine map it has the same bounding box as the outline."""
        return cv2.convexHull(self.outline.astype(np.float32))[:, 0].astype(np.float64)

    @cached_property
    def rim(self) -> np.ndarray:
        """float [P, 2]: points along the silhouette's border, 2 px apart and 1 px inside."""
        alpha = np.pad(self.levels[1][..., 3], 1)
        mask = (alpha > min(127, alpha.max() // 2)).astype(np.uint8)
        rows, cols = np.nonzero(mask - cv2.erode(mask, np.ones((3, 3), np.uint8)))
        return np.stack([cols - 0.5, rows - 0.5], 1) * 2

    @cached_property
    def spans(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Of each level: middle and half width of the silhouette in each row, float [S, 1]."""
        spans = []
        for level in self.levels:
            inside = level[..., 3] > 127
            columns = np.arange(inside.shape[1])
            first = np.where(inside, columns, inside.shape[1]).min(1)
            last = np.where(inside, columns, -1).max(1)
            spans.append(((first + last)[:, None] / 2, np.maximum(last - first, 1)[:, None] / 2))
        return tuple(spans)


def cutout(rgb: np.ndarray, alpha: np.ndarray, outline: np.ndarray) -> Cutout:
    """Makes a cut-out of rgb uint8 [96, 96, 3], alpha uint8 [96, 96] and the outline."""
    factor = cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB)
    level = cv2.merge([*cv2.split(cv2.multiply(rgb, factor, scale=1 / 255)), alpha])
    levels = [level]
    for _ in range(2):
        level = cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        levels.append(level)
    return Cutout(tuple(levels), outline)


@lru_cache(maxsize=64)
def bend_field(index: int) -> tuple[np.ndarray, ...]:
    """A smooth displacement field of at most 1 px, float32 [S, S, 2] at the sizes of the pyramid (96, 48, 24)."""
    rng = np.random.Generator(np.random.Philox(index))
    coarse = rng.normal(0, 1, (4, 4, 2)).astype(np.float32)
    field = cv2.resize(coarse, (PATCH, PATCH), interpolation=cv2.INTER_CUBIC)
    field = field / np.abs(field).max()
    return tuple(cv2.resize(field, (PATCH >> k, PATCH >> k), interpolation=cv2.INTER_AREA) for k in range(3))


@lru_cache(maxsize=4)
def _grid(size: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).astype(np.float32)


def bent(patch: np.ndarray, amplitude: float, field: int) -> np.ndarray:
    """A level of a cut-out, bent by a field of at most `amplitude` pixels of the full patch."""
    size = patch.shape[0]
    source = _grid(size) + np.float32(amplitude * size / PATCH) * bend_field(field)[(PATCH // size).bit_length() - 1]
    return cv2.remap(patch, source, None, cv2.INTER_LINEAR)  # type: ignore[call-overload]


def turned(piece: Cutout, level: int, angle: float) -> np.ndarray:
    """A level of a cut-out that is a body of revolution and has turned about its upright axis by `angle` (radians).

    Its surface moves inside the silhouette. Its back is the mirror image of its front. Gaps of the silhouette show the
    body's mean colour.
    """
    patch, (middle, half) = piece.levels[level], piece.spans[level]
    columns, rows = np.moveaxis(_grid(patch.shape[0]), -1, 0)
    longitude = np.arcsin(np.clip((columns - middle) / half, -1, 1))
    source_x = (middle + INSIDE * half * np.sin(longitude + angle)).astype(np.float32)
    surface = cv2.remap(patch, source_x, rows, cv2.INTER_LINEAR)
    alpha = patch[..., 3:]
    mean = patch[..., :3].sum((0, 1)) / max(int(alpha.sum()), 1)  # of the colours; alpha is multiplied in
    rgb = (surface[..., :3] + (255 - surface[..., 3:]) * mean) * (alpha / 255)
    return np.concatenate([np.minimum(rgb, alpha), alpha], -1).astype(np.uint8)
