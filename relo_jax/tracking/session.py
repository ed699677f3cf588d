"""One session of `relo track`: a video and boxes in; a video with the boxes, text and JSON out, written as it runs.

Ctrl-C, and closing the window, end the tracking but not the files: they are closed properly and hold the frames until
then (this is how a camera is stopped). Any other failure leaves no file behind.
"""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from relo_jax.bars import tqdm
from relo_jax.errors import UserError
from relo_jax.files import discard_stdout
from relo_jax.media import streams, video, window
from relo_jax.media.frames import Frames, Unreadable, warn
from relo_jax.tracking import writers
from relo_jax.tracking.follow import Results, follow, has_several_boxes
from relo_jax.tracking.options import check_box, check_frame
from relo_jax.tracking.summary import Scores
from relo_jax.tracking.targets import Box
from relo_jax.tracking.tracker import MultiTracker, Tracker, open_tracker


@dataclass(frozen=True)
class Outputs:
    """Files that a session writes; None: not this one.

    Attributes:
      save: video with the boxes and scores drawn.
      json: boxes, scores and counters: one object, or a line a frame if the name ends in .jsonl or is "-", the standard
        output.
      txt: a line `x,y,w,h` a frame; a file each for several targets, see `writers.text_paths`.
    """

    save: str | Path | None = None
    json: str | Path | None = None
    txt: str | Path | None = None

    def paths(self, count: int) -> list[Path]:
        """All files, for that number of targets."""
        paths = [Path(p) for p in (self.save, self.json) if p is not None and str(p) != writers.STDOUT]
        return paths + (writers.text_paths(self.txt, count) if self.txt is not None else [])

    def check(self, source: object, count: int) -> None:
        """Raises UserError where two files, or a file and the source, are the same."""
        paths = self.paths(count)
        for path in paths:
            others = [other for other in paths if other is not path] + [Path(str(source))]
            if path.resolve() in [other.resolve() for other in others]:
                raise UserError(f"{path} is used twice: give every output a file of its own")


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Four floats from "x,y,w,h". Raises UserError."""
    try:
        x, y, w, h = (float(v) for v in text.split(","))
    except ValueError:
        raise UserError(f"--box is {text!r}: give x,y,w,h in pixels, such as --box 120,80,64,48") from None
    return x, y, w, h


def track_to_files(
    source: str | Path | int | Iterable[np.ndarray],
    box: str | Box | Sequence[str | Box] | None = None,
    checkpoint: str | Path = "starter",
    save: str | Path | None = None,
    json_path: str | Path | None = None,
    txt_path: str | Path | None = None,
    options: dict | None = None,
    chunk: int | None = None,
    show: bool | None = None,
    timeout: float = streams.TIMEOUT,
    retries: int = streams.RETRIES,
    dtype: str | None = None,
    heatmap: bool = False,
) -> None:
    """Tracks through a video, writes the files that were asked for, and prints a summary.

    Args:
      source: video file, folder of frames, index of a camera, or address of a stream.
      box: the target in the first frame, as "x,y,w,h" or as numbers, or a list of those for several targets; None
        selects one with the mouse.
      checkpoint: see `relo_jax.checkpoint.load`.
      save, json_path, txt_path: see `Outputs`.
      options: options of `Tracker` to replace.
      chunk: frames that the device gets at a time, see `relo_jax.track`; for files.
      show: whether there is a window; None: if no box is given, and for a live source if somebody may be watching.
      timeout, retries: see `relo_jax.media.streams.open_address`.
      dtype: see `Tracker.from_pretrained`.
      heatmap: whether video and window show where the policy looks (`Tracker.look`), frame by frame.

    Raises:
      UserError: bad source, box, checkpoint, option or output; no output is written then.
    """
    if not timeout > 0:
        raise UserError(f"--timeout is {timeout!r}: give seconds, such as 10")
    boxes, options = _boxes(box), {**(options or {}), "dtype": dtype}
    outputs, count = Outputs(save, json_path, txt_path), max(len(boxes), 1)
    outputs.check(source, count)
    with contextlib.ExitStack() as stack:
        frames = stack.enter_context(video.open_frames(source, timeout, retries))
        shown = _window(stack, frames, boxes, show)
        if heatmap and save is None and shown is None:
            raise UserError("--heatmap is drawn into a video or a window: give --save FILE.mp4, or --show")
        if chunk is not None and (frames.live or shown or heatmap):
            reason = "without --heatmap" if heatmap else "for files without a window"
            warn(f"--chunk is {reason}: {frames.name} is tracked frame by frame")
            chunk = None
        interrupted, interrupt = stack.enter_context(_interrupts(frames.stop))
        work = lambda: _work(frames, boxes, checkpoint, options, chunk, shown, interrupted, outputs, heatmap)
        summary = work() if shown is None else shown.run(work, interrupt)
    stream = sys.stderr if str(json_path) == writers.STDOUT else sys.stdout
    print(summary, file=stream)
    for path in outputs.paths(count):
        print(f"written: {path}", file=stream)


def _boxes(box: str | Box | Sequence[str | Box] | None) -> list[Box]:
    if box is None:
        return []
    several = has_several_boxes(box) or isinstance(box, list) and isinstance(box[0], str)
    boxes: Any = box if several else [box]
    return [parse_box(one) if isinstance(one, str) else one for one in boxes]


def _window(stack: contextlib.ExitStack, frames: Frames, boxes: list[Box], show: bool | None) -> window.Window | None:
    """A window, or None; see `track_to_files`."""
    if not boxes and show is False:
        raise UserError("there is no box and no window to select one in: give --box x,y,w,h")
    if not boxes:
        return stack.enter_context(window.open_window(frames.name, "give the target by --box x,y,w,h"))
    if show or (show is None and frames.live and window.is_expected()):
        return stack.enter_context(window.open_window(frames.name, "track without --show, or with --no-show"))
    return None


def _work(
    frames: Frames,
    boxes: list[Box],
    checkpoint: str | Path,
    options: dict,
    chunk: int | None,
    shown: window.Window | None,
    interrupted: threading.Event,
    outputs: Outputs,
    look: bool,
) -> str:
    """Everything but the window. Returns the summary."""
    count = max(len(boxes), 1)
    with writers.open_writers(frames, count, checkpoint, outputs.save, outputs.json, outputs.txt) as opened:
        first = _first(frames)
        for box in boxes:
            check_box(box, first)  # before the model is loaded and compiled
        tracker = open_tracker(checkpoint, count if count > 1 else None, **options)
        if not tracker.calibrated:
            warn(f"the score of {checkpoint} is not calibrated, so that 'found' says little: see relo calibrate")
        if frames.stop.is_set():
            raise KeyboardInterrupt
        if frames.live:
            # The first frame is one of now rather than one of before the compilation.
            tracker.prepare(*first.shape[:2])
            first = _first(frames)
        if shown is not None and not boxes:
            first, box = shown.ask(frames, first)
            boxes = [box]
        if frames.live:
            frames.restart()
        for box in boxes:
            check_box(box, first)
        if shown is not None:
            opened = [*opened, _window_writer(shown, tracker)]
        images = _chained(first, frames)
        followed = follow(tracker, images, boxes if count > 1 else boxes[0], chunk, frames.stored, look)
        return _run(followed, frames, opened, interrupted, Scores(tracker.options["found_threshold"]))


def _first(frames: Frames) -> np.ndarray:
    first = next(iter(frames), None)
    if frames.stop.is_set():
        raise KeyboardInterrupt
    if isinstance(first, Unreadable):
        raise UserError(f"{first.message}, but the box belongs to the first frame: let the video begin after it")
    if first is None:
        raise UserError(f"{frames.name}: " + ("ended before the first frame" if frames.live else "has no frames"))
    check_frame(first)
    return first


def _chained(first: np.ndarray, frames: Frames) -> Iterator[np.ndarray | Unreadable]:
    yield first
    yield from frames


def _window_writer(shown: window.Window, tracker: Tracker | MultiTracker) -> writers.Writer:
    """Shows a frame, waits while it is paused, and begins anew where the user selected another target.

    A file plays no faster than it was taken: somebody watches it, and may want to pause.
    """
    due = time.monotonic()

    def write(frame: np.ndarray, results: list, frames: Frames) -> None:
        nonlocal due
        selected = shown.show(frame, results)
        if selected is not None and isinstance(tracker, MultiTracker):
            tracker.init_one(selected.index, selected.frame, selected.box)
        elif selected is not None:
            tracker.init(selected.frame, selected.box)  # type: ignore[arg-type]  # no MultiTracker here
        if not frames.live:
            now = time.monotonic()
            due = max(due + float(1 / frames.rate), now)
            frames.stop.wait(due - now)

    return write


def _run(
    followed: Generator[tuple[np.ndarray, Results], None, None],
    frames: Frames,
    opened: list[writers.Writer],
    interrupted: threading.Event,
    scores: Scores,
) -> str:
    """Tracks to the end, or until it is interrupted. Returns the summary."""
    count = carried = resized = 0
    shape, start, enough = None, time.perf_counter(), False
    progress = tqdm(total=frames.count, unit=" frames", desc=Path(frames.name).name)
    with progress as bar, contextlib.closing(followed) as results:
        for frame, result in results:
            result = result if isinstance(result, list) else [result]
            try:
                for write in opened:
                    write(frame, result, frames)
            except BrokenPipeError:
                enough = True
                discard_stdout()
            resized += shape not in (None, frame.shape)
            count, carried, shape = count + 1, carried + result[0].carried, frame.shape
            scores.add(result)
            bar.update()
            if interrupted.is_set() or enough:
                break
    speed = f"{count / (time.perf_counter() - start):.1f} frames/s, reading and writing included"
    ended = "interrupted after " if interrupted.is_set() or enough else ""
    summary = f"{frames.name}: {ended}{count} frames, {scores.summary()}, {speed}"
    notes = _notes(frames, carried, resized)
    if not ended and not frames.live and frames.count and count < frames.count:
        notes.append(f"its header promised {frames.count}: is the file complete?")
    return "; ".join([summary, *notes])


def _notes(frames: Frames, carried: int, resized: int) -> list[str]:
    notes = {
        "frames that could not be read, the last box carried over them": carried,
        "frames damaged in part": frames.damaged,
        "changes of size": resized,
        "frames dropped for newer ones": frames.dropped,
        "times broken off or stalled": frames.lost,
    }
    return [f"{what}: {count}" for what, count in notes.items() if count]


@contextlib.contextmanager
def _interrupts(stop: threading.Event) -> Iterator[tuple[threading.Event, Callable[[], None]]]:
    """Lets Ctrl-C set an event, so that no frame is left half-written; a second Ctrl-C interrupts as usual.

    Args:
      stop: an event to set with it: that of the frames, which may be waiting for a camera.

    Yields:
      the event, and a function that sets both, as Ctrl-C does.
    """
    pressed = threading.Event()

    def interrupt() -> None:
        pressed.set()
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield pressed, interrupt
        return
    before = signal.getsignal(signal.SIGINT)

    def press(number: int, stack: object) -> None:
        interrupt()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, press)
    try:
        yield pressed, interrupt
    finally:
        signal.signal(signal.SIGINT, before)
