"""Crops: the square around a box that the network sees, and the maps between image and crop.

There are two croppers, and both equal the release's to the byte, padding rule included. The host's uses OpenCV; the
device's repeats OpenCV's fixed-point arithmetic under jit, where the next crop depends on the last box.
"""

import math
from collections.abc import Callable, Sequence

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Real, UInt8

from relo_jax.errors import UserError
from relo_jax.geometry import boxes
from relo_jax.geometry.boxes import Boxes

Box = Real[np.ndarray, "4"] | Sequence[float | int]  # one, on the host
Window = Sequence[int]  # x1, y1 and side in pixels
Windows = Integer[Array | np.ndarray, "*batch 3"]
PartOf = tuple[tuple[int, int], tuple[int, int]]  # see `cut_host`
# One number for all boxes, or one for each.
PerBox = int | float | np.floating | np.integer | Real[Array | np.ndarray, ""] | Real[Array | np.ndarray, "*#batch 1"]
# Side of a crop over the side of the box that it is cut around.
TEMPLATE_FACTOR = 2.0
SEARCH_FACTOR = 4.0

_ONE = 2048  # weights of OpenCV's linear interpolation have 11 bits


def crop_window(box_xywh: Box, factor: float) -> tuple[int, int, int]:
    """The square around the centre of a box, with `factor` times the side of a square of the box's area.

    Returns:
      x1, y1 and side in pixels.

    Raises:
      UserError: the box has no area, or is not finite.
    """
    x, y, w, h = (float(v) for v in box_xywh)
    if not (w > 0 and h > 0 and all(map(math.isfinite, (x, y, w, h)))):
        raise UserError(f"box x,y,w,h = {x:g},{y:g},{w:g},{h:g} cannot be cropped: give finite numbers and w, h > 0")
    # `round` rounds halves to even. The order of the operations is the release's.
    side = math.ceil(math.sqrt(w * h) * factor)
    if side < 1:
        raise UserError(f"box x,y,w,h = {x:g},{y:g},{w:g},{h:g} is too small to be cropped")
    return round(x + 0.5 * w - side * 0.5), round(y + 0.5 * h - side * 0.5), side


def crop_host(
    image: UInt8[np.ndarray, "H W 3"],
    box_xywh: Box,
    factor: float,
    out_size: int,
    part_of: PartOf | None = None,
) -> tuple[UInt8[np.ndarray, "S S 3"], float]:
    """Cuts the crop around a box and resizes it: equal to the release's to the byte.

    Args:
      image: the frame, or the part of it that `part_of` describes (see `cut_host`).
      box_xywh: in pixels of the frame.
      factor: side of the crop over side of the box.
      out_size: S, side of the result.

    Returns:
      The crop, and the resize factor S / side.

    Raises:
      UserError: the box has no area, or is not finite.
    """
    window = crop_window(box_xywh, factor)
    return cut_host(image, window, out_size, part_of), out_size / window[2]


def cut_host(
    image: UInt8[np.ndarray, "H W 3"], window: Window, out_size: int, part_of: PartOf | None = None
) -> UInt8[np.ndarray, "S S 3"]:
    """Cuts a window out of a frame and resizes it with OpenCV. Outside the frame it is black.

    Where the window touches or passes the right (bottom) border, the release pads one column (row) too many and loses
    the last one of the frame; this does the same.

    Args:
      image: the frame.
      window: in pixels of the frame.
      out_size: S, side of the result.
      part_of: where `image` is only a part of the frame that covers the window: (height, width) of the frame, and
        (left, top) of the part in it.
    """
    (height, width), (part_x, part_y) = part_of or (image.shape[:2], (0, 0))
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


def crop_windows(box_xywh: Float[Array | np.ndarray, "*batch 4"], factor: float) -> Windows:
    """`crop_window` of many boxes with an area, in float32: the same numbers on the host and under jit.

    Where a half is rounded, a window can differ by a pixel from that of `crop_window`, which computes in float64; host
    and device agree only if both take their windows from here. The side comes from comparing squares, since the
    square root of an accelerator may miss the last bit.

    Args:
      box_xywh: float32, in pixels.
      factor: side of the crop over side of the box.
    """
    xp = jnp if isinstance(box_xywh, jax.Array) else np
    x, y, w, h = (box_xywh[..., k] for k in range(4))
    square = w * h * (factor * factor)
    side = xp.ceil(xp.sqrt(square))
    side = xp.where(xp.square(side - 1) >= square, side - 1, side)
    side = xp.maximum(xp.where(xp.square(side) < square, side + 1, side), 1)
    corner = [xp.round(x + 0.5 * w - side * 0.5), xp.round(y + 0.5 * h - side * 0.5)]
    return xp.stack([*corner, side], axis=-1).astype(np.int32)


def crop_device(
    image: UInt8[Array | np.ndarray, "H W 3"],
    window: Integer[Array | np.ndarray, "3"],
    frame_size: Integer[Array | np.ndarray, "2"],
    out_size: int,
    corner: Integer[Array | np.ndarray, "2"] | None = None,
) -> UInt8[Array, "S S 3"]:
    """`cut_host` in XLA, for use under jit and vmap and in the body of a `lax.scan`.

    It equals `cut_host` to the byte where S is a power of two, as in every variant. The compiler may round other
    divisions differently in the last bit, which now and then costs one grey level.

    Args:
      image: holds the frame in its upper left corner, or the patch of it that `corner` names; the rest is ignored.
      window: x1, y1 and side in pixels; may be traced.
      frame_size: height and width of the frame; may be traced.
      out_size: S, side of the result.
      corner: column and row of the frame where the patch begins, which has all pixels of the window that belong to the
        frame; may be traced. None is the whole frame.
    """
    left, top = (0, 0) if corner is None else corner

    def rows(index: Array) -> Callable[[Array], Array]:
        picked = _pick(image, index - top, 0)
        return lambda columns: _pick(picked, columns - left, 1)

    return _interpolated(rows, window, frame_size, out_size)


def crop_packed(
    pixels: UInt8[Array | np.ndarray, "N 3"],
    place: Integer[Array | np.ndarray, "4"],
    window: Integer[Array | np.ndarray, "3"],
    frame_size: Integer[Array | np.ndarray, "2"],
    out_size: int,
) -> UInt8[Array, "S S 3"]:
    """`crop_device` of a patch that lies in a row with patches of other frames, each row after row.

    Args:
      pixels: of all patches.
      place: index of the patch's first pixel; pixels from one of its rows to the next; and the column and row of the
        frame where it begins. May be traced. The patch has all pixels of the window that belong to the frame.
      window, frame_size, out_size: see `crop_device`.
    """
    first, pitch, left, top = place

    def rows(index: Array) -> Callable[[Array], Array]:
        start = first + (index - top) * pitch - left
        return lambda columns: jnp.take(pixels, start[:, None] + columns, axis=0, mode="clip")

    return _interpolated(rows, window, frame_size, out_size)


def _interpolated(rows: Callable[[Array], Callable[[Array], Array]], window, frame_size, out_size: int) -> Array:
    """The crop from picked pixels.

    Args:
      rows: gives, for the numbers of S rows, a function that gives their pixels `[S, S, 3]` in S columns; anything
        where a number lies outside the frame.
      window, frame_size, out_size: see `crop_device`.
    """
    columns, across, inside_x = _taps(window[0], window[2], frame_size[1], out_size)
    numbers, down, inside_y = _taps(window[1], window[2], frame_size[0], out_size)
    end_x, end_y = window[0] + window[2] - 1, window[1] + window[2] - 1
    columns, numbers = jnp.clip(columns, window[0], end_x), jnp.clip(numbers, window[1], end_y)

    def interpolated_along_x(i):
        """The upper (0) or lower (1) row of pixels that each row of the crop is mixed from: int32 `[S, S, 3]`."""
        picked = rows(numbers[i])
        taps = (picked(columns[j]).astype(jnp.int32) * across[j][:, None] for j in (0, 1))
        inside = inside_y(numbers[i])[:, None, None]
        return sum(jnp.where(inside & inside_x(columns[j])[:, None], tap, 0) for j, tap in enumerate(taps))

    mixed = sum(((interpolated_along_x(i) >> 4) * down[i][:, None, None]) >> 16 for i in (0, 1))
    return ((mixed + 2) >> 2).astype(jnp.uint8)


def _taps(start, side, length, out_size):
    """The pixels and weights of OpenCV's linear interpolation along an axis.

    Args:
      start: first pixel of the window on this axis.
      side: of the window.
      length: pixels that the frame has on this axis.
      out_size: S.

    Returns:
      The two neighbouring pixels, int32 `[2, S]` (possibly one outside the window); their weights in units of 1/2048,
      int32 `[2, S]`; and a function that says which pixels belong to the frame.
    """
    # Pixel centres, no smoothing when shrinking: (i + 1/2) side / S - 1/2, as a fraction of integers.
    numerator = (2 * jnp.arange(out_size, dtype=jnp.int32) + 1) * side - out_size
    position = numerator.astype(jnp.float32) / (2 * out_size)
    fraction = position - jnp.floor(position)
    # Each weight is rounded by itself, as in OpenCV. At the window's border both taps fall on the same pixel.
    weights = jnp.round(jnp.stack([1 - fraction, fraction]) * _ONE).astype(jnp.int32)
    pixels = start + numerator // (2 * out_size) + jnp.arange(2, dtype=jnp.int32)[:, None]
    end = jnp.where(start + side >= length, length - 1, length)  # the release's padding rule
    return pixels, weights, lambda at: (at >= 0) & (at < end)


def _pick(image, index, axis):
    """Rows or columns of an image by their number. What numbers outside the image give is not defined.

    This is a gather where gathers are cheap. On a TPU it is a product with one-hot rows, which is exact for bytes in
    bfloat16 and should take a fraction of the time (not measured).
    """

    def gather(image, index):
        return jnp.take(image, index, axis=axis, mode="clip")

    def product(image, index):
        rows = jax.nn.one_hot(index, image.shape[axis], dtype=jnp.bfloat16)
        picked = jnp.tensordot(rows, image.astype(jnp.bfloat16), (1, axis), preferred_element_type=jnp.float32)
        return jnp.moveaxis(picked, 0, axis).astype(image.dtype)

    return jax.lax.platform_dependent(image, index, tpu=product, default=gather)


def box_to_crop_norm(box_xywh: Boxes, crop_center_xywh: Boxes, resize_factor: PerBox, out_size: PerBox) -> Boxes:
    """Maps a box from the image into a crop, relative to the crop's side, for which the release takes S - 1 here.

    Args:
      box_xywh: in pixels of the image.
      crop_center_xywh: the box that the crop was cut around, in pixels of the image.
      resize_factor: S / side of the crop.
      out_size: S.

    Returns:
      box_xywh_norm; parts outside the crop are below 0 or above 1.
    """
    box = boxes.xywh_to_cxcywh(box_xywh)
    crop = boxes.xywh_to_cxcywh(crop_center_xywh)
    center = (out_size - 1) / 2 + (box[..., :2] - crop[..., :2]) * resize_factor
    size = box[..., 2:] * resize_factor
    xp = np if isinstance(center, np.ndarray) else jnp
    return boxes.cxcywh_to_xywh(xp.concatenate([center, size], axis=-1) / (out_size - 1))


def box_from_crop(box_cxcywh_norm: Boxes, crop_center_xywh: Boxes, resize_factor: PerBox, out_size: PerBox) -> Boxes:
    """Maps a box of the network from a crop back into the image, as the release does at inference. Does not clip it.

    Args:
      box_cxcywh_norm: relative to the crop's side S.
      crop_center_xywh: the box that the crop was cut around, in pixels of the image.
      resize_factor: S / side of the crop.
      out_size: S.

    Returns:
      box_xywh in pixels of the image.
    """
    box = box_cxcywh_norm * (out_size / resize_factor)
    crop = boxes.xywh_to_cxcywh(crop_center_xywh)
    center = box[..., :2] + (crop[..., :2] - 0.5 * out_size / resize_factor)
    xp = np if isinstance(center, np.ndarray) else jnp
    return boxes.cxcywh_to_xywh(xp.concatenate([center, box[..., 2:]], axis=-1))
