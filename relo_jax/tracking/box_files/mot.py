"""MOT Challenge's text: a line `frame,id,x,y,w,h,conf,-1,-1,-1` for each box, frame by frame, frames from 1.

The confidence is the score. x and y are those of the other formats, from 0; the benchmark's own files count from 1.
Ground truth of MOT (`frame,id,x,y,w,h,active,class,visibility`) is read too: inactive boxes are not found.

A file of four numbers a line is `relo track --txt`, a result of a tracker, or the ground truth of a sequence: one
target, a line for each frame. A line `nan,nan,nan,nan` is a frame without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from relo_jax.tracking.box_files.tracks import BoxTrack, FilmFacts, Reader, TrackBox, read_text

FORM = "frame,id,x,y,w,h,conf,... with frames from 1, or x,y,w,h in every line"
_BLANKS = str.maketrans(",;\t", "   ")


def write(path: str | Path, tracks: Iterable[BoxTrack], film: FilmFacts) -> None:
    """Writes all boxes, also those of targets that were not found, with their scores."""
    lines = [(box.frame, track.id, box) for track in tracks for box in track.boxes]
    with open(path, "w") as file:
        for frame, id, box in sorted(lines, key=lambda line: line[:2]):
            numbers = ",".join(f"{value:.4f}" for value in box.box)
            file.write(f"{frame + 1},{id},{numbers},{box.score:.4f},-1,-1,-1\n")


def read(path: str | Path) -> list[BoxTrack]:
    """The targets of a file. Raises UserError."""
    reader = Reader(path, FORM)
    rows = [line.translate(_BLANKS).split() for line in read_text(path).splitlines()]
    while rows and not rows[-1]:
        rows.pop()
    columns = len(rows[0]) if rows else 0
    for number, row in enumerate(rows, start=1):
        place = f"line {number}"
        if len(row) != columns or not (columns == 4 or 6 <= columns <= 10):
            raise reader.error(place, f"has {len(row)} numbers, {' '.join(row)[:60]!r}")
        if columns == 4:
            if not all(_is_nan(text) for text in row):
                reader.add(place, 1, TrackBox(number - 1, reader.box(place, row)))
            continue
        id = reader.whole(place, "the id", row[1], least=-1)
        if id == -1:
            raise reader.error(place, "the id is -1, a detection without a target")
        confidence = reader.number(place, "the confidence", row[6]) if columns > 6 else 1.0
        frame, box = reader.whole(place, "the frame", row[0], least=1) - 1, reader.box(place, row[2:6])
        reader.add(place, id, TrackBox(frame, box, confidence, confidence != 0))
    return reader.tracks()


def _is_nan(text: str) -> bool:
    try:
        return math.isnan(float(text))
    except ValueError:
        return False
