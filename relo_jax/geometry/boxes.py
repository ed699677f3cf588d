"""Boxes: three formats, overlap, and clipping to the image.

Every function takes NumPy or JAX arrays and keeps their precision: the tracker computes in float64 on the host, the
losses in float32 under jit. Coordinates are continuous: a box from x to x + w is w wide, and overlap is that of
continuous rectangles, as in the release.
"""

from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Real

Boxes = Real[Array | np.ndarray, "*batch 4"]
# Two arrays of boxes whose leading axes broadcast, and one number for each pair.
BroadcastBoxes = Real[Array | np.ndarray, "*#batch 4"]
Overlap = Real[Array | np.ndarray | np.floating, "*#batch"]
Length = int | Real[Array | np.ndarray, "*#batch"]

# Smaller areas count as zero. A smaller divisor would overflow when it is squared in the gradient of a float32
# division; boxes of the regression head, at least 1e-4 of the crop on each side, are far above.
_MIN_AREA = 1e-12


def _namespace(*arrays: object) -> ModuleType:
    return jnp if any(isinstance(a, jax.Array) for a in arrays) else np


def _columns(boxes):
    """The array module of `boxes`, and their four columns."""
    xp = _namespace(boxes)
    boxes = xp.asarray(boxes)
    return xp, *(boxes[..., k] for k in range(4))


def xywh_to_xyxy(box_xywh: Boxes) -> Boxes:
    """Corner and size -> both corners."""
    xp, x, y, w, h = _columns(box_xywh)
    return xp.stack([x, y, x + w, y + h], axis=-1)


def xyxy_to_xywh(box_xyxy: Boxes) -> Boxes:
    """Both corners -> corner and size."""
    xp, x1, y1, x2, y2 = _columns(box_xyxy)
    return xp.stack([x1, y1, x2 - x1, y2 - y1], axis=-1)


def xywh_to_cxcywh(box_xywh: Boxes) -> Boxes:
    """Corner and size -> centre and size."""
    xp, x, y, w, h = _columns(box_xywh)
    return xp.stack([x + 0.5 * w, y + 0.5 * h, w, h], axis=-1)


def cxcywh_to_xywh(box_cxcywh: Boxes) -> Boxes:
    """Centre and size -> corner and size."""
    xp, cx, cy, w, h = _columns(box_cxcywh)
    return xp.stack([cx - 0.5 * w, cy - 0.5 * h, w, h], axis=-1)


def cxcywh_to_xyxy(box_cxcywh: Boxes) -> Boxes:
    """Centre and size -> both corners."""
    xp, cx, cy, w, h = _columns(box_cxcywh)
    return xp.stack([cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h], axis=-1)


def xyxy_to_cxcywh(box_xyxy: Boxes) -> Boxes:
    """Both corners -> centre and size."""
    xp, x1, y1, x2, y2 = _columns(box_xyxy)
    return xp.stack([0.5 * (x1 + x2), 0.5 * (y1 + y2), x2 - x1, y2 - y1], axis=-1)


def _ratio(xp, part, whole):
    """part / whole, and 0 where `whole` is 0. The inner `where` keeps the gradient of the unused branch finite."""
    positive = whole > _MIN_AREA
    return xp.where(positive, part / xp.where(positive, whole, 1), 0)


def _areas(a, b):
    """The array module; areas of the intersection, the union and the smallest enclosing box of each pair."""
    xp = _namespace(a, b)
    a, b = xp.asarray(a), xp.asarray(b)

    def area(low, high):
        sides = xp.maximum(high - low, 0)
        return sides[..., 0] * sides[..., 1]

    intersection = area(xp.maximum(a[..., :2], b[..., :2]), xp.minimum(a[..., 2:], b[..., 2:]))
    union = area(a[..., :2], a[..., 2:]) + area(b[..., :2], b[..., 2:]) - intersection
    enclosing = area(xp.minimum(a[..., :2], b[..., :2]), xp.maximum(a[..., 2:], b[..., 2:]))
    return xp, intersection, union, enclosing


def iou_xyxy(a: BroadcastBoxes, b: BroadcastBoxes) -> Overlap:
    """Intersection over union of each pair of box_xyxy, in [0, 1]; 0 where neither box has an area.

    The gradient is finite everywhere.
    """
    xp, intersection, union, _ = _areas(a, b)
    return _ratio(xp, intersection, union)


def giou_xyxy(a: BroadcastBoxes, b: BroadcastBoxes) -> Overlap:
    """Generalised IoU of each pair of box_xyxy, in [-1, 1] (Rezatofighi et al., 2019).

    It is the IoU minus the empty share of the smallest enclosing box. The gradient is finite everywhere, and not zero
    for disjoint boxes.
    """
    xp, intersection, union, enclosing = _areas(a, b)
    return _ratio(xp, intersection, union) - _ratio(xp, enclosing - union, enclosing)


def iou_xywh(a: BroadcastBoxes, b: BroadcastBoxes) -> Overlap:
    """`iou_xyxy` of boxes given as corner and size."""
    return iou_xyxy(xywh_to_xyxy(a), xywh_to_xyxy(b))


def clip_box_xywh(box_xywh: Boxes, height: Length, width: Length, margin: int = 10) -> Boxes:
    """Clips a box to its image and keeps it at least `margin` pixels large, as the release does at inference.

    A box that lies far outside touches the border that it left by.

    Args:
      box_xywh: in pixels.
      height, width: of the image, in pixels.
      margin: pixels of the image that the box covers at least, on each axis.
    """
    xp, x, y, w, h = _columns(box_xywh)
    x2, y2 = xp.clip(x + w, margin, width), xp.clip(y + h, margin, height)
    x, y = xp.clip(x, 0, width - margin), xp.clip(y, 0, height - margin)
    return xp.stack([x, y, xp.maximum(x2 - x, margin), xp.maximum(y2 - y, margin)], axis=-1)
