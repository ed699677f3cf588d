"""Writers of tracked frames: text, JSON, lines of JSON, files of boxes, a video.

Each is a function of (frame, results, frames), where `results` has one Result a target, in the order of the boxes, and
`frames.number` is the frame's number. Files are written whole or not at all, but for lines of JSON, which are for
programs that read along: each line is there as soon as its frame is done.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from relo_jax.errors import UserError
from relo_jax.files import atomic_write
from relo_jax.media import video
from relo_jax.media.frames import Frames
from relo_jax.media.overlay import draw
from relo_jax.tracking.box_files.formats import FORMATS, format_of
from relo_jax.tracking.box_files.tracks import BoxTrack, FilmFacts, TrackBox, is_box
from relo_jax.tracking.journey import Target
from relo_jax.tracking.targets import Result

Writer = Callable[[np.ndarray, list[Result], Frames], object]
STDOUT = "-"


def is_lines(path: str | Path) -> bool:
    """Whether the path takes JSON lines, one a frame."""
    return str(path) == STDOUT or Path(path).suffix == ".jsonl"


def text_paths(path: str | Path, count: int) -> list[Path]:
    """The file of each target: `boxes.txt` for one, `boxes_1.txt`, `boxes_2.txt` for two."""
    path = Path(path)
    return [path] if count == 1 else [path.with_stem(f"{path.stem}_{k}") for k in range(1, count + 1)]


def text_writer(files: contextlib.ExitStack, path: str | Path, count: int) -> Writer:
    """Writes a line x,y,w,h a frame, into a file a target; `files` closes them."""
    opened = [files.enter_context(files.enter_context(atomic_write(p)).open("w")) for p in text_paths(path, count)]

    def write(frame: np.ndarray, results: list[Result], frames: Frames) -> None:
        for file, result in zip(opened, results, strict=True):
            file.write(",".join(f"{v:.4f}" for v in result.box) + "\n")

    return write


def video_writer(files: contextlib.ExitStack, path: str | Path, frames: Frames) -> Writer:
    """Writes the frames with the boxes drawn, at the times that they have, counted from the first of them."""
    write_frame = files.enter_context(video.write_video(path, frames.rate, frames.tick))
    first: float | None = None

    def write(frame: np.ndarray, results: list[Result], frames: Frames) -> None:
        nonlocal first
        is_timed = frames.live or frames.tick is not None
        first = frames.time if first is None else first
        write_frame(draw(frame, results), seconds=frames.time - first if is_timed else None)

    return write


def json_writer(files: contextlib.ExitStack, path: str | Path, frames: Frames, checkpoint: str | Path) -> Writer:
    """Writes one object with a list of frames, as they come, and the counters at the end."""
    file = files.enter_context(files.enter_context(atomic_write(path)).open("w"))
    about = {"source": frames.name, "checkpoint": str(checkpoint), "format": "x,y,w,h in pixels, 0-based"}
    file.write(json.dumps(about)[:-1] + ', "frames": [')
    count = carried = 0

    def end() -> None:
        counts = {"carried": carried, "damaged": frames.damaged, "dropped": frames.dropped, "lost": frames.lost}
        file.write("\n], " + json.dumps(counts)[1:] + "\n")

    def write(frame: np.ndarray, results: list[Result], frames: Frames) -> None:
        nonlocal count, carried
        carried += is_carried(results)
        file.write((",\n" if count else "\n") + json.dumps(_row(results, frames)))
        count += 1

    files.callback(end)
    return write


def json_lines_writer(files: contextlib.ExitStack, path: str | Path) -> Writer:
    """Writes a line of JSON a frame, flushed at once."""
    file = None

    def write(frame: np.ndarray, results: list[Result], frames: Frames) -> None:
        nonlocal file
        try:
            if file is None:  # opened with the first line, so that a mistake leaves an older file as it was
                file = sys.stdout if str(path) == STDOUT else files.enter_context(open(path, "w"))
            file.write(json.dumps(_row(results, frames)) + "\n")
            file.flush()
        except BrokenPipeError:
            raise  # the reader has enough
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror or error}") from error

    return write


def box_writer(
    files: contextlib.ExitStack, path: str | Path, format: str | None, targets: Sequence[Target], count: int | None
) -> Writer:
    """Writes a file of boxes, see `box_files`, at the end.

    Args:
      files: closes the file.
      path: of the file.
      format: see `box_files.formats`.
      targets: have ids and labels.
      count: number of frames of the film, if only a part of it is written.
    """
    temporary = files.enter_context(atomic_write(path))
    tracks = [BoxTrack(target.id, target.label) for target in targets]
    facts: FilmFacts | None = None

    def write(frame: np.ndarray, results: list[Result], frames: Frames) -> None:
        nonlocal facts
        if facts is None:
            height, width = frame.shape[:2]
            facts = FilmFacts(Path(frames.name).name, width, height, count, float(frames.rate), frames.names)
        facts.count = frames.count if count is None and not frames.live else count
        for track, result in zip(tracks, results, strict=True):
            if is_box(result.box):
                track.boxes.append(TrackBox(frames.number, result.box, result.score, result.found, time=frames.time))

    def end() -> None:
        if facts is not None:
            FORMATS[format_of(path, format)].write(temporary, tracks, facts)

    files.callback(end)
    return write


def _row(results: list[Result], frames: Frames) -> dict:
    row: dict = {"frame": frames.number}
    if frames.live:
        row |= {"time": round(frames.seconds or 0.0, 4), "dropped": frames.dropped}
    targets = [_target(result) for result in results]
    row |= targets[0] if len(targets) == 1 else {"targets": targets}
    return row | {"carried": is_carried(results)}


def is_carried(results: Sequence[Result]) -> bool:
    """Whether the frame could not be read; a target before its first box has nothing that could be carried."""
    return any(result.carried for result in results)


def _target(result: Result) -> dict:
    box = [round(v, 4) for v in result.box] if is_box(result.box) else None  # before its first box
    return {"box": box, "score": round(result.score, 4), "found": result.found}
