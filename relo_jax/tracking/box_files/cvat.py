"""CVAT's XML, "CVAT for video 1.1": a track for each target, with boxes by their corners; frames count from 0.

Written: a box for each frame, all of them key frames, so that CVAT does not interpolate. Where the target is not found
its box is `outside`; only the first of several such frames is a key frame. After the last frame, an outside box ends
the track, unless the video ends there.

Read: boxes of tracks, also those that CVAT interpolated (`keyframe="0"`), which are not the annotator's. Other shapes
are ignored. Entities and DOCTYPE are refused, so that a file cannot grow while it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from relo_jax.errors import UserError
from relo_jax.tracking.box_files.tracks import LABEL, BoxTrack, FilmFacts, Reader, TrackBox, read_text

FORM = '"CVAT for video 1.1": <annotations> with <track id label> and <box frame outside keyframe xtl ytl xbr ybr>'


def write(path: str | Path, tracks: Iterable[BoxTrack], film: FilmFacts) -> None:
    """Writes all targets. Those that are not found are outside."""
    tracks = list(tracks)
    with open(path, "w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
        file.writelines(_meta(tracks, film))
        for track in tracks:
            label = quoteattr(track.label)
            file.write(f'  <track id="{track.id}" label={label} source="auto">\n')
            file.writelines(_boxes(track, film))
            file.write("  </track>\n")
        file.write("</annotations>\n")


def _meta(tracks: list[BoxTrack], film: FilmFacts) -> Iterator[str]:
    last = max((box.frame for track in tracks for box in track.boxes), default=0)
    count = film.count or last + 1
    yield f"  <meta>\n    <task>\n      <name>{escape(film.name)}</name>\n      <size>{count}</size>\n"
    yield "      <mode>interpolation</mode>\n      <start_frame>0</start_frame>\n"
    yield f"      <stop_frame>{count - 1}</stop_frame>\n      <labels>\n"
    for label in sorted({track.label for track in tracks}):
        yield f"        <label><name>{escape(label)}</name><attributes></attributes></label>\n"
    yield f"      </labels>\n      <original_size><width>{film.width}</width><height>{film.height}</height>"
    yield f"</original_size>\n    </task>\n    <source>{escape(film.name)}</source>\n  </meta>\n"


def _boxes(track: BoxTrack, film: FilmFacts) -> Iterator[str]:
    was_found = True
    for box in track.boxes:
        yield _box(box.frame, box, not box.found, box.found or was_found)
        was_found = box.found
    last = track.boxes[-1] if track.boxes else None
    if last is not None and last.found and (film.count is None or last.frame + 1 < film.count):
        yield _box(last.frame + 1, last, True, True)


def _box(frame: int, box: TrackBox, outside: bool, key: bool) -> str:
    x, y, w, h = box.box
    return (
        f'    <box frame="{frame}" outside="{int(outside)}" occluded="0" keyframe="{int(key)}" xtl="{x:.4f}" '
        f'ytl="{y:.4f}" xbr="{x + w:.4f}" ybr="{y + h:.4f}" z_order="0"/>\n'
    )


def read(path: str | Path) -> list[BoxTrack]:
    """The targets of a file. Raises UserError."""
    text = read_text(path)
    reading = _Reading(path)
    parser = expat.ParserCreate("utf-8")  # which the text is, whatever its first line says
    reading.line = lambda: parser.CurrentLineNumber
    parser.StartElementHandler, parser.EndElementHandler = reading.start, reading.end
    parser.StartDoctypeDeclHandler = reading.refuse
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise UserError(
            f"{path}, line {error.lineno}: is not XML ({expat.ErrorString(error.code)}): expected {FORM}"
        ) from None
    return reading.reader.tracks()


class _Reading:
    """What expat calls while it reads."""

    def __init__(self, path: str | Path):
        self.reader, self._path = Reader(path, FORM), path
        self.line = lambda: 0
        self._depth, self._label = 0, LABEL
        self._track: int | None = None  # its id, within a track

    def refuse(self, *_: object) -> None:
        raise self._error("has a DOCTYPE")

    def start(self, tag: str, values: dict[str, str]) -> None:
        if self._depth == 0 and tag != "annotations":
            raise self._error(f"begins with <{tag[:40]}>")
        self._depth += 1
        if tag == "image":
            raise UserError(f'{self._path} is "CVAT for images", without tracks: export it as "CVAT for video 1.1"')
        if tag == "track":
            self._track = self.reader.whole(self._place, "the id", self._value(values, "id"))
            self._label = values.get("label", LABEL)
        elif tag == "box" and self._track is not None:
            self._add(self._track, values)

    def end(self, tag: str) -> None:
        self._depth -= 1
        if tag == "track":
            self._track = None

    def _add(self, track: int, values: dict[str, str]) -> None:
        place, reader = self._place, self.reader
        names = ("xtl", "ytl", "xbr", "ybr")
        left, top, right, bottom = (reader.number(place, name, self._value(values, name)) for name in names)
        if right < left or bottom < top:
            raise self._error(f"the corners {left:g},{top:g} and {right:g},{bottom:g} are in the wrong order")
        outside = reader.flag(place, "outside", values.get("outside", "0"))
        key = reader.flag(place, "keyframe", values.get("keyframe", "1"))
        frame = reader.whole(place, "frame", self._value(values, "frame"))
        box = TrackBox(frame, (left, top, right - left, bottom - top), float(not outside), not outside, key)
        reader.add(place, track, box, self._label)

    def _value(self, values: dict[str, str], name: str) -> str:
        if name not in values:
            raise self._error(f"has no {name}")
        return values[name]

    @property
    def _place(self) -> str:
        return f"line {self.line()}"

    def _error(self, what: str) -> UserError:
        return self.reader.error(self._place, what)
