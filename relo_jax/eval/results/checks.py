"""Checks of the numbers in a result file: each refuses it in one line, with the value and the remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from relo_jax.data.datasets.annotations import read_text
from relo_jax.errors import UserError
from relo_jax.geometry import boxes

BLANKS = str.maketrans(",;\t", "   ")
_LARGEST = 1e9  # pixels; larger coordinates make no sense, and areas would lose precision
SAME = 1.01  # pixels by which rounding, truncation or counting from 1 may change the first box
_OTHER = 0.3  # IoU of the first box with the truth, below which the file belongs to something else


def numbers(path: Path, columns: int | None, form: str) -> np.ndarray:
    """The numbers in a file, float64 [lines, columns]; `columns` None takes any number, the same in all lines."""
    lines = read_text(path).rstrip().translate(BLANKS).split("\n")
    rows = [line.split() for line in lines]
    if rows == [[]]:
        raise UserError(f"{path}: is empty: run the tracker on this sequence again")
    columns = columns or max(1, len(rows[0]))
    for number, row in enumerate(rows, start=1):
        if len(row) != columns:
            count = f"{len(row)} numbers" if row else "nothing"
            raise UserError(f"{path}, line {number}: has {count}, {' '.join(row)[:60]!r}: expected {form}")
    try:
        if any("_" in word for row in rows for word in row):  # Python reads 1_000
            raise ValueError
        return np.array(rows, np.float64)
    except ValueError:
        number, word = next((n, w) for n, row in enumerate(rows, start=1) for w in row if not _is_number(w))
        raise UserError(f"{path}, line {number}: {word[:40]!r} is not a number: expected {form}") from None


def check_finite(path: Path, table: np.ndarray) -> None:
    """Refuses boxes with a number that is not finite or too large."""
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero(~(np.abs(table) <= _LARGEST).all(1))
    if len(bad):
        k = int(bad[0])
        raise UserError(
            f"{path}, line {k + 1}: {_text(table[k])} is not a box{_and_others(len(bad) - 1)}: "
            "a result has a box in every frame; where the target is lost, repeat the last one"
        )


def check_count(path: Path, count: int, frames: int, what: str) -> None:
    """Refuses a file whose number of lines differs from the number of frames."""
    if count == frames:
        return
    if count > frames:
        remedy = f"{count - frames} too many: is it for another version of the sequence, or appended to an older file?"
    elif count == frames - 1:
        remedy = "1 too few: write a line for the first frame too, with the given box"
    else:
        remedy = f"{frames - count} too few: run the tracker to the sequence's end"
    raise UserError(f"{path}: has {count} {what} for {frames} frames, {remedy}")


def check_sizes(path: Path, table: np.ndarray) -> None:
    """Refuses boxes of negative size."""
    negative = np.flatnonzero((table[:, 2:] < 0).any(1))
    if len(negative):
        k = int(negative[0])
        raise UserError(
            f"{path}, line {k + 1}: {_text(table[k])} has a negative size"
            f"{_and_others(len(negative) - 1)}: a box is x,y,w,h"
        )


def check_format(path: Path, box: np.ndarray, truth: np.ndarray) -> None:
    """Refuses a first box that cannot be the true one in x,y,w,h."""
    if not np.isfinite(truth).all() or not (truth[2:] > 0).all():
        return
    as_corners = np.concatenate([truth[:2], truth[:2] + truth[2:]])
    if np.abs(box - as_corners).max() <= SAME < np.abs(box - truth).max():
        raise UserError(f"{path}: its boxes are x1,y1,x2,y2 ({_text(box)} for the true {_text(truth)}): write x,y,w,h")
    if (box[2:] >= 0).all() and boxes.iou_xywh(box, truth) < _OTHER:
        fraction = (np.abs(box) <= 1).all()
        remedy = "write pixels, not fractions of the frame" if fraction else "does it belong to another sequence?"
        raise UserError(f"{path}: its first box is {_text(box)}, the true one {_text(truth)}: {remedy}")


def check_range(path: Path, values: np.ndarray, most: float, form: str) -> None:
    """Refuses values that are not finite, below 0 or above `most`; `form` describes valid ones."""
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0) & (values <= most)))
    if len(bad):
        k = int(bad[0])
        raise UserError(f"{path}, line {k + 1}: {values[k]:g} is not {form}{_and_others(len(bad) - 1)}")


def _is_number(word: str) -> bool:
    try:
        return bool(np.array([word], np.float64).size) and "_" not in word
    except ValueError:
        return False


def _text(box: np.ndarray) -> str:
    return ",".join(f"{v:g}" for v in box)


def _and_others(count: int) -> str:
    return f" (and {count} more)" if count else ""
