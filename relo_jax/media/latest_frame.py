"""The newest frame of a live source, however slow the tracker is, and a source that may go away and come back.

A thread reads all the time and keeps the newest frame only, so that no delay builds up; frames that nobody took in time
are counted (`Frames.dropped`). A source that breaks off is opened again, up to `retries` times in a row with growing
pauses; one that falls silent is waited for as often. All of that is told and counted (`Frames.lost`), and nothing waits
for ever unless `retries` is below 0.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av

from relo_jax.errors import UserError
from relo_jax.media.decode import reason
from relo_jax.media.frames import Frames, warn

_LONGEST_PAUSE = 30.0  # seconds, between two tries


@dataclass
class Reading:
    """A source that is open.

    pictures: functions, each of which gives a frame and whether it is damaged; they are not called for those dropped.
    complete: whether all of it was read, where it has an end.
    """

    pictures: Iterator[Callable]
    close: Callable
    rate: Fraction
    complete: Callable = lambda: False


@contextlib.contextmanager
def latest_frame(name, reading, open_again, watch, retries):
    """Frames of a live source, read by a thread of its own; see `_LatestFrame`."""
    frames = Frames(name, None, reading.rate, iter(()), live=True)
    newest = _LatestFrame(frames, reading, open_again, watch, retries)
    frames.frames = newest.taken()
    newest.thread.start()
    try:
        yield frames
    finally:
        frames.stop.set()
        newest.thread.join(1.0)  # where it hangs in the system it is left behind


class _LatestFrame:
    """Between the thread that reads and the one that takes: one place, for the newest frame.

    Args:
      frames: Frames, whose counters are kept.
      reading: Reading, open. open_again: gives another.
      watch: seconds without a frame, outside of the pauses between tries, after which it is told.
      retries: see `open_address`.
    """

    def __init__(self, frames, reading, open_again, watch, retries):
        self._frames, self._open_again, self._watch, self._retries = frames, open_again, watch, retries
        self._changed = threading.Condition()
        self._picture, self._time, self._over, self._resting, self._failure = None, None, False, False, None
        self.thread = threading.Thread(target=self._run, args=(reading,), name="relo live", daemon=True)

    def _run(self, reading):
        """In the thread: reads, and says that it is over, whatever ended it."""
        try:
            self._read(reading)
        except Exception as error:  # none that reading is known for: raised where frames are taken
            self._failure = error
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _read(self, reading):
        """Reads to the end, and opens again."""
        failures, stop = 0, self._frames.stop
        while reading is not None and not stop.is_set():
            why = "the stream ended"
            try:
                for picture in reading.pictures:
                    if failures:
                        warn(f"{self._frames.name}: it is back")
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
            if not failures and not stop.is_set():
                self._lost()
            reading, failures = self._again(why, failures)

    def _again(self, why, failures):
        """Opens again after a pause, several times. Returns (Reading or None, failures until now)."""
        stop, name, retries = self._frames.stop, self._frames.name, self._retries
        while not stop.is_set():
            failures += 1
            if 0 <= retries < failures:
                tries = f"; no frame in {retries} more {'try' if retries == 1 else 'tries'}" if retries else ""
                warn(f"{name}: {why}{tries}: the end")
                break
            pause = min(2.0 ** (failures - 1), _LONGEST_PAUSE)
            of = f" of {retries}" if retries > 0 else ""
            warn(f"{name}: {why}; opening it again in {pause:g} s (try {failures}{of})")
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

    def _lost(self):
        with self._changed:  # both threads count
            self._frames.lost += 1

    def _put(self, picture):
        with self._changed:
            self._frames.dropped += self._picture is not None
            self._picture, self._time = picture, time.monotonic()
            self._changed.notify_all()

    def taken(self):
        """For whoever tracks: the newest frame, waited for where it was taken before, until the end or `stop`."""
        start, stalls, frames = None, 0, self._frames
        while True:
            picture, time_taken = self._wait(first=start is None)
            if picture is None:
                if self._failure is not None and not frames.stop.is_set():
                    raise self._failure
                if self._over or frames.stop.is_set():
                    return
                stalls += 1
                if stalls == 1:
                    self._lost()
                ended = 0 <= self._retries < stalls
                warn(f"{frames.name}: no frame for {stalls * self._watch:g} s" + (": the end" if ended else ""))
                if ended:
                    return
                continue
            if start is None:
                start = time_taken
            frames.seconds, stalls = time_taken - start - frames.zero, 0
            image, damaged = picture()
            frames.damaged += damaged
            yield image

    def _wait(self, first):
        """The newest picture, None at the end and after a time without one; and when it came.

        Those that the first one overtook are not counted: nobody wanted them.
        """
        since = time.monotonic()
        with self._changed:
            while self._picture is None and not self._over and not self._frames.stop.is_set():
                self._changed.wait(0.1)
                if self._resting:
                    since = time.monotonic()
                if time.monotonic() - since > self._watch:
                    break
            picture, self._picture = self._picture, None
            if first:
                self._frames.dropped = 0
            return picture, self._time
