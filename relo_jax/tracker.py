"""The tracker: a video's first box in, a box a frame out (the released system, "Inference").

    tracker = Tracker.from_pretrained("starter")           # compiles here, not at the first frame
    tracker.init(frame, (x, y, w, h))
    result = tracker.update(next_frame)                    # result.box, result.score, result.found

What is computed lies in `relo_jax.program`; this hands frames over, and keeps what one video carries on.
"""

import contextlib
import functools
import itertools
import math
from dataclasses import dataclass

import jax
import numpy as np

from relo_jax import checkpoint, program, video
from relo_jax.checks import NOT_FINITE, check_box, check_frame, checked_options
from relo_jax.chunks import in_chunks
from relo_jax.crop import crop_host, cut_host
from relo_jax.errors import UserError

__all__ = ["Result", "Tracker", "follow", "track"]


@dataclass(frozen=True)
class Result:
    """A frame's answer. box: x, y, w, h in pixels; found: score >= `found_threshold`; response: see `StepResult`."""

    box: tuple[float, float, float, float]
    score: float
    found: bool
    response: float


class Tracker:
    """Follows one target through one video at a time; `init` begins a new one, with nothing left of the last.

    Args:
      model: `RELO`.
      variables: its variables.
      options: fields of the config's section "tracker": `window_power`, k of `hann_window`; `update_interval`, frames
        between template updates (0: never; needs a model of two template slots); `update_threshold`, response above
        which the template is updated; `found_threshold`, score from which a result counts as found.
      device_crops: whether `update` cuts crops on the device, so that a frame is one dispatch; None does so but on a
        CPU, where OpenCV is the quicker one. The boxes are the same.

    Raises:
      UserError: an option that does not exist or makes no sense.
    """

    def __init__(self, model, variables, options=None, device_crops=None):
        self.model, self.options = model, checked_options(options or {}, model)
        # All on one device and committed to it: the shapes and places that the warm-up compiles for are those in use.
        self._device = jax.local_devices()[0]
        self._device_crops = self._device.platform != "cpu" if device_crops is None else device_crops
        self._variables = jax.device_put(variables, self._device)
        # On the device; None compiles nothing for them.
        rule = program.Updates.of(self.options) if self.options["update_interval"] else None
        self._updates = jax.device_put(rule, self._device)
        self._target, self._prepared = None, set()
        self._warm_up()

    @classmethod
    def from_pretrained(cls, path="starter", *, sizes=(), **overrides):
        """A tracker from a checkpoint, with the options that came with it.

        Args:
          path: what `relo_jax.checkpoint.load` takes: run directory, checkpoint, `.pth.tar`, "starter".
          sizes: (height, width) of frames to expect; what was not expected is compiled by `init`.
          **overrides: options to replace, such as `window_power=2.0`.

        Raises:
          UserError: the checkpoint cannot be loaded or was never taught where to look, or an option does not exist.
        """
        loaded = checkpoint.load_tracker(path)
        tracker = cls(loaded.model, loaded.variables, {**loaded.config.get("tracker", {}), **overrides})
        for height, width in sizes:
            tracker.prepare(height, width)
        return tracker

    def init(self, frame, box_xywh):
        """Begins a video.

        Args:
          frame: uint8 `[H, W, 3]`, RGB.
          box_xywh: the target in it, pixels.

        Raises:
          UserError: the frame is none, or the box has no area or does not touch the frame.
        """
        check_frame(frame)
        box = check_box(box_xywh, frame)
        self.prepare(*frame.shape[:2])
        read_crop = functools.partial(crop_host, frame)
        self._target = self._begin(program.first_view(box, self.model.template_size, read_crop))

    def update(self, frame):
        """Finds the target in the next frame.

        Args:
          frame: uint8 `[H, W, 3]`, RGB.

        Returns:
          Result.

        Raises:
          UserError: the frame is none, `init` was not called, or the network says nothing finite.
        """
        self._check_begun("update")
        check_frame(frame)
        if self._device_crops:
            (frames,), (size,) = program.on_canvases([[frame]], 1)
            answer = self._run(program.look_at_frame, frames, size, self._updates)
            return self._result(jax.device_get(answer)[0])
        window = jax.device_get(self._target.crop_window)
        crop = cut_host(frame, window[0].tolist(), self.model.search_size)
        size = np.array([frame.shape[:2]], np.int32)
        answer = jax.device_get(self._run(program.look_at_crop, crop[None], window[:, 2], size))
        result = self._result(answer[0])
        if self._updates is not None and program.Updates.of(self.options).due(*self._seen(answer)):
            view = program.template_view(answer[0, program.BOX], self.model.template_size, program.cropper(frame))
            self._renew(view)
        return result

    def update_chunk(self, frames, length=None):
        """Finds the target in several frames by one dispatch, and does not wait for it.

        Args:
          frames: list of uint8 `[H, W, 3]`, RGB; they may differ in size.
          length: C, frames that the compiled program takes; the chunk is padded to it, and it is the last one then.
            None takes their number.

        Returns:
          a function that waits for the device and gives an iterator of a Result a frame, which raises UserError where
          the network says nothing finite.

        Raises:
          UserError: `init` was not called, or a frame is none.
        """
        self._check_begun("update_chunk")
        for frame in frames:
            check_frame(frame)
        answers = self._run(program.look_at_chunk, *program.on_canvases([frames], length or len(frames)), self._updates)
        return lambda: map(self._result, jax.device_get(answers)[: len(frames), 0])

    def prepare(self, height, width, chunk=None):
        """Compiles what frames of a size need, unless it is there; `init` does so for the size of its frame.

        Args:
          height, width: of the frames.
          chunk: C of `update_chunk`; None prepares `update`.
        """
        key = *program.canvas(height, width), chunk
        if key in self._prepared or (chunk is None and not self._device_crops):
            return
        frames, size = program.on_canvases([[]], chunk or 1, (height, width))
        kept, self._target = self._target, self._begin(self._black())
        if chunk is None:
            answer = self._run(program.look_at_frame, frames[0], size[0], self._updates)
        else:
            answer = self._run(program.look_at_chunk, frames, size, self._updates)
        jax.block_until_ready(answer)
        self._target = kept
        self._prepared.add(key)

    def _check_begun(self, name):
        if self._target is None:
            raise UserError(f"Tracker.{name} was called before Tracker.init: give the first frame and its box first")

    def _begin(self, view):
        power = self.options["window_power"]
        return program.begin(self.model, self._variables, *jax.device_put(view, self._device), window_power=power)

    def _run(self, look, *arrays):
        """One dispatch: the target moves on, its buffers are used again. Returns the answer, still on the device."""
        arrays = jax.device_put(arrays, self._device)
        self._target, answer = look(self.model, self._variables, self._target, *arrays)
        return answer

    def _renew(self, view):
        arrays = jax.device_put((0, *view), self._device)
        self._target = program.renew_template(self.model, self._variables, self._target, *arrays)

    def _seen(self, answer):
        return jax.device_get(self._target.frames)[0], answer[0, program.RESPONSE]

    def _result(self, answer):
        box = tuple(answer[program.BOX].tolist())
        if not all(map(math.isfinite, box)):
            raise UserError(NOT_FINITE)
        response, score = float(answer[program.RESPONSE]), float(answer[program.SCORE])
        return Result(box, score, score >= self.options["found_threshold"], response)

    def _black(self):
        """A first view of nothing."""
        box, nothing = np.array([0.0, 0.0, 10.0, 10.0]), lambda box, factor, size: np.zeros((size, size, 3), np.uint8)
        return program.first_view(box, self.model.template_size, lambda *args: (nothing(*args), 1.0))

    def _warm_up(self):
        """Runs everything once that does not wait for a frame's size: compiled, and the device's memory set aside."""
        self._target = self._begin(self._black())
        if not self._device_crops:
            size = self.model.search_size
            if self._updates is not None:
                self._renew(self._black()[:2])
            crop, side = np.zeros((1, size, size, 3), np.uint8), np.full(1, size, np.int32)
            for _ in range(2):
                answer = self._run(program.look_at_crop, crop, side, np.full((1, 2), size, np.int32))
            jax.block_until_ready(answer)
        self._target = None


def track(source, box, checkpoint="starter", chunk=None, **options):
    """Tracks through a video; nothing but the frames at hand is kept.

        for result in relo_jax.track("in.mp4", box=(x, y, w, h)):
            print(result.box, result.score)

    Args:
      source: video file, folder of frames, camera index, or any iterable of uint8 RGB frames.
      box: x, y, w, h of the target in the first frame.
      checkpoint: see `Tracker.from_pretrained`.
      chunk: frames that the device is given at a time. It does not wait for the host between them, so more frames a
        second, each of them later; None is frame by frame. The boxes are the same.
      **options: as there.

    Yields:
      Result, one a frame; the first frame's is the given box with score 1.

    Raises:
      UserError: see `video.open_frames` and `Tracker`; results of the frames before the bad one come first.
    """
    with video.open_frames(source) as frames:
        tracker = Tracker.from_pretrained(checkpoint, **options)
        with contextlib.closing(follow(tracker, frames, box, chunk)) as followed:
            for _, result in followed:
                yield result


def follow(tracker, frames, box, chunk=None):
    """Yields (frame, Result) for every frame of an iterable; the first frame's is the given box with score 1.

    Raises:
      UserError: see `track`, and a chunk below 1.
    """
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
        raise UserError(f"chunk is {chunk!r}: give at least 1 frame at a time, or None for frame by frame")
    frames = iter(frames)
    for frame in itertools.islice(frames, 1):
        tracker.init(frame, box)
        yield frame, Result(tuple(float(v) for v in box), 1.0, True, math.nan)
        if chunk is not None:
            tracker.prepare(*frame.shape[:2], chunk)
            yield from in_chunks(tracker, frames, chunk)
    for frame in frames:
        yield frame, tracker.update(frame)
