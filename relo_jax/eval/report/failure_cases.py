"""Frames that show how trackers do on a sequence: which frames to choose, and what is drawn on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as List
from dataclasses import replace

import cv2
import numpy as np

from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.eval.report import html
from relo_jax.eval.report.comparison import Comparison
from relo_jax.geometry import boxes
from relo_jax.media.overlay import draw_policy
from relo_jax.tracking.result import Look

_WIDTH = 960  # pixels of a frame on the page
_INSET = 240
_SURROUNDINGS = 2.5  # side of what an inset shows, of the target's larger side
_SMALL = 0.4  # a target has an inset if that is less than this, of the frame's smaller side
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


def draw_boxes(
    frame: np.ndarray, truth: np.ndarray, others: Iterable[tuple[np.ndarray, str]], scale: float | None = None
) -> np.ndarray:
    """A frame for the page, with boxes in their colours.

    Args:
      frame: uint8 [H, W, 3], RGB.
      truth: box_xywh, drawn white on black; left out if it has no area.
      others: (box_xywh, "#rrggbb") in the order of drawing.
      scale: enlarges the frame; None: it becomes at most 960 wide.

    Returns:
      uint8 [H', W', 3].
    """
    scale = min(1.0, _WIDTH / frame.shape[1]) if scale is None else scale
    size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = cv2.resize(frame, size, interpolation=how) if scale != 1 else np.array(frame, order="C")
    line = max(2, round(image.shape[1] / 320))
    if _has_area(truth):
        _rectangle(image, truth * scale, (0, 0, 0), line + 2)
        _rectangle(image, truth * scale, (255, 255, 255), line)
    for box, colour in others:
        _rectangle(image, np.asarray(box) * scale, tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5)), line)
    return image


def inset(frame: np.ndarray, truth: np.ndarray, others: List[tuple[np.ndarray, str]]) -> tuple[np.ndarray | None, str]:
    """What is around a target that is too small to see, enlarged, and the corner of the frame that is farthest from it.

    Args: as of `draw_boxes`; where there is no target, the first of the others is enlarged.

    Returns:
      uint8 [240, 240, 3], or None where the target is large enough; and a corner, such as "left top".
    """
    height, width = frame.shape[:2]
    box = np.asarray(truth if _has_area(truth) or not others else others[0][0], float)
    middle = box[:2] + box[2:] / 2
    side = round(max(_SURROUNDINGS * box[2:].max(), 32)) if _has_area(box) else height
    corner = f"{'left' if middle[0] > width / 2 else 'right'} {'top' if middle[1] > height / 2 else 'bottom'}"
    if side >= _SMALL * min(height, width):
        return None, corner
    left, top = (int(np.clip(m - side / 2, 0, room - side)) for m, room in zip(middle, (width, height), strict=True))
    part, shift = frame[top : top + side, left : left + side], np.array([left, top, 0, 0])
    moved = [(np.asarray(other) - shift, colour) for other, colour in others]
    return draw_boxes(part, np.asarray(truth) - shift, moved, _INSET / side), corner


Looks = Callable[[Sequence, List[int]], Mapping[int, Look]]  # a sequence, frames -> what the tracker says of them


def key_frames(
    comparison: Comparison,
    sequence: Sequence,
    label: str,
    overlap: Mapping[str, np.ndarray],
    colours: Mapping[str, str],
    count: int = 4,
    looks: Looks | None = None,
) -> list[html.Shot]:
    """Frames of a sequence with the boxes of the truth and the trackers.

    Args:
      comparison: the trackers.
      sequence: one of the compared sequences.
      label: the tracker whose loss decides which frames.
      overlap: of `overlaps`.
      colours: label -> "#rrggbb", of the trackers to draw.
      count: how many frames at most.
      looks: the tracker's, whose policy is drawn under the boxes, in the frames in which it has one for this box.

    Returns:
      the frames. Unreadable ones are left out, and the captions give their number.
    """
    shots, unreadable, chosen = [], 0, moments(overlap[label], count)
    looked = looks(sequence, chosen) if looks is not None else {}
    for index in chosen:
        try:
            frame = sequence.read_frame(index)
        except (UserError, OSError):
            unreadable += 1
            continue
        drawn = [(comparison.entries[name].boxes[sequence.name][index], c) for name, c in colours.items()]
        truth = sequence.boxes_xywh[index]
        own, look = comparison.entries[label].boxes[sequence.name][index], looked.get(index)
        seen = frame if look is None or not _is_same(own, look.box) else draw_policy(frame, look.policy, look.region)
        shots.append(html.Shot(draw_boxes(seen, truth, drawn), _caption(index, overlap), *inset(frame, truth, drawn)))
    if unreadable:
        shots = [replace(shot, caption=f"{shot.caption}; {unreadable} frames cannot be read") for shot in shots]
    return shots


def _is_same(box_xywh, other_xywh):
    return bool(boxes.iou_xywh(np.asarray(box_xywh, float), np.asarray(other_xywh, float)) > 0.5)


def _has_area(box_xywh):
    return bool(np.isfinite(box_xywh).all() and (np.asarray(box_xywh)[2:] > 0).all())


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
