"""`relo_jax.track`: through a video, or a part of it, by one call."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from relo_jax.media import video
from relo_jax.media.film import Film, Position, open_film
from relo_jax.tracking.box_files.tracks import BoxTrack
from relo_jax.tracking.follow import follow, has_several_boxes
from relo_jax.tracking.journey import FORWARDS, Journey, Target, start_of, targets_of
from relo_jax.tracking.known_results import Results
from relo_jax.tracking.targets import Box, Result
from relo_jax.tracking.tracker import MultiTracker, Tracker, open_tracker


def track(
    source: str | Path | int | Iterable[np.ndarray],
    box: Box | Sequence[Box] | Sequence[BoxTrack],
    checkpoint: str | Path | Tracker | MultiTracker = "starter",
    chunk: int | None = None,
    look: bool = False,
    start: Position | None = None,
    stop: Position | None = None,
    direction: str = FORWARDS,
    frames: bool = False,
    **options,
) -> Iterator[Result | list[Result]]:
    """Tracks through a video; only the frames in flight are in memory.

        for result in relo_jax.track("in.mp4", box=(x, y, w, h)):
            print(result.box, result.score)

    Args:
      source: video file, folder of frames, camera index, address of a stream (`rtsp://...`), or any iterable of uint8
        RGB frames.
      box: x, y, w, h of the target in the first frame, or in that of `start`; a list of K boxes, for as many targets;
        or what `relo_jax.read_boxes` gives: each target begins at its first box, or at its box in the frame `start`.
      checkpoint: see `Tracker.from_pretrained`; or a tracker, which begins anew and need not compile again.
      chunk: frames that the device gets at a time. It does not wait for the host between them: more frames a second,
        each of them later. None is frame by frame. The boxes are the same.
      look: whether results are Looks, which have the policy over the search region too (`Tracker.look`). The first
        frame's and those of unreadable frames have none. Frame by frame only.
      start: the frame of the box: a number from 0, or a time since the first frame, in seconds (a float) or as
        "4.5s" or "00:00:04.5". None: the first frame; backwards, the last.
      stop: the last frame to track, in the same way. None: the end, backwards the beginning.
      direction: "forwards"; "backwards", from `start` to the beginning; or "both", from `start` to both ends. The
        results come in the order of the film, backwards those up to `start`.
      frames: whether results have their frame (`Result.frame`). Keep no more of them than fit into memory.
      **options: see `Tracker.from_pretrained`.

    Yields:
      a Result a frame (a list of K for a list of K boxes); that of a frame with a given box is this box with score 1. A
      frame that cannot be read has one too, see `Result.carried`.

    Raises:
      UserError: see `video.open_frames`, `film.open_film` and `Tracker`; results of the frames before the bad one come
        first.
    """
    several: Any = box if isinstance(box, (list, tuple)) and box and isinstance(box[0], BoxTrack) else None
    count = len(box) if several is not None or has_several_boxes(box) else None
    open_it = lambda: open_tracker(checkpoint, count, **options)
    with contextlib.ExitStack() as stack:
        if several is None and start is None and stop is None and direction == FORWARDS:
            opened = stack.enter_context(video.open_frames(source))
            boxes: Any = box
            followed = follow(open_it(), opened, boxes, None if opened.live else chunk, opened.stored, look)
        else:
            film = stack.enter_context(open_film(source))
            journey = Journey(film, _targets(film, box, several, start, direction), stop, direction)
            followed = journey.follow(open_it(), chunk, look, replay=frames)
        stack.enter_context(contextlib.closing(followed))
        yield from (_with_frame(result, frame) if frames else result for frame, result in followed)


def _targets(
    film: Film, box: Any, several: Sequence[BoxTrack] | None, start: Position | None, direction: str
) -> list[Target]:
    """The targets of `track`, with the frames in which they begin."""
    at = start_of(film, start, direction, several is not None)
    if several is not None:
        return targets_of(several, "the boxes", at=at)
    boxes = box if has_several_boxes(box) else [box]
    return [Target(((at or 0, one),), number) for number, one in enumerate(boxes, start=1)]


def _with_frame(results: Results, frame: np.ndarray) -> Results:
    if isinstance(results, list):
        return [replace(result, frame=frame) for result in results]
    return replace(results, frame=frame)
