"""Result files in MOT's form (`frame,id,x,y,w,h,conf,...`, frames from 1), as multi-object trackers write them.

A sequence has one target, so that a file has one id. A tracker that lost it leaves frames out: there the last box
stays, and a note says in how many.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from relo_jax.errors import UserError
from relo_jax.eval.results import checks
from relo_jax.tracking.box_files import mot

_FEWEST = 6  # numbers in a line of MOT; a box alone has four


def is_mot(path: Path) -> bool:
    """Whether the first line of a file has as many numbers as MOT's. A file that cannot be read is none."""
    if path.is_fifo():
        return False  # it could not be read a second time
    try:
        with path.open(encoding="utf-8-sig") as file:
            return len(file.readline().translate(checks.BLANKS).split()) >= _FEWEST
    except (OSError, UnicodeDecodeError):
        return False


def read(path: Path, frames: int) -> tuple[np.ndarray, list[str]]:
    """The boxes of a sequence, float64 [F, 4], and notes.

    Raises:
      UserError: see `mot.read`; several targets; more frames than the sequence has, or none for the first.
    """
    tracks = mot.read(path)
    if len(tracks) > 1:
        ids = ", ".join(str(track.id) for track in tracks[:4]) + (" ..." if tracks[4:] else "")
        raise UserError(
            f"{path}: has {len(tracks)} targets (ids {ids}), a sequence has one: keep the lines of that one"
        )
    boxes = tracks[0].boxes
    if boxes[-1].frame >= frames:
        checks.check_count(path, boxes[-1].frame + 1, frames, "boxes")
    if boxes[0].frame:
        raise UserError(f"{path}: its first box is of frame {boxes[0].frame + 1}: frame 1 needs the given box")
    numbers = np.array([box.frame for box in boxes])
    last = np.searchsorted(numbers, np.arange(frames), side="right") - 1
    absent = frames - len(boxes)
    notes = [f"{absent} of {frames} frames have no box: the one before stays"] if absent else []
    return np.array([box.box for box in boxes], np.float64)[last], notes
