"""Frames of tracked videos: the evidence of their scores, and whether the box was right or the target lost."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from relo_jax.geometry.boxes import iou_xywh
from relo_jax.tracking import confidence

RIGHT_IOU = 0.5  # strictly above
LOST_IOU = 0.2  # strictly below


@dataclass(frozen=True)
class FrameEvidence:
    """N frames of tracked videos, those of a video in order.

    Attributes:
      evidence: [N, 4], see `confidence.EVIDENCE`.
      overlap: [N], IoU of box and truth; 0 where the target is away.
      video: [N], the number of each frame's video.
      sequence: [N], the number of the sequence that the video was made from; parts have whole sequences.
    """

    evidence: np.ndarray
    overlap: np.ndarray
    video: np.ndarray
    sequence: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> FrameEvidence:
        return FrameEvidence(*(getattr(self, one.name)[chosen] for one in fields(self)))

    def __len__(self) -> int:
        return len(self.overlap)

    @property
    def right(self) -> np.ndarray:
        """bool [N], which boxes are right."""
        return self.overlap > RIGHT_IOU

    @property
    def lost(self) -> np.ndarray:
        """bool [N], frames in which the target is away, or the box somewhere else."""
        return self.overlap < LOST_IOU

    @property
    def uninterrupted(self) -> np.ndarray:
        """bool [N], frames of the first video that was made from each sequence: the sequence itself."""
        numbers, place = np.unique(self.sequence, return_inverse=True)
        first = np.array([self.video[self.sequence == number].min() for number in numbers])
        return self.video == first[place]

    def levels(self, scores: np.ndarray, found_frames: int) -> np.ndarray:
        """What `found_threshold` is compared with, [N], for scores [N]; see `confidence.Steady`."""
        out = np.empty(len(self))
        for number in np.unique(self.video):
            out[self.video == number] = confidence.levels(scores[self.video == number], found_frames)
        return out


def overlaps(boxes_xywh: np.ndarray, truth_xywh: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """IoU of boxes and truth, [F]; 0 where the target is away.

    Args:
      boxes_xywh, truth_xywh: [F, 4], pixels; the target is away if the truth is NaN or has no area.
      visible: bool [F], False where the target is away.
    """
    truth = np.asarray(truth_xywh, np.float64)
    with np.errstate(invalid="ignore"):
        there = np.asarray(visible, bool) & (truth[:, 2:] > 0).all(1) & np.isfinite(truth).all(1)
    overlap = np.zeros(len(truth))
    overlap[there] = iou_xywh(np.asarray(boxes_xywh, np.float64)[there], truth[there])
    return overlap


def is_right(boxes_xywh: np.ndarray, truth_xywh: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Which boxes are right, bool [F]; arguments of `overlaps`."""
    return overlaps(boxes_xywh, truth_xywh, visible) > RIGHT_IOU
