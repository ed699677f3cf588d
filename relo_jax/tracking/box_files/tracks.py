"""What a file of boxes holds, whatever its format: the boxes of several targets by frames, and the video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from relo_jax.errors import UserError
from relo_jax.files import readable

LABEL = "target"  # of a target that nobody named
LARGEST = 1e9  # pixels, frames, ids; larger numbers are mistakes

BoxXYWH = tuple[float, float, float, float]


class TrackBox(NamedTuple):
    """A target in one frame.

    frame: from 0. box: x, y, w, h in pixels. score: in [0, 1]. found: whether the target is there. key: whether
    somebody gave the box, rather than a program that fills frames between. time: seconds since the first frame.
    """

    frame: int
    box: BoxXYWH
    score: float = 1.0
    found: bool = True
    key: bool = True
    time: float | None = None


@dataclass
class BoxTrack:
    """The boxes of one target, in the order of the frames.

    Attributes:
      id: of the target in the file; positive in the files that `relo track` writes.
      label: its category.
      boxes: at most one a frame.
    """

    id: int
    label: str = LABEL
    boxes: list[TrackBox] = field(default_factory=list)


@dataclass
class FilmFacts:
    """What formats say of the video.

    Attributes:
      name: of the file or folder, without what is before it.
      width, height: of the first frame, in pixels.
      count: number of frames; None if nobody knows.
      rate: frames a second.
      files: the file of every frame, of a folder.
    """

    name: str
    width: int
    height: int
    count: int | None
    rate: float
    files: Sequence[str] = ()


class Reader:
    """Checks what a file says. Its errors are one line with file, place and value.

    Args:
      path: of the file.
      form: what is expected, for messages.
    """

    def __init__(self, path: str | Path, form: str):
        self._path, self._form = path, form
        self._tracks: dict[int, BoxTrack] = {}
        self._frames: set[tuple[int, int]] = set()

    def error(self, place: str, what: str) -> UserError:
        """The UserError for a mistake at a place, such as "line 3"."""
        return UserError(f"{self._path}, {place}: {what}: expected {self._form}")

    def number(self, place: str, name: str, text: object) -> float:
        """A finite number. Raises UserError."""
        try:
            if isinstance(text, bool) or "_" in str(text):  # Python reads 1_000
                raise ValueError
            value = float(text)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise self.error(place, f"{name} is {str(text)[:40]!r}, which is not a number") from None
        if not abs(value) <= LARGEST:
            raise self.error(place, f"{name} is {str(text)[:40]}, which is not finite or too large")
        return value

    def whole(self, place: str, name: str, text: object, least: int = 0) -> int:
        """A whole number, not below `least`. Raises UserError."""
        value = self.number(place, name, text)
        if value != int(value) or value < least:
            raise self.error(place, f"{name} is {str(text)[:40]}, which is not a whole number from {least}")
        return int(value)

    def flag(self, place: str, name: str, text: object) -> bool:
        """0, 1, false or true. Raises UserError."""
        value = {"0": False, "false": False, "1": True, "true": True}.get(str(text).strip().lower())
        if value is None:
            raise self.error(place, f"{name} is {str(text)[:40]!r}, which is neither 0 nor 1")
        return value

    def box(self, place: str, numbers: Sequence[object], names: str = "xywh") -> BoxXYWH:
        """x, y, w, h; a size may not be negative. Raises UserError."""
        x, y, w, h = (self.number(place, name, text) for name, text in zip(names, numbers, strict=True))
        if w < 0 or h < 0:
            raise self.error(place, f"the box {x:g},{y:g},{w:g},{h:g} has a negative size")
        return x, y, w, h

    def add(self, place: str, id: int, box: TrackBox, label: str = LABEL) -> None:
        """Notes a target's box. Raises UserError if the target has one in that frame already."""
        if (id, box.frame) in self._frames:
            raise self.error(place, f"a second box of target {id} in frame {box.frame} (from 0)")
        self._frames.add((id, box.frame))
        self._tracks.setdefault(id, BoxTrack(id, label)).boxes.append(box)

    def tracks(self) -> list[BoxTrack]:
        """All targets by their ids. Raises UserError if there is none."""
        if not self._tracks:
            raise UserError(f"{self._path} has no boxes of targets: expected {self._form}")
        for track in self._tracks.values():
            track.boxes.sort()
        return [self._tracks[id] for id in sorted(self._tracks)]


def read_text(path: str | Path) -> str:
    """The text of a file, UTF-8. Raises UserError."""
    try:
        with open(readable(path), "rb") as file:
            return file.read().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give a file of boxes") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file: byte {error.start} is not UTF-8") from None


def is_box(box: Sequence[float]) -> bool:
    """Whether a tracker's box is one: it is not finite before a target's first frame."""
    return all(map(math.isfinite, box))
