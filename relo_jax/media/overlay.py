"""What is drawn on a tracked frame: the box, its score, and the ground truth where there is one."""

import cv2
import numpy as np

# RGB. The box is green where the target was found and amber where it was not; the truth is white.
FOUND, LOST, TRUTH = (60, 220, 100), (255, 170, 40), (255, 255, 255)
# Several targets: one colour each, and over again from the seventh on.
COLOURS = (FOUND, (80, 170, 255), (255, 100, 200), (250, 240, 90), (170, 120, 255), (90, 240, 240))
_SHIFT = 3  # fractional bits of OpenCV's coordinates: a slowly moving box does not jump from pixel to pixel


def draw(frame, result=None, truth=None, label=None):
    """A copy of a frame with boxes on it.

    Args:
      frame: uint8 `[H, W, 3]`, RGB.
      result: what a tracker gave for it (`box`, `score`, `found`), a list of those for several targets, which are
        numbered then, or None.
      truth: box_xywh of the ground truth, drawn thin below the result's; not drawn when None or not finite.
      label: text in the top left corner, such as a method's name.

    Returns:
      uint8 `[H, W, 3]`, RGB.
    """
    out = np.array(frame, order="C")
    thick = max(1, round(min(out.shape[:2]) / 180))
    if truth is not None and np.isfinite(truth).all():
        _rectangle(out, truth, (0, 0, 0), thick + 1)
        _rectangle(out, truth, TRUTH, thick)
    several = result if isinstance(result, list) else [] if result is None else [result]
    for number, one in enumerate(several):
        name = f"{number + 1}: " if len(several) > 1 else ""
        _target(out, one, COLOURS[number % len(COLOURS)] if one.found else LOST, name, thick)
    if label:
        _text(out, label, 0, 0, TRUTH, below=0)
    return out


def _target(image, result, colour, name, thick):
    x, y, w, h = result.box
    line = min(thick + 1, max(1, round(min(w, h) / 10)))  # a small target must still be seen
    _rectangle(image, result.box, (0, 0, 0), line + 2)
    _rectangle(image, result.box, colour, line)
    _text(image, f"{name}{result.score:.2f}", x, y, colour, below=y + h)


def _rectangle(image, box_xywh, colour, thickness):
    x, y, w, h = (float(v) for v in box_xywh)
    first, last = (tuple(round(v * 2**_SHIFT) for v in corner) for corner in ((x, y), (x + w, y + h)))
    cv2.rectangle(image, first, last, colour, thickness, cv2.LINE_AA, _SHIFT)


def _text(image, text, x, y, colour, below):
    """Text on a dark ground, sitting on the height `y`, or under `below` where there is no room; kept in the image."""
    height, width = image.shape[:2]
    scale = max(0.4, min(height, width) / 600)
    (w, h), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    w, h = w + 4, h + base + 2
    top = y - h - 2 if y - h - 2 >= 0 else below + 2
    top, left = (round(min(max(v, 0), room)) for v, room in ((top, max(height - h, 0)), (x, max(width - w, 0))))
    ground = image[top : top + h, left : left + w]
    ground[:] = ground // 4
    cv2.putText(image, text, (left + 2, top + h - base), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
