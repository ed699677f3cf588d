"""Draws on a tracked frame: the box, its score, where the policy looked and, if there is one, the ground truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np

# RGB. The box is green if the target was found and amber if it was not; the ground truth is white.
FOUND, LOST, TRUTH = (60, 220, 100), (255, 170, 40), (255, 255, 255)
# One colour for each of several targets; the seventh target has the first colour again.
COLOURS = (FOUND, (80, 170, 255), (255, 100, 200), (250, 240, 90), (170, 120, 255), (90, 240, 240))
_BLACK = (0, 0, 0)
_COLOUR_MAP = cv2.COLORMAP_INFERNO
_DARKEST = 0.3  # where the colours begin on the map, whose dark end would look like a shadow
_CONTRAST = 0.25  # probability, over the uniform policy's, from which the colours grow with its logarithm
_STRONGEST = 0.8  # share of the colour at a certain cell: the picture stays visible under it
_SHIFT = 3  # fractional bits of OpenCV's coordinates, so that a slow box does not jump from pixel to pixel

Colour = tuple[int, int, int]


class Result(Protocol):
    """The part of a tracker's result that is drawn."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, w, h in pixels."""

    @property
    def score(self) -> float:
        """Drawn beside the box."""

    @property
    def found(self) -> bool:
        """Whether the box has the colour of a target that was found."""


def draw(
    frame: np.ndarray,
    result: Result | Sequence[Result] | None = None,
    truth: np.ndarray | None = None,
    label: str | None = None,
) -> np.ndarray:
    """Draws boxes on a copy of a frame.

    Args:
      frame: uint8 `[H, W, 3]`, RGB.
      result: a tracker's result (`box`, `score`, `found`), or a sequence of one for each target; several are numbered.
        Under one that has a policy (`Tracker.look`) the policy is drawn.
      truth: ground truth box_xywh, drawn as a thin line under the result; not drawn if it is not finite.
      label: text for the top left corner, such as the name of a method.

    Returns:
      uint8 `[H, W, 3]`, RGB.
    """
    out = _as_rgb(frame)
    results: list[Any] = [] if result is None else list(result) if isinstance(result, Sequence) else [result]
    for target in results:
        if (policy := getattr(target, "policy", None)) is not None:
            out = draw_policy(out, policy, target.region)
    thickness = max(1, round(min(out.shape[:2]) / 180))
    if truth is not None and np.isfinite(truth).all():
        _rectangle(out, truth, _BLACK, thickness + 1)
        _rectangle(out, truth, TRUTH, thickness)
    for index, target in enumerate(results):
        if not np.isfinite(target.box).all():  # before the first box of a target
            continue
        name = f"{index + 1}: " if len(results) > 1 else ""
        _target(out, target, COLOURS[index % len(COLOURS)] if target.found else LOST, name, thickness)
    if label:
        _text(out, label, 0, 0, TRUTH, below=0)
    return out


def draw_policy(frame: np.ndarray, policy: np.ndarray, region: Sequence[float]) -> np.ndarray:
    """Draws a policy over its search region on a copy of a frame, and outlines the region.

    The scale is the same for all frames and policies: transparent where the probability is far below that of
    a uniform policy, a purple haze where it equals it, and bright yellow at a cell that has nearly all.

    Args:
      frame: uint8 `[H, W, 3]`, RGB, or grey `[H, W]`.
      policy: `[g, g]`, a probability for each cell of the region.
      region: x, y, w, h in pixels; parts may lie outside the frame.

    Returns:
      uint8 `[H, W, 3]`, RGB.
    """
    out = _as_rgb(frame)
    height, width = out.shape[:2]
    x, y, w, h = (float(v) for v in region)
    left, top = (min(max(math.floor(v), 0), room) for v, room in ((x, width), (y, height)))
    right, bottom = (min(max(math.ceil(v), 0), room) for v, room in ((x + w, width), (y + h, height)))
    if right > left and bottom > top:
        part, (rows, columns) = out[top:bottom, left:right], policy.shape
        # From pixels to cells, whose centres have whole numbers.
        across = [columns / w, 0, (left + 0.5 - x) * columns / w - 0.5]
        down = [0, rows / h, (top + 0.5 - y) * rows / h - 0.5]
        flags, size = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, (right - left, bottom - top)
        strength = cv2.warpAffine(
            _strength(policy), np.array([across, down]), size, None, flags, cv2.BORDER_REPLICATE
        ).clip(0, 1)
        places = np.rint(255 * (_DARKEST + (1 - _DARKEST) * strength)).astype(np.uint8)
        colours = cv2.applyColorMap(places, _COLOUR_MAP)[..., ::-1].astype(np.float32)
        part[:] = np.rint(part + _STRONGEST * strength[..., None] * (colours - part))
    line = max(1, round(min(height, width) / 300))
    for colour, thickness, share in ((_BLACK, line + 2, 0.15), (TRUTH, line, 0.6)):  # seen on bright and on dark
        outlined = out.copy()
        _rectangle(outlined, region, colour, thickness)
        out = cv2.addWeighted(outlined, share, out, 1 - share, 0)
    return out


def _strength(policy: np.ndarray) -> np.ndarray:
    """Probabilities on a logarithmic scale: 0 at none, 1 at certainty."""
    scale = policy.size / _CONTRAST
    return (np.log1p(policy * scale) / math.log1p(scale)).astype(np.float32)


def _as_rgb(frame: np.ndarray) -> np.ndarray:
    """A copy with three channels."""
    return np.array(frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB), order="C")


def _target(image: np.ndarray, result: Result, colour: Colour, name: str, thickness: int) -> None:
    x, y, w, h = result.box
    line = min(thickness + 1, max(1, round(min(w, h) / 10)))  # a thick line would hide a small target
    _rectangle(image, result.box, _BLACK, line + 2)
    _rectangle(image, result.box, colour, line)
    _text(image, f"{name}{result.score:.2f}", x, y, colour, below=y + h)


def _rectangle(image: np.ndarray, box_xywh, colour: Colour, thickness: int) -> None:
    x, y, w, h = (float(v) for v in box_xywh)
    first, last = (tuple(round(v * 2**_SHIFT) for v in corner) for corner in ((x, y), (x + w, y + h)))
    cv2.rectangle(image, first, last, colour, thickness, cv2.LINE_AA, _SHIFT)


def _text(image: np.ndarray, text: str, x: float, y: float, colour: Colour, below: float) -> None:
    """Text on a dark background with its bottom at `y`, or under `below` if there is no room; always in the image."""
    height, width = image.shape[:2]
    scale = max(0.4, min(height, width) / 600)
    (w, h), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    w, h = w + 4, h + base + 2
    top = y - h - 2 if y - h - 2 >= 0 else below + 2
    top, left = (round(min(max(v, 0), room)) for v, room in ((top, max(height - h, 0)), (x, max(width - w, 0))))
    background = image[top : top + h, left : left + w]
    background[:] = background // 4
    cv2.putText(image, text, (left + 2, top + h - base), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
