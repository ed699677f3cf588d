"""Crops: the square around a box that the network sees, and the maps between image and crop.

Two croppers, equal to the byte to each other and to the release, padding rule included (the released system,
"Cropping"): the host's is OpenCV; the device's does OpenCV's fixed-point arithmetic inside jit, where the next crop
depends on the last box. So it does not matter to a box where its crop was cut.
"""

import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.errors import UserError
from relo_jax.geometry import boxes

# Side of a crop over the side of the box that it is cut around.
TEMPLATE_FACTOR = 2.0
SEARCH_FACTOR = 4.0

_ONE = 2048  # weights of OpenCV's linear interpolation have 11 bits


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

    Args:
      image: uint8 `[H, W, 3]`.
      box_xywh: `[4]`, pixels of the image.
      factor: side of the crop over side of the box.
      out_size: S, side of the result.
      whole: see `cut_host`.

    Returns:
      uint8 `[S, S, 3]`, and the resize factor S / side.

    Raises:
      UserError: see `crop_window`.
    """
    window = crop_window(box_xywh, factor)
    return cut_host(image, window, out_size, whole), out_size / window[2]


def cut_host(image, window, out_size, whole=None):
    """A window of an image, resized by OpenCV.

    Outside the image it is black. The release's padding takes one column (row) of the image too many when the window
    touches or passes the right (bottom) border; so does this.

    Args:
      image: uint8 `[H, W, 3]`.
      window: (x1, y1, side) in pixels of the image, integers.
      out_size: S, side of the result.
      whole: where `image` is a part that covers the window: (height, width) of the whole, and (left, top) of the part.

    Returns:
      uint8 `[S, S, 3]`.
    """
    (height, width), (part_x, part_y) = whole or (image.shape[:2], (0, 0))
    x1, y1, side = window
    x2, y2 = x1 + side, y1 + side
    left, top = max(0, -x1), max(0, -y1)
    right, bottom = max(x2 - width + 1, 0), max(y2 - height + 1, 0)
    if left + right >= side or top + bottom >= side:
        return np.zeros((out_size, out_size, 3), np.uint8)
    rows, columns = slice(y1 + top - part_y, y2 - bottom - part_y), slice(x1 + left - part_x, x2 - right - part_x)
    inside = np.ascontiguousarray(image[rows, columns])
    if left or top or right or bottom:
        inside = cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_CONSTANT)
    return cv2.resize(inside, (out_size, out_size))


def crop_windows(box_xywh, factor):
    """`crop_window` of many boxes of a positive area, in float32; on the host and inside jit the same numbers.

    A window can differ by a pixel from that of float64 where a half is rounded; what must agree takes its windows from
    here. Whole numbers come out right on every backend: the side is settled by comparing squares, since the square root
    of an accelerator may miss the last bit.

    Args:
      box_xywh: float32 `[..., 4]`, pixels; numpy or JAX.
      factor: side of the crop over side of the box.

    Returns:
      int32 `[..., 3]`: x1, y1, side.
    """
    xp = jnp if isinstance(box_xywh, jax.Array) else np
    x, y, w, h = (box_xywh[..., k] for k in range(4))
    square = w * h * (factor * factor)
    side = xp.ceil(xp.sqrt(square))
    side = xp.where(xp.square(side - 1) >= square, side - 1, side)
    side = xp.maximum(xp.where(xp.square(side) < square, side + 1, side), 1)
    corner = [xp.round(x + 0.5 * w - side * 0.5), xp.round(y + 0.5 * h - side * 0.5)]
    return xp.stack([*corner, side], axis=-1).astype(np.int32)


def crop_device(image, window, size, out_size):
    """`cut_host` in XLA, to the byte: for use under jit, vmap and in the body of a `lax.scan`.

    Args:
      image: uint8 `[H, W, 3]`, the picture in its upper left corner; what lies outside of `size` is not looked at.
      window: int32 `[3]`, x1, y1 and side in pixels; may be traced.
      size: int32 `[2]`, height and width of the picture; may be traced.
      out_size: S, side of the result.

    Returns:
      uint8 `[S, S, 3]`. To the byte where S is a power of two, as in every variant: other divisions are rounded in the
      last bit as the compiler pleases, which now and then costs one grey level.
    """
    columns, across, inside_x = _taps(window[0], window[2], size[1], out_size)
    rows, down, inside_y = _taps(window[1], window[2], size[0], out_size)
    end_x, end_y = window[0] + window[2] - 1, window[1] + window[2] - 1
    columns, rows = jnp.clip(columns, window[0], end_x), jnp.clip(rows, window[1], end_y)

    def line(i):
        """A row of the crop before it is mixed with its neighbour: int32 `[S, S, 3]`."""
        picked = _pick(image, rows[i], 0)
        taps = (_pick(picked, columns[j], 1).astype(jnp.int32) * across[j][:, None] for j in (0, 1))
        inside = inside_y(rows[i])[:, None, None]
        return sum(jnp.where(inside & inside_x(columns[j])[:, None], tap, 0) for j, tap in enumerate(taps))

    mixed = sum(((line(i) >> 4) * down[i][:, None, None]) >> 16 for i in (0, 1))
    return ((mixed + 2) >> 2).astype(jnp.uint8)


def _taps(start, side, length, out_size):
    """What OpenCV's linear interpolation reads along an axis.

    Args:
      start: first pixel of the window on this axis.
      side: of the window.
      length: pixels that the picture has on this axis.
      out_size: S.

    Returns:
      int32 `[2, S]`, the two neighbouring pixels (of the image; possibly one outside the window), int32 `[2, S]`, their
      weights in units of 1/2048, and a function that tells which pixels belong to the picture.
    """
    # Pixel centres, no smoothing when shrinking: (i + 1/2) side / S - 1/2, as a fraction of whole numbers.
    above = (2 * jnp.arange(out_size, dtype=jnp.int32) + 1) * side - out_size
    position = above.astype(jnp.float32) / (2 * out_size)
    share = position - jnp.floor(position)
    # Each rounded by itself, as OpenCV does. At the window's border both taps fall on the same pixel.
    weights = jnp.round(jnp.stack([1 - share, share]) * _ONE).astype(jnp.int32)
    pixels = start + above // (2 * out_size) + jnp.arange(2, dtype=jnp.int32)[:, None]
    end = jnp.where(start + side >= length, length - 1, length)  # the release's padding rule
    return pixels, weights, lambda at: (at >= 0) & (at < end)


def _pick(image, index, axis):
    """Rows or columns of an image by their number; numbers outside of it give any.

    A gather where gathers are cheap. On a TPU a product with rows of one 1 each, which is exact for bytes in bfloat16,
    takes a fraction of the time (not measured: no TPU was at hand).
    """
    index = jnp.clip(index, 0, image.shape[axis] - 1)

    def gather(image, index):
        return jnp.take(image, index, axis=axis, mode="clip")

    def product(image, index):
        chosen = jax.nn.one_hot(index, image.shape[axis], dtype=jnp.bfloat16)
        picked = jnp.tensordot(chosen, image.astype(jnp.bfloat16), (1, axis), preferred_element_type=jnp.float32)
        return jnp.moveaxis(picked, 0, axis).astype(image.dtype)

    return jax.lax.platform_dependent(image, index, tpu=product, default=gather)


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
