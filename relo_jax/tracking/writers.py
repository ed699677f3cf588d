"""Writers of tracked frames: text, JSON, lines of JSON, a video. Each is a function of (frame, results, frames).

`results` has one Result a target, in the order of the boxes. Text and JSON are written whole or not at all. Lines of
JSON are for programs that read along: each line is there as soon as its frame is done.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from relo_jax.errors import UserError
from relo_jax.files import atomic_write
from relo_jax.media import video
from relo_jax.media.frames import Frames
from relo_jax.media.overlay import draw
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
    """Writes the frames with the boxes drawn; those of a live source keep the times when they were taken."""
    write_frame = files.enter_context(video.write_video(path, frames.rate))
    return lambda frame, results, frames: write_frame(draw(frame, results), seconds=frames.seconds)


def json_writer(files: contextlib.ExitStack, path: str | Path, frames: Frames, checkpoint: str | Path) -> Writer:
    """Writes one object with a list of frames, as they come, and the counters at the end."""
    file = files.enter_context(files.enter_context(atomic_write(path)).open("w"))
    about = {"source": frames.name, "checkpoint": str(checkpoint), "format": "x,y,w,h in pixels, 0-based"}
    file.write(json.dumps(about)[:-1] + ', "frames": [')
    number = carried = 0

    def end() -> None:
        counts = {"carried": carried, "damaged": frames.damaged, "dropped": frames.dropped, "lost": frames.lost}
        file.write("\n], " + json.dumps(counts)[1:] + "\n")

    def write(frame: np.ndarray, results: list[Result], frames: Frames) -> None:
        nonlocal number, carried
        carried += results[0].carried
        file.write((",\n" if number else "\n") + json.dumps(_row(number, results, frames)))
        number += 1

    files.callback(end)
    return write


def json_lines_writer(files: contextlib.ExitStack, path: str | Path) -> Writer:
    """Writes a line of JSON a frame, flushed at once."""
    number, file = 0, None

    def write(frame: np.ndarray, results: list[Result], frames: Frames) -> None:
        nonlocal number, file
        try:
            if file is None:  # opened with the first line, so that a mistake leaves an older file as it was
                file = sys.stdout if str(path) == STDOUT else files.enter_context(open(path, "w"))
            file.write(json.dumps(_row(number, results, frames)) + "\n")
            file.flush()
        except BrokenPipeError:
            raise  # the reader has enough
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
        number += 1

    return write


def _row(number: int, results: list[Result], frames: Frames) -> dict:
    row: dict = {"frame": number}
    if frames.live:
        row |= {"time": round(frames.seconds or 0.0, 4), "dropped": frames.dropped}
    targets = [_target(result) for result in results]
    row |= targets[0] if len(targets) == 1 else {"targets": targets}
    return row | {"carried": results[0].carried}


def _target(result: Result) -> dict:
    return {"box": [round(v, 4) for v in result.box], "score": round(result.score, 4), "found": result.found}


@contextlib.contextmanager
def open_writers(
    frames: Frames,
    count: int,
    checkpoint: str | Path,
    save: str | Path | None = None,
    json_path: str | Path | None = None,
    txt_path: str | Path | None = None,
) -> Iterator[list[Writer]]:
    """The writers of the given paths; their files are finished when the block ends well, and gone when it fails."""
    with contextlib.ExitStack() as files:
        writers = [text_writer(files, txt_path, count)] if txt_path is not None else []
        if json_path is not None and is_lines(json_path):
            writers.append(json_lines_writer(files, json_path))
        elif json_path is not None:
            writers.append(json_writer(files, json_path, frames, checkpoint))
        if save is not None:
            writers.append(video_writer(files, save, frames))
        yield writers
