"""One session of `relo track`: a video and boxes in; a video with the boxes, text and JSON out, written as it runs.

Ctrl-C, and closing the window, end the tracking, not the files: they are closed properly and hold the frames until then
(a camera is meant to be stopped that way). Whatever fails otherwise leaves no file behind.
"""

import contextlib
import signal
import sys
import threading
import time
from pathlib import Path

from tqdm import tqdm

from relo_jax.errors import UserError
from relo_jax.files import discard_stdout
from relo_jax.media import streams, video, window
from relo_jax.media.frames import Unreadable, warn
from relo_jax.tracking import writers
from relo_jax.tracking.follow import follow, has_several_boxes
from relo_jax.tracking.options import check_box, check_frame
from relo_jax.tracking.tracker import MultiTracker, Tracker


def parse_box(text):
    """Four floats from "x,y,w,h". Raises UserError."""
    try:
        x, y, w, h = (float(v) for v in text.split(","))
    except ValueError:
        raise UserError(f"--box is {text!r}: give x,y,w,h in pixels, such as --box 120,80,64,48") from None
    return x, y, w, h


def track_to_files(
    source, box=None, checkpoint="starter", save=None, json_path=None, txt_path=None, options=None, chunk=None,
    show=None, timeout=streams.TIMEOUT, retries=streams.RETRIES, dtype=None,
):  # fmt: skip
    """Tracks through a video, writes what was asked for, and prints how it went.

    Args:
      source: video file, folder of frames, index of a camera, or address of a stream.
      box: x, y, w, h of the target in the first frame, as "x,y,w,h" or as numbers, or a list of those for several
        targets; None selects one with the mouse.
      checkpoint: see `relo_jax.checkpoint.load`.
      save: video file for the frames with the box and its score drawn on them.
      json_path: file for boxes, scores and what was found: one object, or a line a frame where the name ends in .jsonl
        or is "-", which is the standard output.
      txt_path: file for one line `x,y,w,h` a frame; for several targets one file each, see `sinks.text_paths`.
      options: options of `Tracker` to replace.
      chunk: frames that the device is given at a time, see `relo_jax.track`; for files.
      show: whether there is a window; None where no box is given, and for a live source where somebody is looking.
      timeout, retries: see `relo_jax.media.streams.open_address`.
      dtype: see `Tracker.from_pretrained`.

    Raises:
      UserError: bad source, box, checkpoint, option or output; no output is written then.
    """
    if not timeout > 0:
        raise UserError(f"--timeout is {timeout!r}: give seconds, such as 10")
    boxes, options = _boxes(box), {**(options or {}), "dtype": dtype}
    outputs = _outputs(source, max(len(boxes), 1), save, json_path, txt_path)
    with contextlib.ExitStack() as stack:
        frames = stack.enter_context(video.open_frames(source, timeout, retries))
        shown = _window(stack, frames, boxes, show)
        if chunk is not None and (frames.live or shown):
            warn(f"--chunk is for files without a window: {frames.name} is tracked frame by frame")
            chunk = None
        interrupted, interrupt = stack.enter_context(_interrupts(frames.stop))
        work = lambda: _work(frames, boxes, checkpoint, options, chunk, shown, interrupted, save, json_path, txt_path)
        story = work() if shown is None else shown.run(work, interrupt)
    said = sys.stderr if str(json_path) == writers.STDOUT else sys.stdout
    print(story, file=said)
    for path in outputs:
        print(f"written: {path}", file=said)


def _boxes(box):
    if box is None:
        return []
    several = has_several_boxes(box) or isinstance(box, list) and isinstance(box[0], str)
    return [parse_box(one) if isinstance(one, str) else one for one in (box if several else [box])]


def _outputs(source, count, save, json_path, txt_path):
    """Paths of the files that will be there. Raises UserError where two are the same."""
    outputs = [Path(p) for p in (save, json_path) if p is not None and str(p) != writers.STDOUT]
    outputs += writers.text_paths(txt_path, count) if txt_path is not None else []
    for path in outputs:
        others = [other for other in outputs if other is not path] + [Path(str(source))]
        if path.resolve() in [other.resolve() for other in others]:
            raise UserError(f"{path} is used twice: give every output a file of its own")
    return outputs


def _window(stack, frames, boxes, show):
    """A window, or None; see `track_to_files`."""
    if not boxes and show is False:
        raise UserError("there is no box and no window to select one in: give --box x,y,w,h")
    if not boxes:
        return stack.enter_context(window.open_window(frames.name, "give the target by --box x,y,w,h"))
    if show or (show is None and frames.live and window.somebody_looks()):
        return stack.enter_context(window.open_window(frames.name, "track without --show, or with --no-show"))
    return None


def _work(frames, boxes, checkpoint, options, chunk, shown, interrupted, save, json_path, txt_path):
    """All that is not the window: returns the line that says how it went."""
    with writers.open_writers(frames, max(len(boxes), 1), checkpoint, save, json_path, txt_path) as outputs:
        first = _first(frames)
        for box in boxes:
            check_box(box, first)  # before the model is loaded and compiled
        if len(boxes) > 1:
            tracker = MultiTracker.from_pretrained(checkpoint, targets=len(boxes), **options)
        else:
            tracker = Tracker.from_pretrained(checkpoint, **options)
        if not tracker.calibrated:
            warn(f"the score of {checkpoint} is not calibrated, so that 'found' says little: see relo calibrate")
        if frames.stop.is_set():
            raise KeyboardInterrupt
        if frames.live:
            # The first frame is one of now, and not of before the compilation.
            tracker.prepare(*first.shape[:2])
            first = _first(frames)
        if not boxes:
            first, box = shown.ask(frames, first)
            boxes = [box]
        if frames.live:
            frames.restart()
        for box in boxes:
            check_box(box, first)
        if shown is not None:
            outputs = [*outputs, _seen(shown, tracker)]
        images = _chained(first, frames)
        followed = follow(tracker, images, boxes if len(boxes) > 1 else boxes[0], chunk)
        return _run(followed, frames, outputs, interrupted)


def _first(frames):
    first = next(iter(frames), None)
    if frames.stop.is_set():
        raise KeyboardInterrupt
    if isinstance(first, Unreadable):
        raise UserError(f"{first.why}, and the box is given in the first frame: let the video begin behind it")
    if first is None:
        raise UserError(f"{frames.name}: " + ("ended before the first frame" if frames.live else "has no frames"))
    check_frame(first)
    return first


def _chained(first, frames):
    yield first
    yield from frames


def _seen(shown, tracker):
    """A sink that shows a frame, waits while it is paused, and begins anew where somebody selected another target.

    A file plays no faster than it was taken: somebody watches it, and may want to pause.
    """
    due = time.monotonic()

    def sink(frame, results, frames):
        nonlocal due
        selected = shown.show(frame, results)
        if selected is not None and isinstance(tracker, MultiTracker):
            tracker.init_one(selected.index, selected.frame, selected.box)
        elif selected is not None:
            tracker.init(selected.frame, selected.box)
        if not frames.live:
            now = time.monotonic()
            due = max(due + float(1 / frames.rate), now)
            frames.stop.wait(due - now)

    return sink


def _run(followed, frames, outputs, interrupted):
    """Tracks to the end, or until it is interrupted. Returns the line that says how it went."""
    count = found = carried = resized = targets = 0
    shape, start, enough = None, time.perf_counter(), False
    progress = tqdm(total=frames.count, unit=" frames", desc=Path(frames.name).name)
    with progress as bar, contextlib.closing(followed) as results:
        for frame, result in results:
            result = result if isinstance(result, list) else [result]
            try:
                for output in outputs:
                    output(frame, result, frames)
            except BrokenPipeError:
                enough = True
                discard_stdout()
            resized += shape not in (None, frame.shape)
            count, targets, carried, shape = count + 1, len(result), carried + result[0].carried, frame.shape
            found += sum(one.found for one in result)
            bar.update()
            if interrupted.is_set() or enough:
                break
    speed = f"{count / (time.perf_counter() - start):.1f} frames/s, reading and writing included"
    ended = "interrupted after " if interrupted.is_set() or enough else ""
    of = f" of {count * targets} boxes of {targets} targets" if targets > 1 else ""
    story = f"{frames.name}: {ended}{count} frames, target found in {found}{of}, {speed}"
    notes = _notes(frames, carried, resized)
    if not ended and not frames.live and frames.count and count < frames.count:
        notes.append(f"its header promised {frames.count}: is the file complete?")
    return "; ".join([story, *notes])


def _notes(frames, carried, resized):
    notes = {
        "frames that could not be read, the last box carried over them": carried,
        "frames damaged in part": frames.damaged,
        "changes of size": resized,
        "frames dropped for newer ones": frames.dropped,
        "times broken off or stalled": frames.lost,
    }
    return [f"{what}: {count}" for what, count in notes.items() if count]


@contextlib.contextmanager
def _interrupts(stop):
    """An event that Ctrl-C sets, so that no frame is left half-written; a second Ctrl-C interrupts as ever.

    Args:
      stop: another event that is set with it: the frames', which may be waiting for a camera.

    Yields:
      the event, and a function that sets both as Ctrl-C does.
    """
    pressed = threading.Event()

    def interrupt():
        pressed.set()
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield pressed, interrupt
        return
    before = signal.getsignal(signal.SIGINT)

    def press(number, stack):
        interrupt()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, press)
    try:
        yield pressed, interrupt
    finally:
        signal.signal(signal.SIGINT, before)
