"""A sequence: a video with one box a frame, read frame by frame, or crop by crop.

Everything that tracks or trains sees videos through this one record, whatever they come from: a folder of frames, a
scene drawn on the fly, an archive. A source of image files hands them out encoded (`read_encoded`), so that a clip
decodes no more than it needs; one that can draw a crop without making the whole frame says so by `read_crop`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sequence:
    """One video with its boxes.

    name: unique within its dataset. boxes_xywh: float64 [F, 4], pixels, 0-based corners.
    visible: bool [F], frames whose box may be trained on. read_frame(index) -> uint8 [H, W, 3] RGB.
    read_crop(index, box_xywh, factor, size) -> (uint8 [size, size, 3], size / side), where a crop can be had without
    the frame: the same scene in the same place, but noise, blur and compression of the camera are the crop's own.
    read_encoded(index) -> the bytes of the frame's image file, where it has one.
    where(index) -> what to call the frame in a message: its file, or its place in an archive.
    still: one image that stands for a video; it is repeated as often as a clip needs.
    shown: bool [F], frames in which the target shows by the flags that the dataset's benchmark counts by, whatever
    their boxes; None: as `visible`. frame_size: (height, width) of all frames, where there is `read_crop`.
    """

    name: str
    boxes_xywh: np.ndarray
    visible: np.ndarray
    read_frame: Callable[[int], np.ndarray]
    read_crop: Callable[[int, np.ndarray, float, int], tuple[np.ndarray, float]] | None = None
    category: str | None = None
    read_encoded: Callable[[int], bytes] | None = None
    where: Callable[[int], str] | None = None
    still: bool = False
    shown: np.ndarray | None = None
    frame_size: tuple[int, int] | None = None

    @property
    def counted(self) -> np.ndarray:
        """bool [F], frames that evaluation takes for frames with a target, as far as flags say."""
        return self.visible if self.shown is None else self.shown

    def __len__(self) -> int:
        return len(self.boxes_xywh)
