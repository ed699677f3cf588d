"""Frames that show how trackers do on a sequence: which frames to choose, and all boxes drawn on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import cv2
import numpy as np

from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.eval.report.comparison import Comparison
from relo_jax.geometry import boxes

_WIDTH = 560  # pixels of a frame on the page
_LOST = 5  # frames in a row without overlap


def hardest(comparison: Comparison, label: str, count: int) -> list[str]:
    """Names of the sequences with the tracker's lowest numbers, the worst first, without NaN."""
    values = comparison.values(label)
    order = [k for k in np.argsort(values, kind="stable") if np.isfinite(values[k])]
    return [comparison.names[k] for k in order[:count]]


def overlaps(comparison: Comparison, sequence: Sequence, labels: Iterable[str]) -> dict[str, np.ndarray]:
    """Label -> overlap with the truth in every frame, float64 [F], NaN where there is no target."""
    truth = sequence.boxes_xywh
    with np.errstate(invalid="ignore"):
        known = (truth[:, 2:] > 0).all(1)
    overlap = {}
    for label in labels:
        predicted = comparison.entries[label].boxes[sequence.name]
        overlap[label] = np.full(len(truth), np.nan)
        overlap[label][known] = boxes.iou_xywh(predicted[known], truth[known])
        overlap[label][0] = 1.0  # given
    return overlap


def moments(overlap: np.ndarray, count: int = 4) -> list[int]:
    """The frames to show, in order: the first, the one where the target is lost, the last, and others evenly between.

    Args:
      overlap: [F], of one tracker, NaN where there is no target.
      count: how many frames at most.
    """
    last = len(overlap) - 1
    chosen = {0, last}
    lost = first_loss(overlap)
    if lost is not None:
        chosen.add(lost)
    for index in np.linspace(0, last, count).round().astype(int).tolist():
        near = min((abs(index - other) for other in chosen), default=last)
        if len(chosen) < count and near > last / (3 * count):
            chosen.add(index)
    return sorted(chosen)[:count]


def first_loss(overlap: np.ndarray) -> int | None:
    """The first of five successive frames with a target that the tracker misses entirely; None if there are none."""
    shown = np.flatnonzero(np.isfinite(overlap))
    away = (overlap[shown] <= 0).astype(int)
    run = np.convolve(away, np.ones(_LOST, int), "valid") if len(away) >= _LOST else np.zeros(0, int)
    starts = np.flatnonzero(run == _LOST)
    return int(shown[starts[0]]) if len(starts) else None


def draw_boxes(frame: np.ndarray, truth: np.ndarray, others: Iterable[tuple[np.ndarray, str]]) -> np.ndarray:
    """A frame for the page, with boxes in their colours.

    Args:
      frame: uint8 [H, W, 3], RGB.
      truth: box_xywh, drawn white on black; left out if it has no area.
      others: (box_xywh, "#rrggbb") in the order of drawing.

    Returns:
      uint8 [H', W', 3], at most 560 wide.
    """
    scale = min(1.0, _WIDTH / frame.shape[1])
    size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
    image = cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if scale < 1 else np.array(frame, order="C")
    if np.isfinite(truth).all() and (truth[2:] > 0).all():
        _rectangle(image, truth * scale, (0, 0, 0), 4)
        _rectangle(image, truth * scale, (255, 255, 255), 2)
    for box, colour in others:
        _rectangle(image, np.asarray(box) * scale, tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5)), 2)
    return image


def key_frames(
    comparison: Comparison,
    sequence: Sequence,
    label: str,
    overlap: Mapping[str, np.ndarray],
    colours: Mapping[str, str],
    count: int = 4,
) -> list[tuple[np.ndarray, str]]:
    """Frames of a sequence with the boxes of the truth and the trackers.

    Args:
      comparison: the trackers.
      sequence: one of the compared sequences.
      label: the tracker whose loss decides which frames.
      overlap: of `overlaps`.
      colours: label -> "#rrggbb", of the trackers to draw.
      count: how many frames at most.

    Returns:
      (uint8 [H, W, 3], caption) of each frame. Unreadable frames are left out, and the captions give their number.
    """
    frames, unreadable = [], 0
    for index in moments(overlap[label], count):
        try:
            frame = sequence.read_frame(index)
        except (UserError, OSError):
            unreadable += 1
            continue
        drawn = [(comparison.entries[name].boxes[sequence.name][index], c) for name, c in colours.items()]
        truth = sequence.boxes_xywh[index]
        frames.append((draw_boxes(frame, truth, drawn), _caption(index, overlap)))
    if unreadable:
        frames = [(image, f"{caption}; {unreadable} frames cannot be read") for image, caption in frames]
    return frames


def _caption(index, overlap):
    if index == 0:
        return "frame 0 (given)"
    numbers = [f"{label} {values[index]:.2f}" for label, values in overlap.items() if np.isfinite(values[index])]
    return f"frame {index}: " + (", ".join(numbers) if numbers else "no target")


def _rectangle(image, box_xywh, colour, thickness):
    limit = 4 * max(image.shape)  # OpenCV's coordinates have 32 bits, 3 of them for fractions
    x, y, w, h = (float(v) for v in box_xywh)
    corners = np.clip([x, y, x + w, y + h], -limit, limit)
    first, last = (tuple(round(v * 8) for v in corner) for corner in (corners[:2], corners[2:]))
    cv2.rectangle(image, first, last, colour, thickness, cv2.LINE_AA, 3)
