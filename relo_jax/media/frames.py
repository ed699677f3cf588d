"""What a video is while it is read: frames, those that could not be read, and what is known of them."""

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from tqdm import tqdm

DEFAULT_RATE = Fraction(30)


@dataclass(frozen=True)
class Unreadable:
    """Stands in a video for a frame that is there and cannot be read. why: one line that names it."""

    why: str


@dataclass
class Frames:
    """A video being read. Iterate it once: uint8 RGB `[H, W, 3]`, or Unreadable.

    name: what it is called in messages.
    count: number of frames that there should be, None where it is not known (a camera). Until a file was read it is
      what its header leads to expect.
    rate: frames a second.
    live: frames come when they come, and those that nobody took in time are dropped.
    stop: set by whoever wants a live source to end, from any thread; the iteration ends then.

    While it is read:
    damaged: pictures that came out although a part of them was broken.
    dropped: frames of a live source that were overtaken by newer ones.
    lost: how often a live source broke off or stalled.
    seconds: when the frame at hand was taken, since the first or `restart`; None but for a live source.
    """

    name: str
    count: int | None
    rate: Fraction
    frames: Iterator[np.ndarray | Unreadable]
    live: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    damaged: int = 0
    dropped: int = 0
    lost: int = 0
    seconds: float | None = None
    zero: float = 0.0

    def __iter__(self):
        return self.frames

    def restart(self):
        """Counts times, and frames that are dropped, from the frame at hand."""
        self.zero, self.seconds, self.dropped = self.zero + self.seconds, 0.0, 0


def warn(text):
    """A line on stderr, above a progress bar where there is one."""
    tqdm.write(f"relo: {text}", file=sys.stderr)
