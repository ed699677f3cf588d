"""From a plan to pictures: read, decode, cut, vary. Decoding is what a training clip costs, so none is wasted.

A frame that a clip uses twice is read and decoded once. A JPEG whose crops will all be shrunk is decoded at 1/2, 1/4 or
1/8 of its size, which the format gives almost for free: the frequencies that the crop cannot show are never computed.
Of one in tiles (`tiled_jpeg`) only the tiles under the crops are decoded. From there it is one resampling to the crop,
and everything stays in bytes. At full size a crop is the evaluation's, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from relo_jax.data.clips import augment
from relo_jax.data.clips.plan import Plan
from relo_jax.data.records import tiled_jpeg
from relo_jax.data.sequence import Sequence
from relo_jax.geometry.crop import box_to_crop_norm, crop_host, crop_window
from relo_jax.media.images import decode

_REDUCTIONS = (8, 4, 2)
_LARGEST_PAD = 2  # a window so many times the image is not padded, which would fill the memory with zeros
_MARGIN = 2  # decoded pixels around the crops, since colour at the border of a part is not that of the whole


@dataclass(frozen=True)
class Picture:
    """A decoded frame, or the part of it that a plan needs.

    image: uint8 [H, W, 3], of the frame's size divided by `reduce`, rounded up. whole: where it is a part, (height,
    width) of the frame and (left, top) of the part, in pixels of the frame.
    """

    image: np.ndarray
    reduce: int = 1
    whole: tuple[tuple[int, int], tuple[int, int]] | None = None

    @property
    def frame_size(self) -> tuple[int, int]:
        """(height, width) of the frame; of one that is decoded at a reduced size up to `reduce` - 1 pixels more."""
        return self.whole[0] if self.whole else tuple(self.reduce * side for side in self.image.shape[:2])


class Cut(NamedTuple):
    """A crop uint8 [S, S, 3], its resize factor S / side, and (height, width) of the frame that it is cut from."""

    image: np.ndarray
    resize_factor: float
    frame_size: tuple[int, int]


def draw(sequence: Sequence, plan: Plan, *, reduced: bool = True) -> dict[str, np.ndarray]:
    """The clip of a plan: template_images uint8 [K, s, s, 3], template_boxes_xywh float32 [K, 4], search_images uint8
    [T, S, S, 3], search_boxes_xywh float32 [T, 4], boxes normalised to their crops. For a closed-loop rollout, instead
    of the search regions, the arrays of `relo_jax.mdp.rollout.ClosedLoopBatch`.

    reduced: whether frames may be decoded at a reduced size.

    Raises:
      FrameError: a frame is missing or does not decode.
    """
    if sequence.read_crop is not None or sequence.read_encoded is None:
        return vary(plan, cut_from_sequence(sequence, plan))
    crops: list = [None] * len(plan.frames)
    for frame in np.unique(plan.frames).tolist():
        picture = decode_frame(plan, frame, sequence.read_encoded(frame), sequence.where(frame), reduced=reduced)
        for k in np.flatnonzero(plan.frames == frame):
            crops[k] = cut(picture, plan, k)
    return vary(plan, crops)


def decode_frame(plan: Plan, frame: int, data: bytes, where: str, *, reduced: bool = True) -> Picture:
    """Decodes what the plan's crops need of a frame.

    Raises:
      FrameError: the file does not decode.
    """
    if data[:2] != b"\xff\xd8":
        return Picture(decode(data, where))
    rows = np.flatnonzero(plan.frames == frame)
    windows = np.array([crop_window(plan.crop_center_xywh[k], plan.factor[k]) for k in rows])
    reduce = 1
    if reduced:  # the most at which every crop is still shrunk, or copied, never enlarged
        reduce = next((r for r in _REDUCTIONS if min(windows[:, 2] / plan.size[rows]) >= r), 1)
    low, high = windows[:, :2].min(0) - _MARGIN * reduce, (windows[:, :2] + windows[:, 2:]).max(0) + _MARGIN * reduce
    part = tiled_jpeg.region(data, *low.tolist(), *high.tolist())
    if part is None:
        return Picture(decode(data, where, reduce), reduce)
    return Picture(decode(part.data, where, reduce), reduce, (part.whole, part.corner))


def cut(picture: Picture, plan: Plan, k: int) -> Cut:
    """Crop number k of the plan."""
    return Cut(*_resample(picture, plan, k), picture.frame_size)


def _resample(picture: Picture, plan: Plan, k: int) -> tuple[np.ndarray, float]:
    size, around = int(plan.size[k]), plan.crop_center_xywh[k]
    x1, y1, side = crop_window(around, plan.factor[k])
    height, width = picture.image.shape[:2]
    left, top = picture.whole[1] if picture.whole else (0, 0)
    if picture.reduce == 1 and side <= _LARGEST_PAD * max(picture.frame_size):
        return crop_host(picture.image, around, plan.factor[k], size, picture.whole)
    columns, x = _under(x1, side, left // picture.reduce, width, picture.reduce)
    rows, y = _under(y1, side, top // picture.reduce, height, picture.reduce)
    image, step = picture.image[rows, columns], side / size
    if not image.size:
        return np.zeros((size, size, 3), np.uint8), 1 / step
    # OpenCV's resize takes pixel centres; so does a JPEG that is decoded at a part of its size.
    scale = step / picture.reduce
    matrix = np.array([[scale, 0, x + 0.5 * scale - 0.5], [0, scale, y + 0.5 * scale - 0.5]])
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP), 1 / step


def _under(start: int, side: int, first: int, count: int, reduce: int) -> tuple[slice, float]:
    """The pixels of a picture under a window on one axis, and where the window begins from the first of them.

    They are the same ones whether the picture is a whole frame or a part of it, and so is the arithmetic.
    first, count: the picture's, in reduced pixels of the frame.
    """
    low = max(start // reduce - 1, 0)
    high = -(-(start + side) // reduce) + 1
    part = slice(max(low - first, 0), max(min(high - first, count), 0))
    return part, start / reduce - low


def cut_from_sequence(sequence: Sequence, plan: Plan) -> list[Cut]:
    """The plan's crops of a sequence that draws them, or its frames, by itself."""

    def crop(frame, *where):
        if sequence.read_crop is not None:
            return Cut(*sequence.read_crop(frame, *where), sequence.frame_size)
        image = sequence.read_frame(frame)
        return Cut(*crop_host(image, *where), image.shape[:2])

    rows = zip(plan.frames.tolist(), plan.crop_center_xywh, plan.factor.tolist(), plan.size.tolist(), strict=True)
    return [crop(*row) for row in rows]


def vary(plan: Plan, crops: list[Cut]) -> dict[str, np.ndarray]:
    """Crops to a clip: grey, brightness and flips in uint8, boxes normalised and flipped with them."""
    parts = {}
    for kind, part in (("template", slice(plan.templates)), ("search", slice(plan.templates, None))):
        scales = np.array([crop.resize_factor for crop in crops[part]])[:, None]
        boxes = box_to_crop_norm(plan.boxes_xywh[part], plan.crop_center_xywh[part], scales, plan.size[part][:, None])
        images = np.empty((len(boxes), *crops[part][0].image.shape), np.uint8)
        for k, crop in enumerate(crops[part]):
            row = k + (part.start or 0)
            image = augment.brighten(augment.grey(crop.image) if plan.grey else crop.image, plan.brightness[row])
            if plan.flip[row]:
                image, boxes[k] = augment.flip(image, boxes[k])
            images[k] = image
        parts[f"{kind}_images"], parts[f"{kind}_boxes_xywh"] = images, boxes.astype(np.float32)
    return parts if plan.world is None else _world(plan, parts, [crop.frame_size for crop in crops[plan.templates :]])


def _world(plan: Plan, parts: dict[str, np.ndarray], frame_sizes: list[tuple[int, int]]) -> dict[str, np.ndarray]:
    """A clip whose search crops are canvases, with where they are cut from, as `draw` gives it."""
    search = slice(plan.templates, None)
    windows = [crop_window(*cut) for cut in zip(plan.crop_center_xywh[search], plan.factor[search], strict=True)]
    return {
        "template_images": parts["template_images"],
        "template_boxes_xywh": parts["template_boxes_xywh"],
        "canvas_images": parts["search_images"],
        "canvas_windows": np.array(windows, np.float32),
        "frame_sizes": np.array(frame_sizes, np.float32),
        "flips": plan.world.flip,
        "target_boxes_xywh": plan.boxes_xywh[search].astype(np.float32),
        "start_box_xywh": plan.world.start_xywh.astype(np.float32),
    }
