"""A sequence: a video with one box per frame, read frame by frame or crop by crop.

Trackers and training see every video through this one class, whether it is a folder of frames, a scene drawn on the
fly or a built dataset. Sequences of image files offer the encoded bytes (`read_encoded`), so that a clip decodes only
the pixels it needs. Synthetic sequences can draw a crop without the rest of the frame (`read_crop`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sequence:
    """One video with its boxes.

    Attributes:
      name: unique within the dataset.
      boxes_xywh: float64 [F, 4], in pixels, with 0-based corners.
      visible: bool [F], frames whose box may be trained on.
      read_frame: index -> uint8 [H, W, 3] RGB.
      read_crop: (index, box_xywh, factor, size) -> (uint8 [size, size, 3], size / side), for sequences that can draw a
        crop alone. It shows the same scene as the frame, with camera noise, blur and compression of its own.
      category: class of the target, None if unknown.
      read_encoded: index -> bytes of the frame's image file, for sequences of image files.
      where: index -> name of the frame in messages: its file, or its place in a built dataset.
      still: whether it is one image that stands for a video; clips repeat it.
      shown: bool [F], frames that show the target by the flags that the benchmark counts by, whatever their boxes.
        None: the same as `visible`.
      frame_size: (height, width) of all frames; set where `read_crop` is.
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
        """bool [F], frames that evaluation counts as showing the target, as far as flags tell."""
        return self.visible if self.shown is None else self.shown

    def __len__(self) -> int:
        return len(self.boxes_xywh)
