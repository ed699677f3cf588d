"""Sequences in which the target is suddenly elsewhere, made from any annotated sequences.

A good tracker loses its target too seldom for a calibration to learn what that looks like. So each sequence is also
tracked with a jump of the camera and with a cut to another scene, each for a fifth of the frames:

- jump: all pixels move, with the target as far as the frame has room, and what leaves on one side enters on the other.
  The target is in the frame, but outside the search region (unless there is no room).
- cut: the frames of another sequence, so that the target is away.
"""

from __future__ import annotations

import cv2
import numpy as np

from relo_jax.data.sequence import Sequence

BEGIN, LENGTH = 0.4, 0.2  # of an interruption, as shares of the sequence


def with_interruptions(sequences: list[Sequence]) -> tuple[list[Sequence], list[int]]:
    """The sequences, each followed by its versions with a jump and, if there are two sequences, with a cut.

    Args:
      sequences: with whole frames.

    Returns:
      The videos, and the number of the sequence that each was made from.
    """
    videos, made_from = [], []
    for k, sequence in enumerate(sequences):
        versions = [sequence, with_jump(sequence)]
        if len(sequences) > 1:
            versions.append(with_cut(sequence, sequences[(k + 1) % len(sequences)]))
        videos += versions
        made_from += [k] * len(versions)
    return videos, made_from


def with_jump(sequence: Sequence) -> Sequence:
    """The sequence with a camera that looks elsewhere for a while."""
    first, last = _span(sequence)
    height, width = sequence.read_frame(0).shape[:2]
    boxes = np.array(sequence.boxes_xywh, np.float64)
    shift = np.array(
        [_room(boxes[first:last, k], boxes[first:last, 2 + k], side) for k, side in ((0, width), (1, height))]
    )
    boxes[first:last, :2] += shift

    def read_frame(index: int) -> np.ndarray:
        frame = sequence.read_frame(index)
        if first <= index < last:
            frame = np.ascontiguousarray(np.roll(frame, shift[::-1], (0, 1)))
        return frame

    return Sequence(f"{sequence.name}, jump", boxes, sequence.visible, read_frame)


def with_cut(sequence: Sequence, other: Sequence) -> Sequence:
    """The sequence with frames of another one for a while."""
    first, last = _span(sequence)
    height, width = sequence.read_frame(0).shape[:2]
    boxes, visible = np.array(sequence.boxes_xywh, np.float64), np.array(sequence.visible, bool)
    boxes[first:last], visible[first:last] = np.nan, False

    def read_frame(index: int) -> np.ndarray:
        if not first <= index < last:
            return sequence.read_frame(index)
        return cv2.resize(other.read_frame((index - first) % len(other)), (width, height), interpolation=cv2.INTER_AREA)

    return Sequence(f"{sequence.name}, cut", boxes, visible, read_frame)


def _span(sequence: Sequence) -> tuple[int, int]:
    """The first frame of the interruption, and the one behind its last."""
    first = max(1, round(BEGIN * len(sequence)))
    return first, max(first + 1, round((BEGIN + LENGTH) * len(sequence)))


def _room(start: np.ndarray, length: np.ndarray, side: int) -> int:
    """How far targets may move along an axis of `side` pixels, to the side with more room; 0 without a target."""
    there = np.isfinite(start + length) & (length > 0)
    if not there.any():
        return 0
    before, behind = np.floor(start[there].min()), np.floor(side - (start + length)[there].max())
    return int(max(behind, 0) if behind > before else -max(before, 0))
