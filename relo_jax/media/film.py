"""A stored video whose frames can be read from any of them on, forwards or backwards.

    with open_film("in.mp4") as film:
        first = film.number_of("00:00:04.5")
        for frame in film.frames(first): ...
        for frame in film.frames(first, 0): ...                  # from there to the beginning, last frame first

A video file is searched once for the times of its frames, without decoding them. Reading from a frame on begins at the
key frame before it. Backwards, a stretch from a key frame on is decoded and handed out in reverse; a stretch that would
fill the memory is decoded several times, each time for the part of it that fits. Frames of a folder are read by name.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from relo_jax.errors import UserError
from relo_jax.media import streams, video
from relo_jax.media.decode import Lost, decode_pictures, open_container, picture_stream, read_container, use_threads
from relo_jax.media.frame_index import scan
from relo_jax.media.frames import Frames, Unreadable
from relo_jax.media.images import list_images
from relo_jax.media.upright import frame_of

MAX_HELD = 256 * 2**20  # bytes of frames that are held to be handed out backwards
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:\.\d*)?)|(\d+(?:\.\d*)?|\.\d+)s")
_STREAM = "a camera or a stream, in which one cannot go to a frame: track it from now on, or record it first"
_LONGEST = 40  # characters of a position

Position = int | float | str


def parse_position(position: Position, name: str = "start") -> int | float:
    """A frame's number (int) or seconds since the first frame (float).

    Args:
      position: 120 or "120", a frame from 0; 4.5, "4.5s", "0:04.5" or "00:00:04.5", a time.
      name: of the option, for the message.

    Raises:
      UserError: it is neither.
    """
    if isinstance(position, (int, float, np.integer)) and not isinstance(position, bool) and 0 <= position < 2**53:
        return float(position) if isinstance(position, float) else int(position)
    text = position.strip() if isinstance(position, str) and len(position) <= _LONGEST else ""
    if text.isascii() and text.isdigit():
        return int(text)
    found = _CLOCK.fullmatch(text)
    if found is None:
        forms = "the number of a frame from 0, or a time: 4.5s, 0:04.5, 00:00:04.5"
        raise UserError(f"{name} is {repr(position)[:_LONGEST]}: give {forms}")
    hours, minutes, seconds, alone = found.groups()
    return float(alone) if alone else 3600.0 * int(hours or 0) + 60.0 * int(minutes) + float(seconds)


@dataclass
class Film:
    """A stored video.

    Attributes:
      name: how messages call it.
      count: number of frames; None if it is not known before they are read.
      rate: frames a second.
      times, tick, names, has_sound: see `Frames`.
    """

    name: str
    count: int | None
    rate: Fraction
    times: array
    tick: Fraction | None = None
    names: Sequence[str] = ()
    has_sound: bool = False

    def number_of(self, position: Position, name: str = "start") -> int:
        """The frame at a position, see `parse_position`: at a time, the one that is shown then.

        Raises:
          UserError: it is no position, or not in the film; the film has no frames.
        """
        at = parse_position(position, name)
        if self.count == 0:
            raise UserError(f"{self.name} has no frames")
        if isinstance(at, int):
            if self.count is not None and at >= self.count:
                raise UserError(f"{name} is frame {at}: {self.name} has frames 0 to {self.count - 1}")
            return at
        number = bisect.bisect_right(self.times, at + 1e-9) - 1 if len(self.times) else int(at * self.rate + 1e-9)
        end = None if self.count is None else self.time_of(self.count - 1) + float(1 / self.rate)
        if end is not None and at >= end:
            raise UserError(f"{name} is {at:g} s: {self.name} ends at {end:.3f} s")
        return number

    def time_of(self, number: int) -> float:
        """When a frame is shown, in seconds since the first."""
        return self.times[number] if number < len(self.times) else float(number / self.rate)

    def frames(self, first: int = 0, last: int | None = None) -> Frames:
        """The frames from `first` to `last`, both included; backwards if `last` comes before. None: to the end.

        Raises:
          UserError: backwards in a file without times; while they are read, see `video.open_frames`.
        """
        last = self.count - 1 if last is None and self.count is not None else last
        backwards = last is not None and last < first
        count = None if last is None else abs(last - first) + 1
        frames = Frames(
            self.name, count, self.rate, iter(()), stored=True, number=first, times=self.times, tick=self.tick,
            names=self.names, has_sound=self.has_sound,
        )  # fmt: skip
        frames.frames = self._backwards(first, last or 0, frames) if backwards else self._forwards(first, last, frames)
        return frames

    def _forwards(self, first: int, last: int | None, frames: Frames) -> Iterator[np.ndarray | Unreadable]:
        """From `first` to `last`, None: to the end; counts what is damaged in `frames`."""
        raise NotImplementedError

    def _backwards(self, first: int, last: int, frames: Frames) -> Iterator[np.ndarray | Unreadable]:
        """From `first` down to `last`."""
        raise NotImplementedError


@contextlib.contextmanager
def open_film(source: video.Source) -> Iterator[Film]:
    """Opens a stored video, and closes it at the end of the block.

    Args:
      source: a video file, a folder of frames, or frames: a sequence, or an iterable that is only read forwards.

    Raises:
      UserError: the source is a camera or a stream; see `video.open_frames`.
    """
    name = str(source) if isinstance(source, (str, Path)) else ""
    if streams.is_address(name):
        raise UserError(f"{streams.without_password(name)} is {_STREAM}")
    if isinstance(source, (int, np.integer)) or (name.isdigit() and not Path(name).exists()):
        raise UserError(f"camera {source} is {_STREAM}")
    with video.open_frames(source) as frames:  # also for its messages
        if not isinstance(source, (str, Path)):
            yield _Given(frames.name, frames.count, frames.rate, array("d"), items=source)
        elif Path(source).is_dir():
            images = list_images(Path(source))
            names = [image.name for image in images]
            yield _Folder(frames.name, len(images), frames.rate, array("d"), names=names, images=images)
        else:
            index = scan(Path(source), str(source))
            if index is None:
                sound = frames.has_sound
                yield _Untimed(frames.name, None, frames.rate, array("d"), has_sound=sound, path=Path(source))
            else:
                times = array("d", (float((pts - index.pts[0]) * index.tick) for pts in index.pts))
                film = _File(
                    frames.name, len(index.pts), frames.rate, times, index.tick, (), frames.has_sound,
                    path=Path(source), index=index,
                )  # fmt: skip
                try:
                    yield film
                finally:
                    film.container.close()


@dataclass
class _Given(Film):
    """Frames that somebody has in memory, or makes."""

    items: Any = ()

    def _forwards(self, first: int, last: int | None, frames: Frames) -> Iterator[np.ndarray | Unreadable]:
        return itertools.islice(iter(self.items), first, None if last is None else last + 1)

    def _backwards(self, first: int, last: int, frames: Frames) -> Iterator[np.ndarray | Unreadable]:
        if not hasattr(self.items, "__getitem__"):
            raise UserError("the frames are an iterable, which is only read forwards: give a list, a file or a folder")
        return (self.items[number] for number in range(first, last - 1, -1))


@dataclass
class _Folder(Film):
    """A folder of frames."""

    images: Sequence[Path] = ()

    def _forwards(self, first: int, last: int | None, frames: Frames) -> Iterator[np.ndarray | Unreadable]:
        return video.read_images(self.images[first : None if last is None else last + 1])

    def _backwards(self, first: int, last: int, frames: Frames) -> Iterator[np.ndarray | Unreadable]:
        return video.read_images(self.images[last : first + 1][::-1])


def _open(path: Path, name: str) -> Any:
    container = open_container(path, name)
    use_threads(picture_stream(container))
    return container


@dataclass
class _Untimed(Film):
    """A file whose frames have no reliable times, such as AVI: read from its beginning on."""

    path: Path = Path()

    def _forwards(self, first: int, last: int | None, frames: Frames) -> Iterator[np.ndarray | Unreadable]:
        with _open(self.path, self.name) as container:
            whole = read_container(container, self.name)
            yield from itertools.islice(whole, first, None if last is None else last + 1)
            frames.damaged += whole.damaged

    def _backwards(self, first: int, last: int, frames: Frames) -> Iterator[np.ndarray | Unreadable]:
        raise UserError(
            f"{self.name} cannot be read backwards, its frames have no reliable times: convert it, "
            "such as with ffmpeg -i IN OUT.mp4"
        )


@dataclass
class _File(Film):
    """A file with an index."""

    path: Path = Path()
    index: Any = None
    container: Any = None

    def __post_init__(self):
        self.container = _open(self.path, self.name)

    def _forwards(self, first: int, last: int | None, frames: Frames) -> Iterator[np.ndarray | Unreadable]:
        """Begins at the key frame before `first`; frames that the decoder leaves out are Unreadable."""
        pts, number = self.index.pts, first
        last = len(pts) - 1 if last is None else last
        with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
            for picture in self._pictures(first):
                if isinstance(picture, Lost) or picture.pts is None:
                    continue
                found = bisect.bisect_left(pts, picture.pts)
                if found < number or found == len(pts) or pts[found] != picture.pts:
                    continue
                yield from (self._unreadable(lost) for lost in range(number, min(found, last + 1)))
                if found > last:
                    return
                frames.damaged += picture.is_corrupt
                yield frame_of(picture, frames.name, found)
                number = found + 1
                if number > last:
                    return
        yield from (self._unreadable(lost) for lost in range(number, last + 1))

    def _backwards(self, first: int, last: int, frames: Frames) -> Iterator[np.ndarray | Unreadable]:
        stream = picture_stream(self.container)
        held = max(1, MAX_HELD // max(1, 3 * stream.width * stream.height))
        end = first + 1
        while end > last:
            key = self.index.keys[max(0, bisect.bisect_right(self.index.keys, end - 1) - 1)]
            begin = max(key, end - held, last)
            items = list(self._forwards(begin, end - 1, frames))
            while items:
                yield items.pop()
            end = begin

    def _pictures(self, number: int) -> Iterable[av.VideoFrame | Lost]:
        """Decoded pictures from a key frame on that lies before a frame, or is it."""
        pts, keys = self.index.pts, self.index.keys
        place, back = bisect.bisect_right(keys, number) - 1, 1
        while place >= 0:  # some formats find a place only roughly
            self.container.seek(pts[keys[place]], stream=picture_stream(self.container), backward=True)
            pictures = iter(decode_pictures(self.container))
            first = next((picture for picture in pictures if picture.pts is not None), None)
            if first is not None and first.pts <= pts[number]:
                return itertools.chain([first], pictures)
            place, back = place - back, 2 * back
        self.container.close()
        self.container = _open(self.path, self.name)
        return decode_pictures(self.container)

    def _unreadable(self, number: int) -> Unreadable:
        return Unreadable(f"{self.name}: frame {number} does not decode")
