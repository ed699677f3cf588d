"""The latest frame of a live source that may be faster than the tracker, break off and come back.

A thread reads continuously and keeps only the latest frame, so that no delay builds up; `Frames.dropped` counts frames
that nobody took in time. A source that breaks off is opened again, up to `retries` times in a row with growing pauses;
a silent one is waited for as often. Both are reported on stderr and counted (`Frames.lost`). Waiting always ends,
unless `retries` is negative.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from relo_jax.errors import UserError
from relo_jax.media.frames import Frames, warn
from relo_jax.media.upright import ffmpeg_message

_LONGEST_PAUSE = 30.0  # seconds between two attempts

LazyFrame = Callable[[], tuple[np.ndarray, bool]]  # gives uint8 RGB [H, W, 3], and whether the frame is damaged


@dataclass
class Reading:
    """An open source.

    Attributes:
      frames: functions that convert a frame. Dropped frames are never converted.
      close: closes the source.
      rate: frames a second.
      is_complete: whether the source has an end and was read up to it.
    """

    frames: Iterable[LazyFrame]
    close: Callable[[], object]
    rate: Fraction
    is_complete: Callable[[], bool] = lambda: False


@contextlib.contextmanager
def latest_frame(
    name: str, reading: Reading, reopen: Callable[[], Reading], watch: float, retries: int
) -> Iterator[Frames]:
    """Yields the frames of a live source, which a thread of its own reads.

    Args:
      name: how messages call the source.
      reading: the open source.
      reopen: opens it again; raises UserError.
      watch: seconds without a frame, outside the pauses between attempts, after which a line is printed.
      retries: see `streams.open_address`.
    """
    frames = Frames(name, None, reading.rate, iter(()), live=True)
    exchange = _LatestFrame(frames, reading, reopen, watch, retries)
    frames.frames = exchange.frames()
    exchange.thread.start()
    try:
        yield frames
    finally:
        frames.stop.set()
        exchange.thread.join(1.0)  # a thread that hangs in a system call is left behind


class _LatestFrame:
    """Passes the latest frame from the thread that reads to the thread that tracks. Arguments as of `latest_frame`."""

    def __init__(self, frames: Frames, reading: Reading, reopen: Callable[[], Reading], watch: float, retries: int):
        self._frames, self._reopen, self._watch, self._retries = frames, reopen, watch, retries
        self._changed = threading.Condition()
        self._latest: LazyFrame | None = None
        self._arrival = 0.0  # of the latest frame
        self._is_over = self._is_pausing = False
        self._failure: Exception | None = None
        self.thread = threading.Thread(target=self._run, args=(reading,), name="relo live", daemon=True)

    def _run(self, reading: Reading) -> None:
        """The thread that reads."""
        try:
            self._read(reading)
        except Exception as error:  # a defect, not a failing source: raised in the thread that tracks
            self._failure = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _read(self, reading: Reading | None) -> None:
        """Reads the source to its end, and opens it again."""
        failures, stop = 0, self._frames.stop
        while reading is not None and not stop.is_set():
            reason = "the stream ended"
            try:
                for frame in reading.frames:
                    if failures:
                        warn(f"{self._frames.name}: it is back")
                    failures = 0
                    self._put(frame)
                    if stop.is_set():
                        break
            except (av.error.FFmpegError, OSError, ValueError) as error:
                reason = ffmpeg_message(error)
            finally:
                reading.close()
            if reading.is_complete():
                break
            if not failures and not stop.is_set():
                self._count_loss()
            reading, failures = self._try_again(reason, failures)

    def _try_again(self, reason: str, failures: int) -> tuple[Reading | None, int]:
        """Opens the source again, after pauses. Returns the source, if it opened, and the failures until then."""
        stop, name, retries = self._frames.stop, self._frames.name, self._retries
        while not stop.is_set():
            failures += 1
            if 0 <= retries < failures:
                tries = f"; no frame in {retries} more {'try' if retries == 1 else 'tries'}" if retries else ""
                warn(f"{name}: {reason}{tries}: giving up")
                break
            pause = min(2.0 ** (failures - 1), _LONGEST_PAUSE)
            of = f" of {retries}" if retries > 0 else ""
            warn(f"{name}: {reason}; opening it again in {pause:g} s (try {failures}{of})")
            self._is_pausing = True
            stopped = stop.wait(pause)
            self._is_pausing = False
            if stopped:
                break
            try:
                return self._reopen(), failures
            except UserError as error:
                reason = str(error).removeprefix(f"{name} ")
        return None, failures

    def _count_loss(self) -> None:
        with self._changed:  # both threads count
            self._frames.lost += 1

    def _put(self, frame: LazyFrame) -> None:
        with self._changed:
            self._frames.dropped += self._latest is not None
            self._latest, self._arrival = frame, time.monotonic()
            self._changed.notify_all()

    def frames(self) -> Iterator[np.ndarray]:
        """For the thread that tracks: the latest frame, each at most once, until the source ends or `stop` is set."""
        first_arrival, stalls, frames = None, 0, self._frames
        while True:
            frame, arrival = self._take(is_first=first_arrival is None)
            if frame is None:
                if self._failure is not None and not frames.stop.is_set():
                    raise self._failure
                if self._is_over or frames.stop.is_set():
                    return
                stalls += 1
                if stalls == 1:
                    self._count_loss()
                give_up = 0 <= self._retries < stalls
                warn(f"{frames.name}: no frame for {stalls * self._watch:g} s" + (": giving up" if give_up else ""))
                if give_up:
                    return
                continue
            if first_arrival is None:
                first_arrival = arrival
            frames.seconds, stalls = arrival - first_arrival - frames.start, 0
            image, is_damaged = frame()
            frames.damaged += is_damaged
            yield image

    def _take(self, is_first: bool) -> tuple[LazyFrame | None, float]:
        """Waits for a frame and takes it, with its time of arrival; None at the end, or after `watch` seconds.

        Frames dropped before the first one is taken are not counted: nobody was waiting for them.
        """
        since = time.monotonic()
        with self._changed:
            while self._latest is None and not self._is_over and not self._frames.stop.is_set():
                self._changed.wait(0.1)
                if self._is_pausing:
                    since = time.monotonic()
                if time.monotonic() - since > self._watch:
                    break
            frame, self._latest = self._latest, None
            if is_first:
                self._frames.dropped = 0
            return frame, self._arrival
