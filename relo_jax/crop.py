"""Crops: the square around a box that the network sees, and the maps between image and crop.

The host's cropper is the released one to the byte, OpenCV's arithmetic and the padding rule included; the device's
draws the same picture inside jit, for rollouts where the next crop depends on the last action (the released system,
"Cropping"). Linear interpolation is separable, so that crop is two small matrices around the image:
`rows [S, H] @ image [H, W] @ columns [W, S]`.
"""

import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from relo_jax import boxes
from relo_jax.errors import UserError


def crop_window(box_xywh, factor):
    """The square of `factor` times the box's side (that of a square of its area) around its centre.

    Args:
      box_xywh: `[4]`, pixels.
      factor: side of the crop over side of the box.

    Returns:
      (x1, y1, side), integers in pixels.

    Raises:
      UserError: the box has no area, or is not finite.
    """
    x, y, w, h = (float(v) for v in box_xywh)
    if not (w > 0 and h > 0 and all(map(math.isfinite, (x, y, w, h)))):
        raise UserError(f"box x,y,w,h = {x:g},{y:g},{w:g},{h:g} cannot be cropped: give finite numbers and w, h > 0")
    # Python's round is half to even, and the order of the operations is the release's.
    side = math.ceil(math.sqrt(w * h) * factor)
    if side < 1:
        raise UserError(f"box x,y,w,h = {x:g},{y:g},{w:g},{h:g} is too small to be cropped")
    return round(x + 0.5 * w - side * 0.5), round(y + 0.5 * h - side * 0.5), side


def crop_host(image, box_xywh, factor, out_size, whole=None):
    """The crop around a box, resized: equal to the release's to the byte.

    Outside the image it is black. The release's padding takes one column (row) of the image too many when the window
    touches or passes the right (bottom) border; so does this.

    Args:
      image: uint8 `[H, W, 3]`.
      box_xywh: `[4]`, pixels of the image.
      factor: side of the crop over side of the box.
      out_size: S, side of the result.
      whole: where `image` is a part that covers the crop: (height, width) of the whole, and (left, top) of the part.

    Returns:
      uint8 `[S, S, 3]`, and the resize factor S / side.

    Raises:
      UserError: see `crop_window`.
    """
    (height, width), (part_x, part_y) = whole or (image.shape[:2], (0, 0))
    x1, y1, side = crop_window(box_xywh, factor)
    x2, y2 = x1 + side, y1 + side
    left, top = max(0, -x1), max(0, -y1)
    right, bottom = max(x2 - width + 1, 0), max(y2 - height + 1, 0)
    resize_factor = out_size / side
    if left + right >= side or top + bottom >= side:
        return np.zeros((out_size, out_size, 3), np.uint8), resize_factor
    rows, columns = slice(y1 + top - part_y, y2 - bottom - part_y), slice(x1 + left - part_x, x2 - right - part_x)
    inside = np.ascontiguousarray(image[rows, columns])
    if left or top or right or bottom:
        inside = cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_CONSTANT)
    return cv2.resize(inside, (out_size, out_size)), resize_factor


def crop_device(image, box_xywh, factor, out_size):
    """`crop_host` in XLA: for use under jit, vmap and in the body of a `lax.scan`, with a traced box.

    Args:
      image: `[H, W, 3]`, uint8, or float in 0 .. 255.
      box_xywh: `[4]`, pixels of the image; one of no area is taken as a single pixel, since nothing can be raised here.
      factor: side of the crop over side of the box.
      out_size: S, side of the result.

    Returns:
      float32 `[S, S, 3]` in 0 .. 255, not rounded, within 2 grey levels of the host's; and the resize factor, `[]`.
    """
    height, width = image.shape[:2]
    x, y, w, h = jnp.asarray(box_xywh, jnp.float32)
    side = jnp.maximum(jnp.ceil(jnp.sqrt(jnp.maximum(w, 0) * jnp.maximum(h, 0)) * factor), 1)
    columns = _resampling(jnp.round(x + 0.5 * w - side * 0.5), side, width, out_size)
    rows = _resampling(jnp.round(y + 0.5 * h - side * 0.5), side, height, out_size)
    # Full precision: the default of accelerators would cost several grey levels.
    crop = jnp.einsum("ih,hwc,jw->ijc", rows, image.astype(jnp.float32), columns, precision=jax.lax.Precision.HIGHEST)
    return crop, out_size / side


def _resampling(start, side, length, out_size):
    """Weights of an axis' pixels in each pixel of the crop: `[S, length]`, two of them not zero in a row.

    Args:
      start: first pixel of the window on this axis, traced.
      side: of the window, traced.
      length: pixels that the image has on this axis.
      out_size: S.
    """
    # OpenCV's linear interpolation: pixel centres, the window's border repeated, no smoothing when shrinking.
    source = (jnp.arange(out_size, dtype=jnp.float32) + 0.5) * (side / out_size) - 0.5
    source = start + jnp.clip(source, 0, side - 1)
    pixels = jnp.arange(length, dtype=jnp.float32)
    weights = jnp.maximum(0, 1 - jnp.abs(source[:, None] - pixels))
    end = jnp.where(start + side >= length, length - 1, length)  # the release's padding rule
    return jnp.where(pixels < end, weights, 0)


def box_to_crop_norm(box_xywh, crop_center_box_xywh, resize_factor, out_size):
    """A box as seen in a crop, relative to its side (which the release takes as S - 1).

    Args:
      box_xywh: `[..., 4]`, pixels of the image.
      crop_center_box_xywh: `[..., 4]`, the box that the crop was cut around.
      resize_factor: S / side of the crop; a scalar, or `[..., 1]`.
      out_size: S.

    Returns:
      box_xywh_norm `[..., 4]`; parts outside the crop are below 0 or above 1.
    """
    box = boxes.xywh_to_cxcywh(box_xywh)
    around = boxes.xywh_to_cxcywh(crop_center_box_xywh)
    center = (out_size - 1) / 2 + (box[..., :2] - around[..., :2]) * resize_factor
    size = box[..., 2:] * resize_factor
    xp = np if isinstance(center, np.ndarray) else jnp
    return boxes.cxcywh_to_xywh(xp.concatenate([center, size], axis=-1) / (out_size - 1))


def box_from_crop(box_cxcywh_norm, last_box_xywh, resize_factor, out_size):
    """A box of the network, back in the image (the released system, "Inference"). Not clipped.

    Args:
      box_cxcywh_norm: `[..., 4]`, relative to the crop's side S.
      last_box_xywh: `[..., 4]`, the box that the crop was cut around.
      resize_factor: S / side of the crop; a scalar, or `[..., 1]`.
      out_size: S.

    Returns:
      box_xywh `[..., 4]`, pixels of the image.
    """
    box = box_cxcywh_norm * (out_size / resize_factor)
    around = boxes.xywh_to_cxcywh(last_box_xywh)
    center = box[..., :2] + (around[..., :2] - 0.5 * out_size / resize_factor)
    xp = np if isinstance(center, np.ndarray) else jnp
    return boxes.cxcywh_to_xywh(xp.concatenate([center, box[..., 2:]], axis=-1))
