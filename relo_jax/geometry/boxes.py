"""Boxes: three formats, overlap, and keeping a box inside its image.

Every function takes arrays `[..., 4]` and works on numpy and on JAX arrays alike, in the precision it is given: the
tracker computes in float64 on the host, the losses in float32 under jit. Pixels are points: a box from x to x + w is
w wide, and overlap is that of continuous rectangles (the released system, "Evaluation").
"""

import jax
import jax.numpy as jnp
import numpy as np

# Areas below this count as none. Smaller divisors would overflow when squared in the gradient of a float32 division;
# a box of the regression head, at least 1e-4 of the crop on each side, is far above.
_NO_AREA = 1e-12


def _namespace(*arrays):
    return jnp if any(isinstance(a, jax.Array) for a in arrays) else np


def _columns(boxes):
    """The numpy module for the boxes, and their four columns `[...]`."""
    xp = _namespace(boxes)
    boxes = xp.asarray(boxes)
    return xp, *(boxes[..., k] for k in range(4))


def xywh_to_xyxy(box_xywh):
    """Corner and size -> both corners. `[..., 4]` -> `[..., 4]`."""
    xp, x, y, w, h = _columns(box_xywh)
    return xp.stack([x, y, x + w, y + h], axis=-1)


def xyxy_to_xywh(box_xyxy):
    """Both corners -> corner and size. `[..., 4]` -> `[..., 4]`."""
    xp, x1, y1, x2, y2 = _columns(box_xyxy)
    return xp.stack([x1, y1, x2 - x1, y2 - y1], axis=-1)


def xywh_to_cxcywh(box_xywh):
    """Corner and size -> centre and size. `[..., 4]` -> `[..., 4]`."""
    xp, x, y, w, h = _columns(box_xywh)
    return xp.stack([x + 0.5 * w, y + 0.5 * h, w, h], axis=-1)


def cxcywh_to_xywh(box_cxcywh):
    """Centre and size -> corner and size. `[..., 4]` -> `[..., 4]`."""
    xp, cx, cy, w, h = _columns(box_cxcywh)
    return xp.stack([cx - 0.5 * w, cy - 0.5 * h, w, h], axis=-1)


def cxcywh_to_xyxy(box_cxcywh):
    """Centre and size -> both corners. `[..., 4]` -> `[..., 4]`."""
    xp, cx, cy, w, h = _columns(box_cxcywh)
    return xp.stack([cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h], axis=-1)


def xyxy_to_cxcywh(box_xyxy):
    """Both corners -> centre and size. `[..., 4]` -> `[..., 4]`."""
    xp, x1, y1, x2, y2 = _columns(box_xyxy)
    return xp.stack([0.5 * (x1 + x2), 0.5 * (y1 + y2), x2 - x1, y2 - y1], axis=-1)


def _ratio(xp, part, whole):
    """part / whole, and 0 where there is no whole; the second `where` keeps the gradient of that branch finite."""
    some = whole > _NO_AREA
    return xp.where(some, part / xp.where(some, whole, 1), 0)


def _areas(a, b):
    """The numpy module, intersection, union and area of the smallest enclosing box, of pairs of boxes."""
    xp = _namespace(a, b)
    a, b = xp.asarray(a), xp.asarray(b)

    def area(low, high):
        sides = xp.maximum(high - low, 0)
        return sides[..., 0] * sides[..., 1]

    intersection = area(xp.maximum(a[..., :2], b[..., :2]), xp.minimum(a[..., 2:], b[..., 2:]))
    union = area(a[..., :2], a[..., 2:]) + area(b[..., :2], b[..., 2:]) - intersection
    enclosing = area(xp.minimum(a[..., :2], b[..., :2]), xp.maximum(a[..., 2:], b[..., 2:]))
    return xp, intersection, union, enclosing


def iou_xyxy(a, b):
    """Intersection over union of pairs of boxes, 0 where neither has an area.

    Args:
      a, b: box_xyxy `[..., 4]`, broadcast against each other.

    Returns:
      `[...]` in [0, 1]. The gradient is finite everywhere.
    """
    xp, intersection, union, _ = _areas(a, b)
    return _ratio(xp, intersection, union)


def giou_xyxy(a, b):
    """Generalised IoU of pairs of boxes (Rezatofighi et al., 2019): IoU minus the empty share of the enclosing box.

    Args:
      a, b: box_xyxy `[..., 4]`, broadcast against each other.

    Returns:
      `[...]` in [-1, 1]. The gradient is finite everywhere, and not zero for disjoint boxes.
    """
    xp, intersection, union, enclosing = _areas(a, b)
    return _ratio(xp, intersection, union) - _ratio(xp, enclosing - union, enclosing)


def iou_xywh(a, b):
    """`iou_xyxy` of boxes given as corner and size. `[..., 4]` x 2 -> `[...]`."""
    return iou_xyxy(xywh_to_xyxy(a), xywh_to_xyxy(b))


def clip_box_xywh(box_xywh, height, width, margin=10):
    """Keeps a box inside its image, and at least `margin` pixels large (the released system, "Inference").

    Args:
      box_xywh: `[..., 4]`.
      height, width: of the image.
      margin: pixels of the image that the box must keep, on each axis.

    Returns:
      box_xywh `[..., 4]`; a box that was far outside touches the border it left by.
    """
    xp, x, y, w, h = _columns(box_xywh)
    x2, y2 = xp.clip(x + w, margin, width), xp.clip(y + h, margin, height)
    x, y = xp.clip(x, 0, width - margin), xp.clip(y, 0, height - margin)
    return xp.stack([x, y, xp.maximum(x2 - x, margin), xp.maximum(y2 - y, margin)], axis=-1)
