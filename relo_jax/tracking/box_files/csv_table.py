"""A table with a row for each box: `frame,time,id,label,x,y,w,h,score,found`. Frames count from 0, times are seconds.

To read one, the columns frame, x, y, w and h are enough, in any order and beside others.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from relo_jax.tracking.box_files.tracks import LABEL, BoxTrack, FilmFacts, Reader, TrackBox, read_text

COLUMNS = ("frame", "time", "id", "label", "x", "y", "w", "h", "score", "found")
_NEEDED = ("frame", "x", "y", "w", "h")
FORM = f"a table whose first line names its columns: {','.join(COLUMNS)}"


def write(path: str | Path, tracks: Iterable[BoxTrack], film: FilmFacts) -> None:
    """Writes all boxes, also those of targets that were not found."""
    rows = sorted((box.frame, track.id, track.label, box) for track in tracks for box in track.boxes)
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for frame, id, label, box in rows:
            time = "" if box.time is None else f"{box.time:.6f}"
            numbers = [f"{value:.4f}" for value in box.box]
            table.writerow([frame, time, id, label, *numbers, f"{box.score:.4f}", int(box.found)])


def read(path: str | Path) -> list[BoxTrack]:
    """The targets of a file. Raises UserError."""
    reader = Reader(path, FORM)
    table = csv.DictReader(io.StringIO(read_text(path), newline=""), skipinitialspace=True)
    try:
        columns = [name.strip().lower() for name in table.fieldnames or ()]
        if missing := [name for name in _NEEDED if name not in columns]:
            raise reader.error("line 1", f"has no column {', '.join(missing)}")
        table.fieldnames = columns
        for row in table:
            _add(reader, f"line {table.line_num}", row)
    except csv.Error as error:
        raise reader.error(f"line {table.line_num}", str(error)) from None
    return reader.tracks()


def _add(reader: Reader, place: str, row: dict[str, str | None]) -> None:
    if None in row or any(row[name] is None for name in _NEEDED):
        raise reader.error(place, "has another number of values than the first line")
    given = lambda name, default: value if (value := (row.get(name) or "").strip()) else default
    box = TrackBox(
        reader.whole(place, "frame", row["frame"]),
        reader.box(place, [row[name] for name in "xywh"]),
        reader.number(place, "score", given("score", 1.0)),
        reader.flag(place, "found", given("found", 1)),
        time=reader.number(place, "time", row["time"]) if given("time", "") else None,
    )
    reader.add(place, reader.whole(place, "id", given("id", 1)), box, given("label", LABEL))
