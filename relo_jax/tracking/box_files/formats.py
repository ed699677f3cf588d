"""Reads and writes files of boxes in the format that their names tell."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from relo_jax.errors import UserError, did_you_mean
from relo_jax.files import atomic_write
from relo_jax.tracking.box_files import coco, csv_table, cvat, mot
from relo_jax.tracking.box_files.tracks import BoxTrack, FilmFacts

FORMATS = {"mot": mot, "coco-vid": coco, "cvat": cvat, "csv": csv_table}
SUFFIXES = {".txt": "mot", ".json": "coco-vid", ".xml": "cvat", ".csv": "csv"}


def format_of(path: str | Path, given: str | None = None) -> str:
    """The format of a file: the given one, or by its suffix. Raises UserError."""
    known = ", ".join(f"{suffix} ({name})" for suffix, name in SUFFIXES.items())
    if given is not None and given not in FORMATS:
        raise UserError(f"{path}: {given!r} is no format of boxes{did_you_mean(given, FORMATS)}")
    found = given or SUFFIXES.get(Path(path).suffix.lower())
    if found is None:
        raise UserError(f"{path}: its suffix tells no format of boxes: use {known}, or name the format")
    return found


def write_boxes(path: str | Path, tracks: Iterable[BoxTrack], film: FilmFacts, format: str | None = None) -> None:
    """Writes a file of boxes, whole or not at all.

    Args:
      path: an existing file is replaced.
      tracks: the targets.
      film: what formats say of the video.
      format: one of `FORMATS`; None: by the suffix.

    Raises:
      UserError: the format is unknown, or the file cannot be written.
    """
    module = FORMATS[format_of(path, format)]
    with atomic_write(path) as temporary:
        module.write(temporary, tracks, film)


def read_boxes(path: str | Path, format: str | None = None, video: str | None = None) -> list[BoxTrack]:
    """Reads the targets of a file of boxes: MOT, COCO-VID, CVAT for video, CSV, or one box a line.

    Args:
      path: the file.
      format: one of "mot", "coco-vid", "cvat", "csv"; None: by the suffix.
      video: which video of a COCO-VID file of several.

    Returns:
      the targets in the order of their ids; a box has frame (from 0), box (x, y, w, h), score, found.

    Raises:
      UserError: the file cannot be read, or has a mistake: file, line and value.
    """
    name = format_of(path, format)
    if name == "coco-vid":
        return coco.read(path, video)
    return FORMATS[name].read(path)
