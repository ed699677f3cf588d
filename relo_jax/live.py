"""Cameras and streams: the newest frame, however slow the tracker is, and a source that may go away and come back.

A thread reads all the time and keeps the newest frame only, so that no delay builds up; frames that nobody took in time
are counted (`Frames.dropped`). A stream that breaks off or falls silent is opened again, up to `retries` times in a
row with growing pauses; a camera that stalls is waited for as often. All of that is told and counted (`Frames.lost`),
and nothing waits for ever unless `retries` is below 0.
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from urllib.parse import urlsplit

import av
import cv2

from relo_jax.decoding import from_file, opened, pictures, reason, upright
from relo_jax.errors import UserError
from relo_jax.frames import DEFAULT_RATE, Frames, tell

TIMEOUT = 10.0  # seconds without a frame after which something is wrong
RETRIES = 5
_LONGEST_PAUSE = 30.0  # seconds, between two tries
_SCHEMES = {"http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"}
# Without delay, and so that a lost packet of UDP is no end. Not FFmpeg's "nobuffer": it throws away what was read to
# find out what the stream is, with the only key frame for seconds.
_PROMPT = {"flags": "low_delay", "overrun_nonfatal": "1", "rtsp_flags": "prefer_tcp"}


@dataclass
class _Reading:
    """A source that is open.

    pictures: functions, each of which gives a frame and whether it is damaged; they are not called for those dropped.
    complete: whether all of it was read, where it has an end.
    """

    pictures: Iterator[Callable]
    close: Callable
    rate: Fraction
    complete: Callable = lambda: False


def is_address(source):
    """Whether a text is the address of a stream, and no path."""
    return "://" in source and urlsplit(source).scheme.lower() in _SCHEMES


def without_password(address):
    """An address as it may be shown."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else address


@contextlib.contextmanager
def open_address(address, timeout=TIMEOUT, retries=RETRIES):
    """Frames of what is behind an address: a live stream, or over HTTP a file, of which no frame is dropped.

    Args:
      address: such as "rtsp://user:password@host/stream".
      timeout: seconds without data after which it is opened again.
      retries: how often in a row; 0 never, below 0 for ever.

    Raises:
      UserError: it cannot be opened the first time.
    """
    name, scheme = without_password(address), urlsplit(address).scheme.lower()
    options = {} if scheme.startswith("http") else _PROMPT
    open_ = lambda: opened(address, name, options, timeout)
    container = _interruptible(open_)
    if scheme.startswith("http") and container.duration:
        with container:
            yield from_file(container, name)
    else:
        # Reading has its own time limit, so that the watch is only for what no limit ends.
        read = lambda: _stream(open_())
        with _newest(name, _stream(container), read, 3 * timeout, retries) as frames:
            yield frames


@contextlib.contextmanager
def open_camera(index, timeout=TIMEOUT, retries=RETRIES):
    """Frames of a camera; arguments as of `open_address`.

    Raises:
      UserError: it cannot be opened.
    """
    read = lambda: _capture(index)
    with _newest(f"camera {index}", _interruptible(read), read, timeout, retries) as frames:
        yield frames


def _stream(container):
    stream = container.streams.video[0]
    stream.thread_type = "SLICE"  # decoding several frames at once would hold back as many
    end = ((container.start_time or 0) + container.duration) / av.time_base if container.duration else math.inf
    latest = -math.inf

    def thunks():
        nonlocal latest
        for picture in pictures(container):
            if not isinstance(picture, str):
                latest = latest if picture.pts is None else float(picture.pts * stream.time_base)
                yield lambda picture=picture: (upright(picture), picture.is_corrupt)

    complete = lambda: latest > end - 1.0  # a recording that a server plays
    return _Reading(thunks(), container.close, stream.average_rate or DEFAULT_RATE, complete)


def _capture(index):
    # A camera that is not there is reported below, in one line instead of OpenCV's several.
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(index)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        capture.release()
        raise UserError(f"camera {index} cannot be opened: is it connected, and free?")

    def thunks():
        while True:
            grabbed, frame = capture.read()
            if not grabbed:
                return
            yield lambda frame=frame: (cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), False)

    rate = Fraction(capture.get(cv2.CAP_PROP_FPS) or 30).limit_denominator(1000)
    return _Reading(thunks(), capture.release, rate)


def _interruptible(call):
    """Calls it in a thread, so that Ctrl-C need not wait for a server that does not answer."""
    answer, failure = [], []

    def run():
        try:
            answer.append(call())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if failure:
        raise failure[0]
    return answer[0]


@contextlib.contextmanager
def _newest(name, reading, open_again, watch, retries):
    """Frames of a live source, read by a thread of its own; see `_Newest`."""
    frames = Frames(name, None, reading.rate, iter(()), live=True)
    newest = _Newest(frames, reading, open_again, watch, retries)
    frames.frames = newest.taken()
    newest.thread.start()
    try:
        yield frames
    finally:
        frames.stop.set()
        newest.thread.join(1.0)  # where it hangs in the system it is left behind


class _Newest:
    """Between the thread that reads and the one that takes: one place, for the newest frame.

    Args:
      frames: Frames, whose counters are kept.
      reading: _Reading, open. open_again: gives another.
      watch: seconds without a frame, outside of the pauses between tries, after which it is told.
      retries: see `open_address`.
    """

    def __init__(self, frames, reading, open_again, watch, retries):
        self._frames, self._open_again, self._watch, self._retries = frames, open_again, watch, retries
        self._changed = threading.Condition()
        self._picture, self._time, self._over, self._resting = None, None, False, False
        self.thread = threading.Thread(target=self._read, args=(reading,), name="relo live", daemon=True)

    def _read(self, reading):
        """In the thread: reads to the end, and opens again."""
        failures, stop = 0, self._frames.stop
        while reading is not None and not stop.is_set():
            why = "the stream ended"
            try:
                for picture in reading.pictures:
                    if failures:
                        tell(f"{self._frames.name}: it is back")
                    failures = 0
                    self._put(picture)
                    if stop.is_set():
                        break
            except (av.error.FFmpegError, OSError, ValueError) as error:
                why = reason(error)
            finally:
                reading.close()
            if reading.complete():
                break
            self._frames.lost += not failures and not stop.is_set()
            reading, failures = self._again(why, failures)
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _again(self, why, failures):
        """Opens again after a pause, several times. Returns (_Reading or None, failures until now)."""
        stop, name, retries = self._frames.stop, self._frames.name, self._retries
        while not stop.is_set():
            failures += 1
            if 0 <= retries < failures:
                tries = f"; no frame in {retries} more {'try' if retries == 1 else 'tries'}" if retries else ""
                tell(f"{name}: {why}{tries}: the end")
                break
            pause = min(2.0 ** (failures - 1), _LONGEST_PAUSE)
            of = f" of {retries}" if retries > 0 else ""
            tell(f"{name}: {why}; opening it again in {pause:g} s (try {failures}{of})")
            self._resting = True
            stopped = stop.wait(pause)
            self._resting = False
            if stopped:
                break
            try:
                return self._open_again(), failures
            except UserError as error:
                why = str(error).removeprefix(f"{name} ")
        return None, failures

    def _put(self, picture):
        with self._changed:
            self._frames.dropped += self._picture is not None
            self._picture, self._time = picture, time.monotonic()
            self._changed.notify_all()

    def taken(self):
        """For whoever tracks: the newest frame, waited for where it was taken before, until the end or `stop`."""
        start, stalls, frames = None, 0, self._frames
        while True:
            picture = self._wait()
            if picture is None:
                if self._over or frames.stop.is_set():
                    return
                stalls += 1
                frames.lost += stalls == 1
                ended = 0 <= self._retries < stalls
                tell(f"{frames.name}: no frame for {stalls * self._watch:g} s" + (": the end" if ended else ""))
                if ended:
                    return
                continue
            if start is None:
                start, frames.dropped = self._time, 0  # nobody wanted those before
            frames.seconds, stalls = self._time - start - frames.zero, 0
            image, damaged = picture()
            frames.damaged += damaged
            yield image

    def _wait(self):
        """The newest picture; None at the end, and after a time without one."""
        since = time.monotonic()
        with self._changed:
            while self._picture is None and not self._over and not self._frames.stop.is_set():
                self._changed.wait(0.1)
                if self._resting:
                    since = time.monotonic()
                if time.monotonic() - since > self._watch:
                    return None
            picture, self._picture = self._picture, None
            return picture
