"""From a plan to pictures: read, decode, cut, vary. Decoding is what a training clip costs, so none is wasted.

A frame that a clip uses twice is read and decoded once. A JPEG whose crops will all be shrunk is decoded at 1/2, 1/4 or
1/8 of its size, which the format gives almost for free: the frequencies that the crop cannot show are never computed.
From there it is one resampling to the crop, and everything stays in bytes. At full size a crop is the evaluation's,
byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from relo_jax.crop import box_to_crop_norm, crop_host, crop_window
from relo_jax.data import augment
from relo_jax.data.clips import Plan
from relo_jax.data.images import decode
from relo_jax.data.sequence import Sequence

_REDUCTIONS = (8, 4, 2)
_LARGEST_PAD = 2  # a window so many times the image is not padded, which would fill the memory with zeros


@dataclass(frozen=True)
class Encoded:
    """A frame's file. reduce: what its size may be divided by while it is decoded. where: for messages."""

    data: bytes
    reduce: int
    where: str


@dataclass(frozen=True)
class Picture:
    """A decoded frame, uint8 [H, W, 3]; H and W are those of the video divided by `reduce`, rounded up."""

    image: np.ndarray
    reduce: int


def draw(sequence: Sequence, plan: Plan, *, reduced: bool = True) -> dict[str, np.ndarray]:
    """The clip of a plan: template_images uint8 [K, s, s, 3], template_boxes_xywh float32 [K, 4], search_images uint8
    [T, S, S, 3], search_boxes_xywh float32 [T, 4], boxes normalised to their crops.

    reduced: whether frames may be decoded at a reduced size.

    Raises:
      FrameError: a frame is missing or does not decode.
    """
    if sequence.read_crop is not None or sequence.read_encoded is None:
        return vary(plan, cut_from_sequence(sequence, plan))
    return vary(plan, cut(plan, decode_all(read_all(sequence, plan, reduced=reduced))))


def read_all(sequence: Sequence, plan: Plan, *, reduced: bool = True) -> dict[int, Encoded]:
    """The files of the plan's frames, each once."""
    files = {}
    for frame in np.unique(plan.frames).tolist():
        data = sequence.read_encoded(frame)
        files[frame] = Encoded(data, reduction(plan, frame, data) if reduced else 1, sequence.where(frame))
    return files


def reduction(plan: Plan, frame: int, data: bytes) -> int:
    """The most that a JPEG may be reduced while every crop of it is still shrunk, or copied, never enlarged."""
    if data[:2] != b"\xff\xd8":
        return 1
    wanted = [
        crop_window(plan.around_xywh[k], plan.factor[k])[2] / plan.size[k] for k in np.flatnonzero(plan.frames == frame)
    ]
    return next((r for r in _REDUCTIONS if min(wanted) >= r), 1)


def decode_all(files: dict[int, Encoded]) -> dict[int, Picture]:
    """Decodes the frames that `read_all` read."""
    return {frame: Picture(decode(f.data, f.where, f.reduce), f.reduce) for frame, f in files.items()}


def cut(plan: Plan, pictures: dict[int, Picture]) -> list[tuple[np.ndarray, float]]:
    """The plan's crops, uint8 [S, S, 3], each with its resize factor S / side."""
    return [
        _cut_one(pictures[int(frame)], around, factor, int(size))
        for frame, around, factor, size in zip(plan.frames, plan.around_xywh, plan.factor, plan.size, strict=True)
    ]


def _cut_one(picture: Picture, around_xywh: np.ndarray, factor: float, size: int) -> tuple[np.ndarray, float]:
    x1, y1, side = crop_window(around_xywh, factor)
    if picture.reduce == 1 and side <= _LARGEST_PAD * max(picture.image.shape):
        return crop_host(picture.image, around_xywh, factor, size)
    # OpenCV's resize takes pixel centres; so does a JPEG that is decoded at a part of its size.
    step = side / size
    scale, to_reduced = step / picture.reduce, lambda start: (start + 0.5 * step) / picture.reduce - 0.5
    matrix = np.array([[scale, 0, to_reduced(x1)], [0, scale, to_reduced(y1)]])
    return cv2.warpAffine(picture.image, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP), 1 / step


def cut_from_sequence(sequence: Sequence, plan: Plan) -> list[tuple[np.ndarray, float]]:
    """The plan's crops of a sequence that draws them, or its frames, by itself."""
    rows = zip(plan.frames.tolist(), plan.around_xywh, plan.factor.tolist(), plan.size.tolist(), strict=True)
    return [sequence.crop(frame, around, factor, size) for frame, around, factor, size in rows]


def vary(plan: Plan, crops: list[tuple[np.ndarray, float]]) -> dict[str, np.ndarray]:
    """Crops to a clip: grey, brightness and flips in uint8, boxes normalised and flipped with them."""
    parts = {}
    for kind, part in (("template", slice(plan.templates)), ("search", slice(plan.templates, None))):
        scales = np.array([scale for _, scale in crops[part]])[:, None]
        boxes = box_to_crop_norm(plan.boxes_xywh[part], plan.around_xywh[part], scales, plan.size[part][:, None])
        images = np.empty((len(boxes), *crops[part][0][0].shape), np.uint8)
        for k, (image, _) in enumerate(crops[part]):
            row = k + (part.start or 0)
            image = augment.brighten(augment.grey(image) if plan.grey else image, plan.brightness[row])
            if plan.flip[row]:
                image, boxes[k] = augment.flip(image, boxes[k])
            images[k] = image
        parts[f"{kind}_images"], parts[f"{kind}_boxes_xywh"] = images, boxes.astype(np.float32)
    return parts
