"""The sequences on which a tracker does worst: which frames to show of them, and the frames with everybody's boxes."""

import cv2
import numpy as np

from relo_jax.errors import UserError
from relo_jax.geometry import boxes

_WIDTH = 560  # pixels of a frame on the page
_LOST = 5  # frames in a row without overlap


def hardest(comparison, label, count):
    """Names of the sequences with the tracker's lowest numbers, the worst first; those without a number are no part."""
    values = comparison.values(label)
    order = [k for k in np.argsort(values, kind="stable") if np.isfinite(values[k])]
    return [comparison.names[k] for k in order[:count]]


def overlaps(comparison, sequence, labels):
    """Label -> overlap with the truth in every frame, float64 `[F]`, NaN where there is no target."""
    truth = sequence.boxes_xywh
    with np.errstate(invalid="ignore"):
        known = (truth[:, 2:] > 0).all(1)
    found = {}
    for label in labels:
        predicted = comparison.entries[label].boxes[sequence.name]
        found[label] = np.full(len(truth), np.nan)
        found[label][known] = boxes.iou_xywh(predicted[known], truth[known])
        found[label][0] = 1.0  # given
    return found


def moments(overlap, count=4):
    """Which frames to show: the first, where the target is lost, and others evenly spread to the last.

    Args:
      overlap: `[F]`, of one tracker, NaN where there is no target.
      count: how many, at most.

    Returns:
      list of frame numbers, rising.
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


def first_loss(overlap):
    """The first frame from which on a tracker has nothing of the target for five frames that show it; None without."""
    shown = np.flatnonzero(np.isfinite(overlap))
    away = (overlap[shown] <= 0).astype(int)
    run = np.convolve(away, np.ones(_LOST, int), "valid") if len(away) >= _LOST else np.zeros(0, int)
    starts = np.flatnonzero(run == _LOST)
    return int(shown[starts[0]]) if len(starts) else None


def draw_boxes(frame, truth, others):
    """A frame for the page, with boxes in their colours.

    Args:
      frame: uint8 `[H, W, 3]`, RGB.
      truth: box_xywh, drawn white on black; not drawn without an area.
      others: list of (box_xywh, "#rrggbb"), drawn in this order.

    Returns:
      uint8 `[H', W', 3]`, at most 560 wide.
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


def key_frames(comparison, sequence, label, overlap, colours, count=4):
    """Frames of a sequence with the truth's and trackers' boxes.

    Args:
      comparison: `comparison.Comparison`.
      sequence: one of its sequences.
      label: the tracker whose loss decides which frames.
      overlap: of `overlaps`.
      colours: label -> "#rrggbb", of those that are drawn.

    Returns:
      list of (uint8 `[H, W, 3]`, caption). A frame that cannot be read is left out, and the caption of the others says
      how many are.
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
    limit = 4 * max(image.shape)  # OpenCV counts in 32 bits, with 3 of them for fractions
    x, y, w, h = (float(v) for v in box_xywh)
    corners = np.clip([x, y, x + w, y + h], -limit, limit)
    first, last = (tuple(round(v * 8) for v in corner) for corner in (corners[:2], corners[2:]))
    cv2.rectangle(image, first, last, colour, thickness, cv2.LINE_AA, 3)
