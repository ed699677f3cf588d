"""One session of `relo track`: a video and boxes in; a video with the boxes, text and JSON out, written as it runs.

Ctrl-C, and closing the window, end the tracking but not the files: they are closed properly and hold the frames until
then (this is how a camera is stopped). On the way back (`journey`) no frame is written yet, so that it leaves no file
there. Any other failure leaves no file behind.
"""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from relo_jax.bars import compiling, tqdm
from relo_jax.errors import UserError
from relo_jax.files import discard_stdout
from relo_jax.media import streams, window
from relo_jax.media.frames import Frames, Unreadable, warn
from relo_jax.tracking import writers
from relo_jax.tracking.follow import follow, has_several_boxes
from relo_jax.tracking.journey import FORWARDS, Journey, Target
from relo_jax.tracking.known_results import Results
from relo_jax.tracking.options import check_box, check_frame
from relo_jax.tracking.outputs import Outputs
from relo_jax.tracking.part import Opened, Part, open_part
from relo_jax.tracking.summary import Scores
from relo_jax.tracking.targets import Box
from relo_jax.tracking.tracker import MultiTracker, Tracker, open_tracker


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Four floats from "x,y,w,h". Raises UserError."""
    try:
        x, y, w, h = (float(v) for v in text.split(","))
    except ValueError:
        raise UserError(f"--box is {text!r}: give x,y,w,h in pixels, such as --box 120,80,64,48") from None
    if 0 <= min(x, y) and max(x, y, w, h) <= 1 and not all(map(float.is_integer, (x, y, w, h))):
        raise UserError(f"--box is {text!r}, which looks like fractions of the frame: give pixels")
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
    box_paths: Sequence[str | Path] = (),
    box_format: str | None = None,
    part: Part | None = None,
    opener: Callable[..., Tracker | MultiTracker] = open_tracker,
) -> None:
    """Tracks through a video, writes the files that were asked for, and prints a summary.

    Args:
      source: video file, folder of frames, index of a camera, or address of a stream.
      box: the target in the first frame, or in that of `part`, as "x,y,w,h" or as numbers, or a list of those for
        several targets; None selects one with the mouse.
      checkpoint: see `relo_jax.checkpoint.load`.
      save, json_path, txt_path, box_paths, box_format: see `Outputs`.
      options: options of `Tracker` to replace.
      chunk: frames that the device gets at a time, see `relo_jax.track`; for files.
      show: whether there is a window; None: if no box is given, and for a live source if somebody may be watching.
      timeout, retries: see `relo_jax.media.streams.open_address`.
      dtype: see `Tracker.from_pretrained`.
      heatmap: whether video and window show where the policy looks (`Tracker.look`), frame by frame.
      part: of the film; None: all of it, forwards.
      opener: makes the tracker, from checkpoint, number of targets (None: a Tracker) and options.

    Raises:
      UserError: bad source, box, checkpoint, option or output; no output is written then.
    """
    if not timeout > 0:
        raise UserError(f"--timeout is {timeout!r}: give seconds, such as 10")
    boxes, options, part = _boxes(box), {**(options or {}), "dtype": dtype}, part or Part()
    part.check(bool(boxes), show)
    outputs = Outputs(save, json_path, txt_path, box_paths, box_format)
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(open_part(source, boxes, part, timeout, retries))
        frames, count = opened.frames, len(opened.targets)
        outputs.check([source, *([part.box_file] if part.box_file else [])], count)
        shown = _window(stack, opened, show)
        if heatmap and save is None and shown is None:
            raise UserError("--heatmap is drawn into a video or a window: give --save FILE.mp4, or --show")
        if chunk is not None and (frames.live or shown or heatmap):
            reason = "cannot go with --heatmap" if heatmap else "is for files without a window"
            warn(f"--chunk {reason}: {frames.name} is tracked frame by frame")
            chunk = None
        interrupted, interrupt = stack.enter_context(_interrupts(frames.stop))
        open_it = lambda targets: opener(checkpoint, targets if targets > 1 else None, **options)
        work = lambda: _work(opened, checkpoint, open_it, chunk, shown, interrupted, outputs, heatmap)
        summary = work() if shown is None else shown.run(work, interrupt)
    _print(summary, outputs, frames, count)


def _print(summary: str, outputs: Outputs, frames: Frames, count: int) -> None:
    """Prints the summary and the files, for that number of targets; to stderr if the JSON has the standard output."""
    stream = sys.stderr if str(outputs.json) == writers.STDOUT else sys.stdout
    print(summary, file=stream)
    for path in outputs.paths(count):
        silent = f", without the sound of {frames.name}" if frames.has_sound and path == Path(str(outputs.save)) else ""
        print(f"written: {path}{silent}", file=stream)


def _boxes(box: str | Box | Sequence[str | Box] | None) -> list[Box]:
    if box is None:
        return []
    several = has_several_boxes(box) or isinstance(box, list) and isinstance(box[0], str)
    boxes: Any = box if several else [box]
    return [parse_box(one) if isinstance(one, str) else one for one in boxes]


def _window(stack: contextlib.ExitStack, opened: Opened, show: bool | None) -> window.Window | None:
    """A window, or None; see `track_to_files`."""
    frames, is_selected = opened.frames, opened.targets[0].boxes[0][1] is None
    if is_selected and show is False:
        raise UserError("there is no box and no window to select one in: give --box x,y,w,h")
    if is_selected:
        return stack.enter_context(window.open_window(frames.name, "give the target by --box x,y,w,h"))
    if show or (show is None and frames.live and window.is_expected()):
        return stack.enter_context(window.open_window(frames.name, "track without --show, or with --no-show"))
    return None


def _work(
    opened: Opened,
    checkpoint: str | Path,
    open_it: Callable[[int], Tracker | MultiTracker],
    chunk: int | None,
    shown: window.Window | None,
    interrupted: threading.Event,
    outputs: Outputs,
    look: bool,
) -> str:
    """Everything but the window. Returns the summary."""
    frames, journey, targets = opened.frames, opened.journey, opened.targets
    count = len(targets)
    with outputs.open(frames, targets, checkpoint, opened.count) as written:
        first = _first(frames, journey)
        for target in targets:
            _check_boxes(target, first)  # before the model is loaded and compiled
        with compiling("the tracker"):
            tracker = open_it(count)
        if not tracker.calibrated:
            warn(f"the score of {checkpoint} is not calibrated, so that 'found' says little: see relo calibrate")
        if frames.stop.is_set():
            raise KeyboardInterrupt
        if frames.live:
            # The first frame is one of now rather than one of before the compilation.
            tracker.prepare(*first.shape[:2])
            first = _first(frames, None)
        if shown is not None and targets[0].boxes[0][1] is None:
            first, box = shown.ask(frames, first)
            targets[0] = replace(targets[0], boxes=((targets[0].start, box),))
        if frames.live:
            frames.restart()
        for target in targets:
            _check_boxes(target, first)
        if shown is not None and (journey is None or journey.direction == FORWARDS):
            written = [*written, _window_writer(shown, tracker)]
        if journey is not None:
            followed = journey.follow(tracker, chunk, look, progress=True)
        else:
            boxes: Any = [target.boxes[0][1] for target in targets]
            images = _chained(first, frames)
            followed = follow(tracker, images, boxes if count > 1 else boxes[0], chunk, frames.stored, look)
        return _run(followed, frames, written, interrupted, Scores(tracker.options["found_threshold"], frames.number))


def _check_boxes(target: Target, frame: np.ndarray) -> None:
    for _, box in target.boxes:
        if box is not None:
            check_box(box, frame)


def _first(frames: Frames, journey: Journey | None) -> np.ndarray:
    """The frame of the first box."""
    first = next(iter(frames), None) if journey is None else journey.first_frame()
    if frames.stop.is_set():
        raise KeyboardInterrupt
    if isinstance(first, Unreadable):
        which = "first frame: let the video begin after it" if journey is None else "frame: give one near it by --from"
        raise UserError(f"{first.message}, but the box belongs to the {which}")
    if first is None:
        ended = "ended before the first frame" if frames.live else "has no frames" if journey is None else "is shorter"
        raise UserError(f"{frames.name}: {ended}")
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
        for number, (frame, result) in enumerate(results, start=frames.number):
            frames.number = number
            result = result if isinstance(result, list) else [result]
            try:
                for write in opened:
                    write(frame, result, frames)
            except BrokenPipeError:
                enough = True
                discard_stdout()
            resized += shape not in (None, frame.shape)
            count, carried, shape = count + 1, carried + writers.is_carried(result), frame.shape
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
