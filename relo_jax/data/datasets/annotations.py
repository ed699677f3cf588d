"""Annotation files: boxes and flags as text, with every separator that datasets use."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from relo_jax.errors import UserError
from relo_jax.files import readable

_SEPARATORS = re.compile(r"[,;\s]+")
# Four numbers with a comma in each. Eight numbers have the same separator everywhere.
_DECIMAL_COMMAS = re.compile(r"\s*(-?\d+,\d+)(?:(?:;\s*|\s+)(-?\d+,\d+)){3}[;\s]*", re.ASCII)
_BLANKS = str.maketrans(",;\t", "   ")


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
      UserError: the file cannot be read as text.
    """
    try:
        with open(readable(path), encoding="utf-8-sig") as file:
            return file.read()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file: extract it again") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from None


def read_boxes(path: Path, *, one_based: bool = False) -> np.ndarray:
    """float64 [F, 4] x, y, w, h, 0-based; a row with a NaN becomes all NaN.

    A line is x,y,w,h or the four corners of a polygon, which becomes its bounding box.

    Args:
      one_based: the file counts pixels from 1, so 1 is subtracted from x and y.

    Raises:
      UserError: the file cannot be read or is empty; a line (named by its number) has neither 4 nor 8 numbers, an
        infinite one, or decimal commas; all boxes are fractions of a frame.
    """
    text = read_text(path).rstrip()
    if not text:
        raise UserError(f"{path}: holds no boxes: extract it again")
    boxes = _parse_plain(text)
    if boxes is None:
        boxes = _parse_lines(path, text)
    known = boxes[~np.isnan(boxes).any(1)]
    if known.any() and np.abs(known).max() <= 1:
        raise UserError(f"{path}: its boxes are fractions of the frame: multiply them by its width and height")
    infinite = np.flatnonzero(np.isinf(boxes).any(1))
    if len(infinite):
        raise UserError(f"{path}, line {infinite[0] + 1}: an infinite number: correct it, or write NaN for no box")
    boxes[np.isnan(boxes).any(1)] = np.nan
    return boxes - np.array([one_based, one_based, 0, 0])


def may_be_corners(boxes_xywh: np.ndarray) -> bool:
    """Whether the boxes, float [F, 4], look like x1,y1,x2,y2: the "size" moves with the position in every frame."""
    boxes = boxes_xywh[~np.isnan(boxes_xywh).any(1)]
    if len(boxes) < 5 or not (boxes[:, 2:] > boxes[:, :2]).all():
        return False
    position, size = boxes[:, :2], boxes[:, 2:]
    moves = position.std(0) > 1
    return bool(moves.any() and ((size - position).std(0) < size.std(0) / 2)[moves].all())


def read_flags(path: Path) -> np.ndarray:
    """int64 [F], one number per frame, with any separators.

    Raises:
      UserError: the file cannot be read or holds something other than whole numbers.
    """
    words = [word for word in _SEPARATORS.split(read_text(path).strip(",; \t\r\n")) if word]
    flags = np.empty(len(words), np.int64)
    for index, word in enumerate(words):
        try:
            flags[index] = value = number(word)
            fits = flags[index] == value
        except (ValueError, OverflowError):
            fits = False
        if not fits:
            raise UserError(f"{path}, number {index + 1}: {word[:40]!r}: expected one whole number per frame")
    return flags


def number(word: str) -> float:
    """`float(word)`, but of ASCII digits alone. Raises ValueError."""
    if "_" in word or not word.isascii():
        raise ValueError(word)
    return float(word)


def _parse_plain(text: str) -> np.ndarray | None:
    """The boxes of a regular file with four numbers per line, ten times as fast; None for any other file."""
    if "_" in text or not text.isascii():  # Python's numbers may have underscores and the digits of any script
        return None
    rows = [line.split() for line in text.translate(_BLANKS).splitlines()]
    if any(len(row) != 4 for row in rows):
        return None
    try:
        return np.array(rows, np.float64)
    except ValueError:
        return None


def _parse_lines(path: Path, text: str) -> np.ndarray:
    lines = text.splitlines()
    boxes = np.empty((len(lines), 4))
    for index, line in enumerate(lines):
        if _DECIMAL_COMMAS.fullmatch(line):
            raise UserError(f"{path}, line {index + 1}: {line.strip()[:60]!r} has decimal commas: write points instead")
        try:
            values = [number(v) for v in _SEPARATORS.split(line.strip().strip(",;"))]
        except ValueError:
            values = []
        if len(values) == 8:
            corners = np.array(values).reshape(4, 2)
            low, high = corners.min(0), corners.max(0)
            boxes[index] = (*low, *(high - low))
        elif len(values) == 4:
            boxes[index] = values
        else:
            raise UserError(
                f"{path}, line {index + 1}: {line.strip()[:60]!r} is neither x,y,w,h nor the 8 numbers of 4 corners"
            )
    return boxes
