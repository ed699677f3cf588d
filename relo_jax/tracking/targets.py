"""K targets of one video on the device, advanced together by one dispatch a frame (the released system, "Inference").

What `Tracker` (K = 1) and `MultiTracker` share: they hand frames over and keep what the targets carry on. What is
computed lies in `relo_jax.tracking.programs`, where the batch is the K targets here. A frame is sent once, whatever K is: the
crops are cut from it on the host (on a CPU) or out of the one canvas on the device.
"""

import functools
import math
from dataclasses import dataclass

import jax
import numpy as np

from relo_jax.checkpoints import load as checkpoint
from relo_jax.errors import UserError
from relo_jax.geometry.crop import SEARCH_FACTOR, crop_host, crop_windows, cut_host
from relo_jax.model.precision import cast_kernels
from relo_jax.tracking import confidence, programs
from relo_jax.tracking.options import NOT_FINITE, check_box, check_frame, checked_options


@dataclass(frozen=True)
class Result:
    """A frame's answer. box: x, y, w, h in pixels; found: score >= `found_threshold`; response: see `StepResult`.

    carried: the frame could not be read (`follow`), so that the box is the last one, with score 0 and not found.
    """

    box: tuple[float, float, float, float]
    score: float
    found: bool
    response: float
    carried: bool = False


class Targets:
    """See `Tracker` and `MultiTracker`, whose arguments these are; count is K."""

    def __init__(self, model, variables, count, options=None, device_crops=None):
        self.model, self.options, self._count = model, checked_options(options or {}, model), count
        # All on one device and committed to it: the shapes and places that the warm-up compiles for are those in use.
        self._device = jax.local_devices()[0]
        self._device_crops = self._device.platform != "cpu" if device_crops is None else device_crops
        variables = confidence.with_weights(cast_kernels(model, variables), self.options)
        self._variables = jax.device_put(variables, self._device)
        # On the device; None compiles nothing for them.
        rule = programs.Updates.of(self.options) if self.options["update_interval"] else None
        self._updates = jax.device_put(rule, self._device)
        self._target, self._prepared = None, set()
        self._warm_up()

    @staticmethod
    def _load(path, dtype, overrides):
        """Model, variables and options of a checkpoint; see `Tracker.from_pretrained`."""
        loaded = checkpoint.load_tracker(path, dtype)
        return loaded.model, loaded.variables, {**loaded.config.get("tracker", {}), **overrides}

    def prepare(self, height, width, chunk=None):
        """Compiles what frames of a size need, unless it is there; `init` does so for the size of its frame.

        Args:
          height, width: of the frames.
          chunk: C of `update_chunk`; None prepares `update`.
        """
        key = *programs.bucket(height, width), chunk
        if key in self._prepared or (chunk is None and not self._device_crops):
            return
        kept, self._target = self._target, self._begin(self._black())
        jax.block_until_ready(self._look_at(*programs.pad_to_bucket([[]], chunk or 1, (height, width)), chunk))
        self._target = kept
        self._prepared.add(key)

    @property
    def calibrated(self):
        """Whether the score is a probability; where nobody fitted it, it is the policy's mass around the answer."""
        return confidence.is_calibrated(self.options)

    @property
    def boxes(self):
        """box_xywh of the targets where they were last seen, in pixels, float32 `[K, 4]`. Waits for the device."""
        self._check_begun("boxes")
        return jax.device_get(self._target.box_xywh)

    def rescale(self, across, down):
        """Moves the boxes as the picture does when it is scaled; what was learnt of the targets stays.

        Args:
          across, down: new width and height of the picture over the old ones.
        """
        boxes = self.boxes * np.float32([across, down, across, down])
        windows = np.asarray(crop_windows(boxes, SEARCH_FACTOR), np.int32)
        boxes, windows = jax.device_put((boxes, windows), self._device)
        self._target = self._target.replace(box_xywh=boxes, crop_window=windows)

    def _init(self, frame, boxes_xywh):
        check_frame(frame)
        boxes = [check_box(box, frame) for box in boxes_xywh]
        self.prepare(*frame.shape[:2])
        self._target = self._begin(self._first_views(frame, boxes))

    def _init_one(self, row, frame, box_xywh):
        """Begins anew with one of the K."""
        check_frame(frame)
        one = self._begin(self._first_views(frame, [check_box(box_xywh, frame)]))
        self._target = programs.write_row(self._target, one, jax.device_put(row, self._device))

    def _first_views(self, frame, boxes):
        read_crop = functools.partial(crop_host, frame)
        views = [programs.first_view(box, self.model.template_size, read_crop) for box in boxes]
        return tuple(np.concatenate(parts) for parts in zip(*views, strict=True))

    def _update(self, frame):
        """Finds the targets in the next frame: a list of K Results."""
        self._check_begun("update")
        check_frame(frame)
        if self._device_crops:
            return self._results(jax.device_get(self._look_at(*programs.pad_to_bucket([[frame]], 1))))
        windows = jax.device_get(self._target.crop_window)
        crops = np.stack([cut_host(frame, window, self.model.search_size) for window in windows.tolist()])
        sizes = np.array([frame.shape[:2]] * self._count, np.int32)
        answers = jax.device_get(self._run(programs.track_crop, crops, windows[:, 2], sizes))
        results = self._results(answers)
        if self._updates is not None:
            seen, read_crop = jax.device_get(self._target.frames), programs.cropper(frame)
            due = programs.Updates.of(self.options).due(seen, answers[:, programs.RESPONSE])
            for row in np.flatnonzero(due).tolist():
                self._renew(
                    row, programs.template_view(answers[row, programs.BOX], self.model.template_size, read_crop)
                )
        return results

    def _update_chunk(self, frames, length=None):
        """See `Tracker.update_chunk`; an iterator of a list of K Results a frame."""
        self._check_begun("update_chunk")
        for frame in frames:
            check_frame(frame)
        length = length or len(frames)
        if len(frames) > length:
            raise UserError(f"update_chunk has {len(frames)} frames for length={length}: give no more than that")
        answers = self._look_at(*programs.pad_to_bucket([frames], length), length)
        return lambda: map(self._results, jax.device_get(answers)[: len(frames)])

    def _look_at(self, frames, sizes, chunk=None):
        """One dispatch over canvases `[C, 1, H, W, 3]` that all targets share, sizes `[C, 1, 2]`.

        Returns:
          answers, still on the device, `[C, K, 6]`; of `track_frame` where chunk is None: `[K, 6]`.
        """
        sizes = np.repeat(sizes, self._count, axis=1)
        if chunk is None:
            return self._run(programs.track_frame, frames[0], sizes[0], self._updates)
        return self._run(programs.track_chunk, frames, sizes, self._updates)

    def _check_begun(self, name):
        if self._target is None:
            kind = type(self).__name__
            raise UserError(f"{kind}.{name} was called before {kind}.init: give the first frame and its box first")

    def _begin(self, view):
        power = self.options["window_power"]
        return programs.begin(self.model, self._variables, *jax.device_put(view, self._device), window_power=power)

    def _run(self, look, *arrays):
        """One dispatch: the targets move on, their buffers are used again. Returns the answer, still on the device."""
        arrays = jax.device_put(arrays, self._device)
        self._target, answer = look(self.model, self._variables, self._target, *arrays)
        return answer

    def _renew(self, row, view):
        arrays = jax.device_put((row, *view), self._device)
        self._target = programs.renew_template(self.model, self._variables, self._target, *arrays)

    def _results(self, answers):
        return [self._result(answer) for answer in answers]

    def _result(self, answer):
        box = tuple(answer[programs.BOX].tolist())
        if not all(map(math.isfinite, box)):
            raise UserError(NOT_FINITE)
        response, sure = float(answer[programs.RESPONSE]), float(answer[programs.SCORE])
        return Result(box, sure, sure >= self.options["found_threshold"], response)

    def _black(self):
        """First views of nothing."""
        return self._first_views(np.zeros((10, 10, 3), np.uint8), [np.array([0.0, 0.0, 10.0, 10.0])] * self._count)

    def _warm_up(self):
        """Runs everything once that does not wait for a frame's size: compiled, and the device's memory set aside."""
        self._target = self._begin(self._black())
        if not self._device_crops:
            size = self.model.search_size
            if self._updates is not None:
                self._renew(0, [part[:1] for part in self._black()[:2]])
            crops, sides = np.zeros((self._count, size, size, 3), np.uint8), np.full(self._count, size, np.int32)
            for _ in range(2):
                answer = self._run(programs.track_crop, crops, sides, np.full((self._count, 2), size, np.int32))
            jax.block_until_ready(answer)
        self._target = None
