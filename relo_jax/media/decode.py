"""Decodes what FFmpeg can read. Every frame keeps its index, even after frames that cannot be read.

Decoding continues after a damaged part of a file. Presentation times tell which frames the damage cost: if the decoder
passes the time of a packet without returning its picture, that frame is lost, and an Unreadable takes its place. AVI
has no reliable times; there, every packet that fails counts as one lost frame.
"""

import contextlib
import math
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from relo_jax.errors import UserError
from relo_jax.files import readable
from relo_jax.media.frames import DEFAULT_RATE, Frames, Unreadable, warn
from relo_jax.media.upright import ffmpeg_message, frame_of

# These codecs have packets that are not meant to be shown. They count as lost only after another packet has failed.
_HAVE_HIDDEN_PACKETS = {"vp8", "mpeg4", "msmpeg4v3"}
_LIMITS = {"max_pixels": str(2**27)}  # 16 k x 8 k: the size in a broken header could fill the memory
_AHEAD = 64 * 2**20  # bytes of pictures that are decoded before they are asked for
_MOST_THREADS = 16  # that FFmpeg starts by itself
_SOUND_OVERHANG = 1.0  # seconds that the sound may last beyond the last picture
_NO_PICTURE = "its packet gives no picture"
_MAX_READ_ERRORS = 8  # in a row, where the container itself is broken


class Lost(str):
    """Why a frame is lost, in place of its picture, with its time if that is known."""

    pts: int | None = None

    @classmethod
    def at(cls, pts: int, reason: str) -> "Lost":
        """The loss of the frame of that time."""
        lost = cls(reason)
        lost.pts = pts
        return lost


def open_container(
    source: Path | str, name: str, options: dict[str, str] | None = None, timeout: float | None = None
) -> InputContainer:
    """Opens a container that has at least one video stream.

    Args:
      source: path or address.
      name: how messages call it.
      options: FFmpeg's options.
      timeout: seconds that opening and each read may take; None waits without a limit.

    Raises:
      UserError: it cannot be opened, or has no video stream.
    """
    # FFmpeg takes what is before a colon in a file's name (12:30:05.mp4) for a protocol.
    address = f"file:{source}" if isinstance(source, Path) else source
    try:
        container = av.open(address, options=options or {}, timeout=timeout)
    except (av.error.FFmpegError, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{name} cannot be read as a video ({ffmpeg_message(error)})") from error
    try:
        stream = picture_stream(container, name)
    except UserError:
        container.close()
        raise
    if stream.codec_context is None:
        container.close()
        raise UserError(f"{name} cannot be read as a video (unknown codec)")
    stream.codec_context.options = _LIMITS
    return container


def picture_stream(container: InputContainer, name: str = "") -> VideoStream:
    """The first stream of moving pictures: the cover of a sound file is none. Raises UserError if there is none."""
    moving = (s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic)
    stream = next(moving, None)
    if stream is None:
        raise UserError(f"{name} is not a video: it has no pictures")
    return stream


@contextlib.contextmanager
def open_file(source: Path | str, name: str, timeout: float | None = None) -> Iterator[Frames]:
    """Yields the frames of a video of finite length; see `video.open_frames`."""
    pipe = readable(source)
    if isinstance(pipe, int):
        source = f"pipe:{pipe}"
    try:
        with open_container(source, name, timeout=timeout) as container:
            yield read_container(container, name)
    finally:
        if isinstance(pipe, int):
            os.close(pipe)


def read_container(container: InputContainer, name: str) -> Frames:
    """The frames of an open container: all of them, in order of presentation."""
    stream = picture_stream(container)
    use_threads(stream)
    rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
    frames = Frames(name, _header_count(stream, rate), rate, iter(()), stored=True)
    frames.tick = stream.time_base if is_timed(container) else None
    frames.has_sound = bool(container.streams.audio)
    frames.frames = _read(container, frames)
    return frames


def use_threads(stream: VideoStream) -> None:
    """Decodes with FFmpeg's number of threads, or fewer, so that a picture of each has room in `_AHEAD`."""
    stream.thread_type = "AUTO"
    room = _AHEAD // max(1, stream.width * stream.height * 3 // 2)
    if room < min((os.cpu_count() or 1) + 1, _MOST_THREADS):
        stream.codec_context.thread_count = max(1, room)


def is_timed(container: InputContainer) -> bool:
    """Whether the format has reliable times of presentation."""
    return "avi" not in container.format.name


def _header_count(stream: VideoStream, rate: Fraction) -> int | None:
    """The number of frames that the header states or that its duration implies; None if it has neither."""
    if stream.frames:
        return stream.frames
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * rate)
    duration = cast(InputContainer, stream.container).duration
    if duration:
        return round(Fraction(duration, av.time_base) * rate)
    return None


def _header_end(stream: VideoStream) -> float:
    """The end of a stream in seconds by its header; infinite if it is unknown or unreliable."""
    if "avi" in stream.container.format.name:
        return math.inf
    if stream.duration and stream.time_base:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    return container_end(cast(InputContainer, stream.container))


def container_end(container: InputContainer) -> float:
    """The end of a container in seconds by its header; infinite if it is unknown, as in a live stream."""
    return ((container.start_time or 0) + container.duration) / av.time_base if container.duration else math.inf


class _FrameCounter:
    """Works out from presentation times how many frames a video should have, after the last was read.

    The header's number may be wrong for a complete file: a video that was cut without re-encoding contains frames that
    are never shown, and a duration says little if the sound lasts longer or the rate varies.
    """

    def __init__(self, stream: VideoStream, rate: Fraction):
        self._stream, self._rate, self._is_regular = stream, rate, True
        self._unit = stream.time_base or Fraction(1, av.time_base)  # seconds of one unit of presentation time
        self._first: Fraction | None = None
        self._last: Fraction | None = None

    def add(self, picture: av.VideoFrame) -> None:
        if picture.pts is None:
            return
        time, last = picture.pts * self._unit, self._last
        if last is not None:
            steps = (time - last) * self._rate
            # Containers round times to their clock, Matroska to a millisecond.
            self._is_regular &= steps > 0 and abs(steps - round(steps)) <= self._unit * self._rate
        self._first, self._last = time if last is None else self._first, time

    def expected(self, count: int, header_count: int | None) -> int | None:
        """The number of frames that the video should have, after `count` were read."""
        if self._first is None or self._last is None:
            return header_count
        if self._stream.frames:
            return count if self._last > _header_end(self._stream) - 2 / self._rate else header_count
        # What lasts longer than the pictures can be a sound, or the last of pictures at irregular times.
        alone = self._is_regular and len(self._stream.container.streams) == 1
        tolerance = 2 / self._rate + 2 * self._unit if alone else _SOUND_OVERHANG
        if self._last <= _header_end(self._stream) - tolerance:
            return header_count
        # At a regular rate, a longer step is a gap.
        return round((self._last - self._first) * self._rate) + 1 if self._is_regular else count


def _read(container: InputContainer, frames: Frames) -> Iterator[np.ndarray | Unreadable]:
    count = left_out = 0
    counter = _FrameCounter(picture_stream(container), frames.rate)
    clock = _Clock(frames)
    for picture in _until_error(decode_pictures(container), frames):
        if isinstance(picture, str):
            if not count:  # many recordings begin between two key frames
                left_out += 1
                continue
            item: np.ndarray | Unreadable = Unreadable(f"{frames.name}: frame {count} does not decode ({picture})")
        else:
            item = frame_of(picture, frames.name, count)
            frames.damaged += picture.is_corrupt
            counter.add(picture)
            if left_out and not count:
                warn(f"{frames.name}: the first {left_out} frames do not decode and are left out")
        clock.add(picture.pts)
        count += 1
        yield item
    if not count:
        raise UserError(f"{frames.name} has no frames" + (" that decode" if left_out else ""))
    frames.count = counter.expected(count, frames.count)


class _Clock:
    """Notes when frames are shown. A frame without a time, or with one before the last, is one period after it."""

    def __init__(self, frames: Frames):
        self._frames, self._period = frames, float(1 / frames.rate)
        self._first: int | None = None

    def add(self, pts: int | None) -> None:
        times, tick = self._frames.times, self._frames.tick
        if tick is None:
            return
        if self._first is None and pts is not None:
            self._first = pts
        time = math.nan if pts is None or self._first is None else float((pts - self._first) * tick)
        if times and not time > times[-1]:
            time = times[-1] + self._period
        times.append(time if times else 0.0)


def _until_error(pictures: Iterable[av.VideoFrame | Lost], frames: Frames) -> Iterator[av.VideoFrame | Lost]:
    try:
        yield from pictures
    except (av.error.FFmpegError, OSError, ValueError) as error:
        warn(f"{frames.name}: nothing can be read beyond this point ({ffmpeg_message(error)})")


def has_hidden_packets(stream: VideoStream) -> bool:
    """Whether some packets of the codec may have no picture."""
    return stream.codec_context.name in _HAVE_HIDDEN_PACKETS


def decode_pictures(container: InputContainer) -> Iterator[av.VideoFrame | Lost]:
    """Decodes the first video stream in order of presentation; a lost frame gives its reason."""
    stream = picture_stream(container)
    has_times, has_hidden = is_timed(container), has_hidden_packets(stream)
    expected, given_up, latest, failure = [], set(), None, None  # times, times, time, reason
    for packet in packets(container, stream):
        if has_times and packet is not None and packet.pts is not None and not packet.is_discard:
            if latest is None or packet.pts > latest or packet.pts in given_up:
                expected.append(packet.pts)
            else:
                has_times, expected = False, []  # time runs backwards: two recordings in one file
        try:
            pictures = stream.decode(packet)
        except (av.error.FFmpegError, ValueError) as error:
            failure, pictures = ffmpeg_message(error), []
            if not has_times or (packet is not None and packet.pts is None):
                yield Lost(failure)
        for picture in pictures:
            if has_times and picture.pts is not None:
                if picture.pts in given_up:
                    continue  # it came late, after a damaged part: an Unreadable already took its place
                passed = [time for time in expected if time < picture.pts]
                expected = [time for time in expected if time > picture.pts]
                if failure or (latest is not None and not has_hidden):
                    given_up.update(passed)
                    yield from (Lost.at(time, failure or _NO_PICTURE) for time in passed)
                latest = picture.pts
            yield picture
    if failure or (latest is not None and not has_hidden):
        yield from (Lost.at(time, failure or _NO_PICTURE) for time in expected)


def packets(container: InputContainer, stream: VideoStream) -> Iterator[av.Packet | None]:
    """The packets of a stream, past read errors; None at the end flushes the decoder."""
    errors = 0
    last_error: Exception | None = None
    while errors < _MAX_READ_ERRORS:
        try:
            for packet in container.demux(stream):
                errors = 0
                if packet.size:
                    yield packet
            last_error = None
            break
        except av.error.ExitError as error:  # a timeout: nothing more will come
            errors, last_error = _MAX_READ_ERRORS, error
        except (av.error.FFmpegError, OSError, ValueError) as error:
            errors, last_error = errors + 1, error
    yield None
    if last_error is not None:
        raise last_error
