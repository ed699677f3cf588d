"""What a session of `relo track` tracks: the boxes, the part of the film, and the way through it."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from relo_jax.errors import UserError
from relo_jax.media import streams, video
from relo_jax.media.film import Position, open_film
from relo_jax.media.frames import Frames
from relo_jax.tracking.box_files.formats import SUFFIXES, read_boxes
from relo_jax.tracking.journey import FORWARDS, Journey, Target, start_of, targets_of
from relo_jax.tracking.targets import Box


@dataclass(frozen=True)
class Part:
    """Which part of a film is tracked, from boxes in which frame.

    Attributes:
      start: frame or time of the boxes, see `film.parse_position`; None: the first, backwards the last; of boxes from
        a file those that the file says.
      stop: the last frame or time; None: the end, backwards the beginning.
      direction: one of `journey.DIRECTIONS`.
      box_file: file of boxes from which targets begin; None: the boxes are given.
      ids: of its targets that are wanted; (): all.
      every: whether they begin anew at each further box of the file.
      box_format: of the file, if its suffix tells none; see `box_files.formats`.
    """

    start: Position | None = None
    stop: Position | None = None
    direction: str = FORWARDS
    box_file: str | Path | None = None
    ids: Sequence[int] = ()
    every: bool = False
    box_format: str | None = None

    def check(self, has_boxes: bool, show: bool | None) -> None:
        """Raises UserError where flags of `relo track` contradict each other."""
        if self.box_file is not None and has_boxes:
            raise UserError("--box and --box-from both name targets: give one of them")
        if self.box_file is None and (self.ids or self.every):
            raise UserError(
                f"{'--id' if self.ids else '--every-box'} is about the boxes of --box-from, which is missing"
            )
        if self.every and self.direction != FORWARDS:
            raise UserError(f"--every-box is for tracking forwards: leave out --{self.direction}")
        if show and self.direction != FORWARDS:
            raise UserError(f"--show is for tracking forwards: leave out --{self.direction}, or --show")

    def targets(self, boxes: Sequence[Box | None], source: object, start: int | None) -> list[Target]:
        """The targets, which begin in frame `start`, or with None where a file says."""
        if self.box_file is None:
            return [Target(((start or 0, box),), number) for number, box in enumerate(boxes, start=1)]  # type: ignore[arg-type]
        format = None if Path(self.box_file).suffix.lower() in SUFFIXES else self.box_format
        tracks = read_boxes(self.box_file, format, video=Path(str(source)).name)
        return targets_of(tracks, str(self.box_file), self.ids, start, self.every)


@dataclass
class Opened:
    """A video that is going to be tracked.

    frames: those that are handed out. targets: of which a box may be None, to be selected. journey: the way through a
    film; None: through all of `frames`. count: number of frames of the film, where it is known and there is a journey.
    """

    frames: Frames
    targets: list[Target]
    journey: Journey | None = None
    count: int | None = None


@contextlib.contextmanager
def open_part(
    source: video.Source,
    boxes: Sequence[Box],
    part: Part,
    timeout: float = streams.TIMEOUT,
    retries: int = streams.RETRIES,
) -> Iterator[Opened]:
    """Opens what is tracked.

    Args:
      source, timeout, retries: see `video.open_frames`; a camera or a stream only as a whole.
      boxes: of the targets; []: one, that is going to be selected, or those of `part.box_file`.
      part: of the film.

    Raises:
      UserError: bad source, part or file of boxes.
    """
    given: Sequence[Box | None] = boxes or [None]
    if part == Part():
        with video.open_frames(source, timeout, retries) as frames:
            yield Opened(frames, part.targets(given, source, 0))
        return
    with open_film(source) as film:
        start = start_of(film, part.start, part.direction, part.box_file is not None, "--from")
        journey = Journey(film, part.targets(given, source, start), part.stop, part.direction)
        yield Opened(journey.frames, journey.targets, journey, film.count)
