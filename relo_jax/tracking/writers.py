"""Where tracked frames go: text, JSON, lines of JSON, a video. Each sink is a function of (frame, results, frames).

`results` is a list of K, in the order of the boxes. Text and JSON are written whole or not at all; lines of JSON are
for whoever reads along, and are there as soon as a frame is done.
"""

import contextlib
import json
import sys
from pathlib import Path

from relo_jax.errors import UserError
from relo_jax.files import atomic_write
from relo_jax.media import video
from relo_jax.media.overlay import draw

STDOUT = "-"


def is_lines(path):
    """Whether JSON goes there a line a frame."""
    return str(path) == STDOUT or Path(path).suffix == ".jsonl"


def text_paths(path, count):
    """The file of each target: `boxes.txt` for one, `boxes_1.txt`, `boxes_2.txt` for two."""
    path = Path(path)
    return [path] if count == 1 else [path.with_stem(f"{path.stem}_{k}") for k in range(1, count + 1)]


def text_writer(files, path, count):
    """A line x,y,w,h a frame, in a file a target. files: ExitStack that closes them."""
    opened = [files.enter_context(files.enter_context(atomic_write(p)).open("w")) for p in text_paths(path, count)]

    def sink(frame, results, frames):
        for file, result in zip(opened, results, strict=True):
            file.write(",".join(f"{v:.4f}" for v in result.box) + "\n")

    return sink


def video_writer(files, path, frames):
    """The frames with the boxes drawn on them; those of a live source at the times when they were taken."""
    write = files.enter_context(video.write_video(path, frames.rate))
    return lambda frame, results, frames: write(draw(frame, results), seconds=frames.seconds)


def json_writer(files, path, frames, checkpoint):
    """One object with a list of frames, written as they come (it is never held in memory), and what was counted."""
    file = files.enter_context(files.enter_context(atomic_write(path)).open("w"))
    about = {"source": frames.name, "checkpoint": str(checkpoint), "format": "x,y,w,h in pixels, 0-based"}
    file.write(json.dumps(about)[:-1] + ', "frames": [')
    number = carried = 0

    def end():
        counts = {"carried": carried, "damaged": frames.damaged, "dropped": frames.dropped, "lost": frames.lost}
        file.write("\n], " + json.dumps(counts)[1:] + "\n")

    def sink(frame, results, frames):
        nonlocal number, carried
        carried += results[0].carried
        file.write((",\n" if number else "\n") + json.dumps(_row(number, results, frames)))
        number += 1

    files.callback(end)
    return sink


def json_lines_writer(files, path):
    """A line of JSON a frame, each written out at once."""
    number, file = 0, None

    def sink(frame, results, frames):
        nonlocal number, file
        try:
            if file is None:  # not before there is something to write: a mistake leaves an older file as it was
                file = sys.stdout if str(path) == STDOUT else files.enter_context(open(path, "w"))
            file.write(json.dumps(_row(number, results, frames)) + "\n")
            file.flush()
        except BrokenPipeError:
            raise  # whoever read along has enough
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
        number += 1

    return sink


def _row(number, results, frames):
    row = {"frame": number}
    if frames.live:
        row |= {"time": round(frames.seconds, 4), "dropped": frames.dropped}
    targets = [_target(result) for result in results]
    row |= targets[0] if len(targets) == 1 else {"targets": targets}
    return row | {"carried": results[0].carried}


def _target(result):
    return {"box": [round(v, 4) for v in result.box], "score": round(result.score, 4), "found": result.found}


@contextlib.contextmanager
def open_writers(frames, count, checkpoint, save=None, json_path=None, txt_path=None):
    """The sinks that were asked for; files are finished when the block ends well, and gone when it fails."""
    with contextlib.ExitStack() as files:
        sinks = [text_writer(files, txt_path, count)] if txt_path is not None else []
        if json_path is not None and is_lines(json_path):
            sinks.append(json_lines_writer(files, json_path))
        elif json_path is not None:
            sinks.append(json_writer(files, json_path, frames, checkpoint))
        if save is not None:
            sinks.append(video_writer(files, save, frames))
        yield sinks
