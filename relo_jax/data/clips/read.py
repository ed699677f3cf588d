"""From a plan to a clip: read, decode, crop, augment. Decoding dominates the cost of a training clip.

A frame that a clip shows twice is read and decoded once. A JPEG whose crops will all be smaller than what they show is
decoded at 1/2, 1/4 or 1/8 of its size. This is cheap, because the decoder skips the frequencies that the crop cannot
show. Of a JPEG in tiles (`tiled_jpeg`), only the tiles under the crops are decoded. One resampling then gives the crop,
all in uint8. A crop from a frame at full size is equal to the evaluation's byte for byte.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from relo_jax.data.clips import augment
from relo_jax.data.clips.plan import ClosedLoopPlan, Plan
from relo_jax.data.records import tiled_jpeg
from relo_jax.data.sequence import Sequence
from relo_jax.geometry.crop import box_to_crop_norm, crop_host, crop_window
from relo_jax.media.images import decode

_REDUCTIONS = (8, 4, 2)
_LARGEST_PAD = 2  # larger windows, in frame sizes, are not padded: the zeros would fill the memory
_MARGIN = 2  # decoded pixels around the crops, since chroma differs at the border of a partly decoded JPEG


@dataclass(frozen=True)
class DecodedFrame:
    """A frame, or the part of it that a plan needs.

    Attributes:
      image: uint8 [H, W, 3], of the frame's size divided by `reduce` and rounded up.
      reduce: 1, 2, 4 or 8.
      whole: for a part, (height, width) of the frame and (left, top) of the part, in pixels of the frame.
    """

    image: np.ndarray
    reduce: int = 1
    whole: tuple[tuple[int, int], tuple[int, int]] | None = None

    @property
    def frame_size(self) -> tuple[int, int]:
        """(height, width) of the frame; after decoding at a reduced size, up to `reduce` - 1 pixels too large."""
        return self.whole[0] if self.whole else tuple(self.reduce * side for side in self.image.shape[:2])


class Crop(NamedTuple):
    """A crop uint8 [S, S, 3], its resize factor S / side, and (height, width) of its frame."""

    image: np.ndarray
    resize_factor: float
    frame_size: tuple[int, int]


def read_clip(sequence: Sequence, plan: Plan, *, reduced: bool = True) -> dict[str, np.ndarray]:
    """Reads the clip of a plan.

    Args:
      sequence: the one that the plan was made for.
      plan: see `plan_clip`.
      reduced: whether frames may be decoded at a reduced size.

    Returns:
      template_images uint8 [K, s, s, 3], template_boxes_xywh float32 [K, 4], search_images uint8 [T, S, S, 3] and
      search_boxes_xywh float32 [T, 4], with boxes normalised to their crops. For a closed-loop rollout, the fields of
      `relo_jax.mdp.rollout.ClosedLoopBatch` replace the last two.

    Raises:
      FrameError: a frame is missing or does not decode.
    """
    if sequence.read_crop is not None or sequence.read_encoded is None:
        return augment_crops(plan, crops_from_sequence(sequence, plan))
    assert sequence.where is not None  # as for every sequence with `read_encoded`
    crops: list = [None] * len(plan.frames)
    for index in np.unique(plan.frames).tolist():
        frame = decode_frame(plan, index, sequence.read_encoded(index), sequence.where(index), reduced=reduced)
        for k in np.flatnonzero(plan.frames == index).tolist():
            crops[k] = cut_crop(frame, plan, k)
    return augment_crops(plan, crops)


def decode_frame(plan: Plan, index: int, data: bytes, where: str, *, reduced: bool = True) -> DecodedFrame:
    """Decodes the part of frame `index` that the plan's crops need, at the smallest size that they need.

    Raises:
      FrameError: the file does not decode.
    """
    if data[:2] != b"\xff\xd8":
        return DecodedFrame(decode(data, where))
    rows = np.flatnonzero(plan.frames == index)
    windows = np.array([crop_window(plan.crop_center_xywh[k], plan.factor[k]) for k in rows])
    reduce = 1
    if reduced:  # as much as possible without having to enlarge any crop
        reduce = next((r for r in _REDUCTIONS if min(windows[:, 2] / plan.size[rows]) >= r), 1)
    low, high = windows[:, :2].min(0) - _MARGIN * reduce, (windows[:, :2] + windows[:, 2:]).max(0) + _MARGIN * reduce
    part = tiled_jpeg.extract_region(data, *low.tolist(), *high.tolist())
    if part is None:
        return DecodedFrame(decode(data, where, reduce), reduce)
    return DecodedFrame(decode(part.data, where, reduce), reduce, (part.image_size, part.corner))


def cut_crop(frame: DecodedFrame, plan: Plan, k: int) -> Crop:
    """Crop number k of the plan."""
    return Crop(*_resample(frame, plan, k), frame.frame_size)


def _resample(frame: DecodedFrame, plan: Plan, k: int) -> tuple[np.ndarray, float]:
    size, box_xywh = int(plan.size[k]), plan.crop_center_xywh[k]
    x1, y1, side = crop_window(box_xywh, plan.factor[k])
    height, width = frame.image.shape[:2]
    left, top = frame.whole[1] if frame.whole else (0, 0)
    if frame.reduce == 1 and side <= _LARGEST_PAD * max(frame.frame_size):
        return crop_host(frame.image, box_xywh, plan.factor[k], size, frame.whole)
    columns, x = _pixels_under(x1, side, left // frame.reduce, width, frame.reduce)
    rows, y = _pixels_under(y1, side, top // frame.reduce, height, frame.reduce)
    image, step = frame.image[rows, columns], side / size
    if not image.size:
        return np.zeros((size, size, 3), np.uint8), 1 / step
    # OpenCV's resize maps pixel centres to pixel centres, and so does decoding a JPEG at a reduced size.
    scale = step / frame.reduce
    matrix = np.array([[scale, 0, x + 0.5 * scale - 0.5], [0, scale, y + 0.5 * scale - 0.5]])
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP), 1 / step


def _pixels_under(start: int, side: int, first: int, count: int, reduce: int) -> tuple[slice, float]:
    """The image's pixels under a window along one axis, and the start of the window relative to the first of them.

    The pixels and the arithmetic are the same for a whole frame and for a part of it.

    Args:
      start, side: of the window, in pixels of the frame.
      first, count: of the image, in reduced pixels of the frame.
      reduce: pixels of the frame in a pixel of the image.
    """
    low = max(start // reduce - 1, 0)
    high = -(-(start + side) // reduce) + 1
    part = slice(max(low - first, 0), max(min(high - first, count), 0))
    return part, start / reduce - low


def crops_from_sequence(sequence: Sequence, plan: Plan) -> list[Crop]:
    """The plan's crops of a sequence that draws its crops or its frames."""

    def crop(index: int, *window) -> Crop:
        if sequence.read_crop is not None:
            assert sequence.frame_size is not None  # as for every sequence with `read_crop`
            return Crop(*sequence.read_crop(index, *window), sequence.frame_size)
        image = sequence.read_frame(index)
        return Crop(*crop_host(image, *window), image.shape[:2])

    rows = zip(plan.frames.tolist(), plan.crop_center_xywh, plan.factor.tolist(), plan.size.tolist(), strict=True)
    return [crop(*row) for row in rows]


def augment_crops(plan: Plan, crops: list[Crop]) -> dict[str, np.ndarray]:
    """Makes a clip of the plan's crops: grey, brightness and flips in uint8, normalised boxes that are flipped too."""
    clip = {}
    for kind, part in (("template", slice(plan.templates)), ("search", slice(plan.templates, None))):
        scales = np.array([crop.resize_factor for crop in crops[part]])[:, None]
        sizes = plan.size[part][:, None]
        boxes = np.asarray(box_to_crop_norm(plan.boxes_xywh[part], plan.crop_center_xywh[part], scales, sizes))
        images = np.empty((len(boxes), *crops[part][0].image.shape), np.uint8)
        for k, crop in enumerate(crops[part]):
            row = k + (part.start or 0)
            image = augment.brighten(augment.grey(crop.image) if plan.grey else crop.image, plan.brightness[row])
            if plan.flip[row]:
                image, boxes[k] = augment.flip(image, boxes[k])
            images[k] = image
        clip[f"{kind}_images"], clip[f"{kind}_boxes_xywh"] = images, boxes.astype(np.float32)
    if plan.closed_loop is None:
        return clip
    return _closed_loop_clip(plan, plan.closed_loop, clip, [crop.frame_size for crop in crops[plan.templates :]])


def _closed_loop_clip(
    plan: Plan, closed_loop: ClosedLoopPlan, clip: dict[str, np.ndarray], frame_sizes: list[tuple[int, int]]
) -> dict[str, np.ndarray]:
    """The clip of a closed-loop rollout, whose search crops are canvases; see `read_clip`."""
    search = slice(plan.templates, None)
    windows = [crop_window(*cut) for cut in zip(plan.crop_center_xywh[search], plan.factor[search], strict=True)]
    return {
        "template_images": clip["template_images"],
        "template_boxes_xywh": clip["template_boxes_xywh"],
        "canvas_images": clip["search_images"],
        "canvas_windows": np.array(windows, np.float32),
        "frame_sizes": np.array(frame_sizes, np.float32),
        "flips": closed_loop.flip,
        "target_boxes_xywh": plan.boxes_xywh[search].astype(np.float32),
        "start_box_xywh": closed_loop.start_box_xywh.astype(np.float32),
    }
