"""A video while it is read: its frames, the frames that cannot be read, and what is known about it."""

import sys
import threading
from array import array
from collections.abc import Iterator, MutableSequence, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from relo_jax.bars import tqdm

DEFAULT_RATE = Fraction(30)


@dataclass(frozen=True)
class Unreadable:
    """Takes the place of a frame that cannot be read. message: one line that names the frame."""

    message: str


@dataclass
class Frames:
    """A video that is being read. It can be iterated once; items are uint8 RGB `[H, W, 3]`, or Unreadable.

    Attributes:
      name: how messages call it.
      count: expected number of frames; None if unknown (a camera). Comes from the header until the file is read.
      rate: frames a second.
      live: the source does not wait; frames that nobody takes in time are dropped.
      stored: the frames lie on a disk, so that nobody notices if one is read before it is asked for.
      stop: ends the iteration of a live source; any thread may set it.
      tick: the unit of the video's clock, in seconds; None if its frames have no times of their own.
      names: the file of every frame, of a folder.
      has_sound: whether there is sound beside the pictures, which nothing here reads.

    Updated while the video is read:
      damaged: number of frames that are decoded but partly broken.
      dropped: number of frames of a live source that a newer frame replaced.
      lost: how often a live source broke off or stalled.
      seconds: when the current frame arrived, relative to the first frame or to `restart`; live sources only.
      start: time of `restart`, relative to the first frame, in seconds.
      number: of the frame in hand, in the video; whoever hands frames on sets it.
      times: when the frames are shown, by their numbers, in seconds since the first; as far as they are read.
    """

    name: str
    count: int | None
    rate: Fraction
    frames: Iterator[np.ndarray | Unreadable]
    live: bool = False
    stored: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    damaged: int = 0
    dropped: int = 0
    lost: int = 0
    seconds: float | None = None
    start: float = 0.0
    number: int = 0
    times: MutableSequence[float] = field(default_factory=lambda: array("d"))
    tick: Fraction | None = None
    names: Sequence[str] = ()
    has_sound: bool = False

    @property
    def time(self) -> float:
        """When the frame in hand is shown, or came from a live source: seconds since the first."""
        return (self.seconds or 0.0) if self.live else self.time_of(self.number)

    def time_of(self, number: int) -> float:
        """When a frame of a stored video is shown, in seconds since the first; by the rate if it has no times."""
        return self.times[number] if number < len(self.times) else float(number / self.rate)

    def __iter__(self) -> Iterator[np.ndarray | Unreadable]:
        return self.frames

    def restart(self) -> None:
        """Counts time and dropped frames from the current frame on."""
        self.start, self.seconds, self.dropped = self.start + (self.seconds or 0.0), 0.0, 0


def warn(text: str) -> None:
    """Prints a line to stderr, above a progress bar if there is one."""
    tqdm.write(f"relo: {text}", file=sys.stderr)
