"""Frames out of what FFmpeg reads: every frame of a file has its place, readable or not.

A damaged file is decoded on behind the damage. Which frames the damage took is told by their times: a packet whose time
is passed without its picture is a frame that cannot be read (Unreadable), and stands where it would have been. Where a
container gives no times that can be trusted (AVI), every packet that fails is such a frame.
"""

import contextlib
import math
from fractions import Fraction

import av
import numpy as np

from relo_jax.errors import UserError
from relo_jax.media.frames import DEFAULT_RATE, Frames, Unreadable, warn

# Codecs with packets that were never meant to be shown: theirs count as lost only after something did fail.
_HIDDEN = {"vp8", "mpeg4", "msmpeg4v3"}
_LIMITS = {"max_pixels": str(2**27)}  # a broken header may tell of a picture that fills the memory: 16 k x 8 k at most
_LONGER = 1.0  # seconds that the sound may go on behind the last picture
_NOTHING = "no picture came of it"
_TRIES = 8  # of reading on where the container itself is broken, in a row


def reason(error):
    """What FFmpeg says, without its error number and the file's name, which the message has already."""
    if isinstance(error, av.error.ExitError):
        return "no data within the time set"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def opened(source, name, options=None, timeout=None):
    """A container with at least one video stream.

    Args:
      source: path or address. name: what it is called in messages.
      options: of FFmpeg. timeout: seconds that opening and every read may take; None waits.

    Raises:
      UserError: it cannot be opened, or has no pictures.
    """
    try:
        container = av.open(str(source), options=options or {}, timeout=timeout)
    except (av.error.FFmpegError, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{name} cannot be read as a video ({reason(error)})") from error
    if not container.streams.video:
        container.close()
        raise UserError(f"{name} has no pictures: it is not a video")
    if container.streams.video[0].codec_context is None:
        container.close()
        raise UserError(f"{name} cannot be read as a video (its codec is not known here)")
    container.streams.video[0].codec_context.options = _LIMITS
    return container


@contextlib.contextmanager
def open_file(source, name, timeout=None):
    """Frames of a video of finite length; see `video.open_frames`."""
    with opened(source, name, timeout=timeout) as container:
        yield from_file(container, name)


def from_file(container, name):
    """Frames of an open container, all of them and in order."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    rate = stream.average_rate or DEFAULT_RATE
    frames = Frames(name, _count(stream, rate), rate, iter(()))
    frames.frames = _read(container, frames)
    return frames


def _count(stream, rate):
    """Frames of a stream as its header says, or as its length suggests; None when it does neither."""
    if stream.frames:
        return stream.frames
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * rate)
    if stream.container.duration:
        return round(Fraction(stream.container.duration, av.time_base) * rate)
    return None


def _end(stream):
    """Seconds at which a stream ends as its header says; infinite where that is not known, or not to be trusted."""
    container = stream.container
    if "avi" in container.format.name:
        return math.inf
    if stream.duration and stream.time_base:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    return ((container.start_time or 0) + container.duration) / av.time_base if container.duration else math.inf


class _Times:
    """When pictures are shown, and what that says of how many there should be, once the last was read.

    The header's number may be wrong without anything missing: a film that was cut without encoding it anew has frames
    that are never shown, and a length says little where the sound is longer or the rate varies.
    """

    def __init__(self, stream, rate):
        self._stream, self._rate, self._first, self._latest, self._even = stream, rate, None, None, True

    def add(self, picture):
        if picture.pts is None:
            return
        time, latest = picture.pts * self._stream.time_base, self._latest
        if latest is not None:
            steps = (time - latest) * self._rate
            # Times are rounded to the clock of the container, those of Matroska to a millisecond.
            self._even &= steps > 0 and abs(steps - round(steps)) <= self._stream.time_base * self._rate
        self._first, self._latest = time if latest is None else self._first, time

    def count(self, number, promised):
        """How many of them there should be where `number` were read, and the header `promised` some, or None."""
        if self._latest is None:
            return promised
        if self._stream.frames:
            return number if self._latest > _end(self._stream) - 2 / self._rate else promised
        if self._latest <= _end(self._stream) - _LONGER:
            return promised
        # In even steps a longer one is a hole.
        return round((self._latest - self._first) * self._rate) + 1 if self._even else number


def _read(container, frames):
    number = left_out = 0
    times = _Times(container.streams.video[0], frames.rate)
    for picture in _to_the_end(pictures(container), frames):
        if isinstance(picture, str):
            # Before the first picture there is nothing to be seen: recordings often begin between two key frames.
            left_out += not number
            item = Unreadable(f"{frames.name}: frame {number} does not decode ({picture})")
        else:
            item = upright(picture)
            frames.damaged += picture.is_corrupt
            times.add(picture)
        if isinstance(item, Unreadable) and not number:
            continue
        if left_out and not number:
            warn(f"{frames.name}: begins with {left_out} frames that do not decode: they are left out")
        number += 1
        yield item
    if not number:
        raise UserError(f"{frames.name} has no frames" + (" that decode" if left_out else ""))
    frames.count = times.count(number, frames.count)


def _to_the_end(shown, frames):
    try:
        yield from shown
    except (av.error.FFmpegError, OSError, ValueError) as error:
        warn(f"{frames.name}: nothing can be read behind this ({reason(error)})")


def upright(picture):
    """A decoded picture as uint8 RGB `[H, W, 3]`. Telephones write them lying, and a note which side is up."""
    turns = round(picture.rotation / 90) % 4
    image = picture.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def pictures(container):
    """Decoded pictures of the first video stream in the order of display, and a reason (text) for each that is lost."""
    stream = container.streams.video[0]
    timed, hidden = "avi" not in container.format.name, stream.codec_context.name in _HIDDEN
    expected, gone, latest, failed = [], set(), None, None
    for packet in _packets(container, stream):
        if timed and packet is not None and packet.pts is not None and not packet.is_discard:
            if latest is None or packet.pts > latest or packet.pts in gone:
                expected.append(packet.pts)
            else:
                timed, expected = False, []  # time went back: two recordings in one file
        try:
            shown = stream.decode(packet)
        except (av.error.FFmpegError, ValueError) as error:
            failed, shown = reason(error), []
            if not timed or (packet is not None and packet.pts is None):
                yield failed
        for picture in shown:
            if timed and picture.pts is not None:
                if picture.pts in gone:
                    continue  # behind a damage, one may come out after its time: its place is taken
                passed = [time for time in expected if time < picture.pts]
                expected = [time for time in expected if time > picture.pts]
                if failed or (latest is not None and not hidden):
                    gone.update(passed)
                    yield from (failed or _NOTHING for _ in passed)
                latest = picture.pts
            yield picture
    if failed or (latest is not None and not hidden):
        yield from (failed or _NOTHING for _ in expected)


def _packets(container, stream):
    """Packets of a stream, read on behind what cannot be read; None at the end, for what the decoder still holds."""
    failures, failure = 0, None
    while failures < _TRIES:
        try:
            for packet in container.demux(stream):
                failures = 0
                if packet.size:
                    yield packet
            failure = None
            break
        except av.error.ExitError as error:  # of a timeout: nothing more will come
            failures, failure = _TRIES, error
        except (av.error.FFmpegError, OSError, ValueError) as error:
            failures, failure = failures + 1, error
    yield None
    if failure is not None:
        raise failure
