"""`relo track`: a video and a box in; an overlay video, boxes as text and as JSON out, written while it runs.

Ctrl-C ends the tracking, not the files: they are closed properly and hold the frames until then (a camera is meant to
be stopped that way). Whatever fails otherwise leaves no file behind.
"""

import contextlib
import json
import signal
import threading
import time
from pathlib import Path

from tqdm import tqdm

from relo_jax import video
from relo_jax.checks import check_box
from relo_jax.errors import UserError
from relo_jax.files import whole_file
from relo_jax.overlay import draw
from relo_jax.tracker import Tracker, follow


def parse_box(text):
    """Four floats from "x,y,w,h". Raises UserError."""
    try:
        x, y, w, h = (float(v) for v in text.split(","))
    except ValueError:
        raise UserError(f"--box is {text!r}: give x,y,w,h in pixels, such as --box 120,80,64,48") from None
    return x, y, w, h


def track_command(
    source, box, checkpoint="starter", save=None, json_path=None, txt_path=None, options=None, chunk=None
):
    """Tracks through a video, writes what was asked for, and prints how it went.

    Args:
      source: video file, folder of frames, or index of a camera.
      box: x, y, w, h of the target in the first frame, as "x,y,w,h" or as numbers.
      checkpoint: see `relo_jax.checkpoint.load`.
      save: video file for the frames with the box and its score drawn on them.
      json_path: file for boxes, scores and what was found.
      txt_path: file for one line `x,y,w,h` a frame.
      options: options of `Tracker` to replace.
      chunk: frames that the device is given at a time, see `relo_jax.track`.

    Raises:
      UserError: bad source, box, checkpoint, option or output; no output is written then.
    """
    box = parse_box(box) if isinstance(box, str) else box
    outputs = [Path(p) for p in (save, json_path, txt_path) if p is not None]
    for path in outputs:
        others = [other for other in outputs if other is not path] + [Path(str(source))]
        if path.resolve() in [other.resolve() for other in others]:
            raise UserError(f"{path} is used twice: give every output a file of its own")
    with video.open_frames(source) as frames, contextlib.ExitStack() as files:
        sinks = [_text_sink(files, txt_path)] if txt_path is not None else []
        if json_path is not None:
            sinks.append(_json_sink(files, json_path, frames, checkpoint))
        if save is not None:
            write = files.enter_context(video.write_video(save, frames.rate))
            sinks.append(lambda frame, result: write(draw(frame, result)))
        first = _Peeked(frames)
        check_box(box, first.frame)  # before the model is loaded and compiled
        tracker = Tracker.from_pretrained(checkpoint, **(options or {}))
        story = _run(tracker, first, frames, box, sinks, chunk)
    print(story)
    for path in outputs:
        print(f"written: {path}")


class _Peeked:
    """An iterable whose first item was looked at."""

    def __init__(self, frames):
        self._rest = iter(frames)
        self.frame = next(self._rest, None)
        if self.frame is None:
            raise UserError(f"{frames.name} has no frames")

    def __iter__(self):
        yield self.frame
        yield from self._rest


def _run(tracker, images, frames, box, sinks, chunk):
    """Tracks to the end, or until Ctrl-C. Returns the line that says how it went."""
    count = found = 0
    start = time.perf_counter()
    progress = tqdm(total=frames.count, unit=" frames", desc=Path(frames.name).name)
    followed = contextlib.closing(follow(tracker, images, box, chunk))
    with _interrupts() as interrupted, progress as bar, followed as results:
        for frame, result in results:
            for sink in sinks:
                sink(frame, result)
            count, found = count + 1, found + result.found
            bar.update()
            if interrupted.is_set():
                break
    seconds = time.perf_counter() - start
    ended = "interrupted after " if interrupted.is_set() else ""
    short = ""
    if not ended and frames.count and count < frames.count:
        short = f"; its header promised {frames.count}: is the file complete?"
    speed = f"{count / seconds:.1f} frames/s, reading and writing included"
    return f"{frames.name}: {ended}{count} frames, target found in {found}, {speed}{short}"


@contextlib.contextmanager
def _interrupts():
    """An event that Ctrl-C sets, so that no frame is left half-written; a second Ctrl-C interrupts as ever."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    before = signal.getsignal(signal.SIGINT)

    def press(number, stack):
        pressed.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _text_sink(files, path):
    file = files.enter_context(files.enter_context(whole_file(path)).open("w"))
    return lambda frame, result: file.write(",".join(f"{v:.4f}" for v in result.box) + "\n")


def _json_sink(files, path, frames, checkpoint):
    """One object with a list of frames, written as they come: it is never held in memory."""
    file = files.enter_context(files.enter_context(whole_file(path)).open("w"))
    about = {"source": frames.name, "checkpoint": str(checkpoint), "format": "x,y,w,h in pixels, 0-based"}
    file.write(json.dumps(about)[:-1] + ', "frames": [')
    files.callback(file.write, "\n]}\n")
    number = 0

    def sink(frame, result):
        nonlocal number
        row = {
            "frame": number,
            "box": [round(v, 4) for v in result.box],
            "score": round(result.score, 4),
            "found": result.found,
        }
        file.write((",\n" if number else "\n") + json.dumps(row))
        number += 1

    return sink
