"""Tracking through a part of a film, forwards, backwards or both ways, with targets that begin in different frames.

Results come in the order of the film, whichever way it was tracked: what is tracked backwards is tracked first, its
results are kept (a few hundred bytes a frame, a few thousand with the policy), and the frames are read again, forwards,
to be handed out with them.
"""

import collections
import contextlib
import itertools
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from relo_jax.bars import tqdm
from relo_jax.errors import UserError, did_you_mean
from relo_jax.media.film import Film, Position
from relo_jax.media.frames import Frames, Unreadable
from relo_jax.tracking.box_files.tracks import LABEL, BoxTrack, TrackBox
from relo_jax.tracking.follow import Later, follow
from relo_jax.tracking.known_results import Results
from relo_jax.tracking.targets import Box
from relo_jax.tracking.tracker import MultiTracker, Tracker

FORWARDS, BACKWARDS, BOTH = DIRECTIONS = ("forwards", "backwards", "both")


@dataclass(frozen=True)
class Target:
    """A target and its boxes, by frames from 0, in order: it begins at the first, and anew at the others."""

    boxes: Sequence[tuple[int, Box]]
    id: int = 1
    label: str = LABEL

    @property
    def start(self) -> int:
        """The frame of its first box."""
        return self.boxes[0][0]


def targets_of(
    tracks: Sequence[BoxTrack], where: str, ids: Sequence[int] = (), at: int | None = None, every: bool = False
) -> list[Target]:
    """The targets to track, from the boxes of a file.

    Args:
      tracks: of the file.
      where: the file, for messages.
      ids: of the targets that are wanted; (): all.
      at: the frame at which they begin; None: each at its first box.
      every: whether they begin anew at each further box that somebody gave.

    Raises:
      UserError: no target has such an id, or one has no box in that frame; two have one id.
    """
    for of_all in ([track.id for track in tracks], ids):
        if twice := [id for id, times in collections.Counter(of_all).items() if times > 1]:
            raise UserError(f"{where}: target {twice[0]} is named twice: give every target once, with an id of its own")
    known = {track.id: track for track in tracks}
    for id in ids:
        if id not in known:
            raise UserError(f"{where} has no target {id}{did_you_mean(id, known)}")
    targets = []
    for track in known.values() if not ids else (known[id] for id in ids):
        boxes = [(box.frame, box.box) for box in track.boxes if _is_there(box) and (box.key or box.frame == at)]
        if not boxes:
            raise UserError(f"{where}: target {track.id} is found in no frame: leave it out with --id")
        frames = [frame for frame, _ in boxes]
        if at is not None and at not in frames:
            raise UserError(f"{where}: target {track.id} is not found in frame {at}, only in {_some(frames)} (from 0)")
        begun = boxes[frames.index(at) if at is not None else 0 :]
        targets.append(Target(tuple(begun if every else begun[:1]), track.id, track.label))
    return targets


def _is_there(box: TrackBox) -> bool:
    """Whether a target can begin here; many datasets write zeros in frames without it."""
    return box.found and box.box[2] > 0 and box.box[3] > 0


def _some(frames: Sequence[int]) -> str:
    return ", ".join(map(str, frames[:4])) + (f" ... {frames[-1]}" if len(frames) > 4 else "")


class Journey:
    """A part of a film, and the way through it.

    Args:
      film: the film.
      targets: in the order of the results.
      stop: the last frame in the direction of tracking, in both directions that forwards; None: to the end.
      direction: one of `DIRECTIONS`.

    Attributes:
      targets: may be replaced before `follow`, by others that begin in the same frames.
      direction: see above.
      frames: what is known of the frames that are handed out, in the order of the film; not to be iterated.

    Raises:
      UserError: an unknown direction; a box, or the last frame, that is outside the film or on the wrong side.
    """

    def __init__(self, film: Film, targets: Sequence[Target], stop: Position | None = None, direction: str = FORWARDS):
        if direction not in DIRECTIONS:
            raise UserError(f"direction is {direction!r}{did_you_mean(direction, DIRECTIONS)}")
        self._film, self.targets, self.direction = film, list(targets), direction
        for target in self.targets:
            for frame, _ in target.boxes if direction == FORWARDS else target.boxes[:1]:
                film.number_of(frame, "the frame of a box")
        starts = [target.start for target in self.targets]
        self._earliest, self._latest = min(starts), max(starts)
        last = None if stop is None else film.number_of(stop, "--to (stop)")
        wrong = last is not None and (last > self._earliest if direction == BACKWARDS else last < self._latest)
        if wrong:
            side = "after" if direction == BACKWARDS else "before"
            raise UserError(
                f"--to (stop) is frame {last}, {side} that of a box: tracking goes {_in_words(direction)} from the box"
            )
        self._first = {FORWARDS: self._earliest, BACKWARDS: last or 0, BOTH: 0}[direction]
        self._last = self._latest if direction == BACKWARDS else last
        self.frames = film.frames(self._first, self._last)

    def first_frame(self) -> np.ndarray | Unreadable | None:
        """The first frame that is tracked; None if the film ends before."""
        number = self._latest if self.direction == BACKWARDS else self._earliest
        return next(iter(self._film.frames(number, number)), None)

    def follow(
        self,
        tracker: Tracker | MultiTracker,
        chunk: int | None = None,
        look: bool = False,
        replay: bool = True,
        progress: bool = False,
    ) -> Generator[tuple[np.ndarray, Results], None, None]:
        """Yields (frame, results) of every frame, in the order of the film.

        Args:
          tracker: of as many targets.
          chunk, look: see `track.track`.
          replay: whether frames that were tracked backwards are read again; if not, a black one takes their places.
          progress: whether there is a bar while it goes backwards.

        Raises:
          UserError: see `follow.follow`.
          KeyboardInterrupt: `frames.stop` was set while it went backwards.
        """
        if self.direction == FORWARDS:
            yield from self._forwards(tracker, chunk, look)
            return
        back = self._backwards(tracker, chunk, look, progress)
        end = self._latest if self.direction == BACKWARDS else self._earliest - 1
        yield from zip(self._replayed(end, replay), back, strict=False)
        if self.direction == BOTH:
            for number, (frame, results) in enumerate(self._forwards(tracker, chunk, look), start=self._earliest):
                yield frame, self._merged(number, results, back)

    def _forwards(
        self, tracker: Tracker | MultiTracker, chunk: int | None, look: bool
    ) -> Iterator[tuple[np.ndarray, Results]]:
        frames = self._film.frames(self._earliest, self._last)
        yield from self._through(tracker, frames, self._earliest, 1, chunk, look)

    def _backwards(
        self, tracker: Tracker | MultiTracker, chunk: int | None, look: bool, progress: bool
    ) -> list[Results]:
        """The results of tracking back, in the order of the film: of the frames `_first` to `_latest`."""
        frames, found = self._film.frames(self._latest, self._first), []
        name = f"{Path(frames.name).name}, backwards"
        with tqdm(total=frames.count, unit=" frames", desc=name, disable=not progress) as bar:
            for _, results in self._through(tracker, frames, self._latest, -1, chunk, look):
                if self.frames.stop.is_set():
                    raise KeyboardInterrupt
                found.append(results)
                bar.update()
        return found[::-1]

    def _through(
        self, tracker: Tracker | MultiTracker, frames: Frames, first: int, step: int, chunk: int | None, look: bool
    ) -> Iterator[tuple[np.ndarray, Results]]:
        """`follow.follow` from a frame on."""
        later: dict[int, list[tuple[int, Box]]] = {}
        boxes: list[Any] = [(math.nan,) * 4] * len(self.targets)
        for index, target in enumerate(self.targets):
            for number, box in target.boxes if step > 0 else target.boxes[:1]:
                if number == first:
                    boxes[index] = box
                else:
                    later.setdefault(step * (number - first), []).append((index, box))
        box = boxes if isinstance(tracker, MultiTracker) else boxes[0]
        begun: Later = later
        followed = follow(tracker, frames, box, chunk, frames.stored, look, begun)
        empty = True
        with contextlib.closing(followed):
            for one in followed:
                empty = False
                yield one
        if empty:
            raise UserError(f"{self._film.name} ends before frame {first}, which has a box")
        if step > 0:
            self.frames.damaged += frames.damaged

    def _replayed(self, last: int, is_read: bool) -> Iterator[np.ndarray]:
        """The frames from `_first` on; in place of one that cannot be read comes the last one that could."""
        shown = np.zeros((16, 16, 3), np.uint8)
        if not is_read:
            yield from itertools.repeat(shown, last - self._first + 1)
            return
        frames = self._film.frames(self._first, last) if last >= self._first else ()
        waiting: int | None = 0  # at the beginning, for one that can be read
        for frame in frames:
            if isinstance(frame, Unreadable) and waiting is not None:
                waiting += 1
                continue
            if not isinstance(frame, Unreadable):
                shown = frame
            yield from itertools.repeat(shown, 1 + (waiting or 0))
            waiting = None
        yield from itertools.repeat(shown, waiting or 0)
        self.frames.damaged += getattr(frames, "damaged", 0)

    def _merged(self, number: int, results: Results, back: Sequence[Results]) -> Results:
        """Those of targets that have not begun yet come from the way back."""
        if not isinstance(results, list) or number >= self._latest:
            return results
        earlier: Any = back[number - self._first]
        return [
            one if number >= target.start else before
            for one, before, target in zip(results, earlier, self.targets, strict=True)
        ]


def start_of(film: Film, start: Position | None, direction: str, has_frames: bool, name: str = "start") -> int | None:
    """The frame in which the boxes are; None if they have frames of their own.

    Raises:
      UserError: no such frame; tracking backwards, of boxes without a frame, in a film of unknown length.
    """
    if start is not None:
        return film.number_of(start, name)
    if has_frames:
        return None
    if direction == FORWARDS:
        return 0
    if direction == BOTH or film.count is None:
        raise UserError(f"{film.name}: in which frame is the box? Give {name}, to track {_in_words(direction)} from it")
    return film.count - 1


def _in_words(direction: str) -> str:
    return "both ways" if direction == BOTH else direction
