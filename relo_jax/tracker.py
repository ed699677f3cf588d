"""The tracker: a video's first box in, a box a frame out (the released system, "Inference").

    tracker = Tracker.from_pretrained("starter")           # compiles here, not at the first frame
    tracker.init(frame, (x, y, w, h))
    result = tracker.update(next_frame)                    # result.box, result.score, result.found

The network's part is pure and lies in `relo_jax.step`; this is the host's: geometry in float64, one crop a frame over
to the device, and what a user may get wrong.
"""

import functools
import math
from dataclasses import dataclass

import jax
import numpy as np

from relo_jax import checkpoint, video
from relo_jax import config as relo_config
from relo_jax.boxes import clip_box_xywh
from relo_jax.crop import box_from_crop, box_to_crop_norm, crop_host
from relo_jax.data.clips import SEARCH_FACTOR, TEMPLATE_FACTOR
from relo_jax.errors import UserError
from relo_jax.model.variants import nearest
from relo_jax.step import State, StepResult, hann_window, init_state, local_mass, replace_template, step

__all__ = [
    "Result", "State", "StepResult", "Tracker", "check_box", "check_frame", "checked_options", "follow", "hann_window",
    "init_state", "local_mass", "replace_template", "step", "template_crop", "track",
]  # fmt: skip

# Compiled once a model, however many trackers follow targets with it.
_init_state = jax.jit(init_state, static_argnames=("model", "window_power"))
_step = jax.jit(step, static_argnames="model")
_replace_template = jax.jit(replace_template, static_argnames="model")


@dataclass(frozen=True)
class Result:
    """A frame's answer. box: x, y, w, h in pixels; found: score >= `found_threshold`; response: see `StepResult`."""

    box: tuple[float, float, float, float]
    score: float
    found: bool
    response: float


def template_crop(frame, box_xywh, size):
    """The template around a box, as `init_state` takes it: uint8 `[1, s, s, 3]` and its box, float32 `[1, 4]`."""
    crop, resize_factor = crop_host(frame, box_xywh, TEMPLATE_FACTOR, size)
    box_norm = box_to_crop_norm(box_xywh, box_xywh, resize_factor, size)
    return crop[None], box_norm[None].astype(np.float32)


class Tracker:
    """Follows one target through one video at a time; `init` begins a new one, with nothing left of the last.

    Args:
      model: `RELO`.
      variables: its variables.
      options: fields of the config's section "tracker": `window_power`, k of `hann_window`; `update_interval`, frames
        between template updates (0: never; needs a model of two template slots); `update_threshold`, response above
        which the template is updated; `found_threshold`, score from which a result counts as found.

    Raises:
      UserError: an option that does not exist or makes no sense.
    """

    def __init__(self, model, variables, options=None):
        self.model, self.options = model, checked_options(options or {}, model)
        # All on one device and committed to it: the shapes and places that the warm-up compiles for are those in use.
        self._device = jax.local_devices()[0]
        self._variables = jax.device_put(variables, self._device)
        self._init = functools.partial(_init_state, model, window_power=self.options["window_power"])
        self._step = functools.partial(_step, model)
        self._replace = functools.partial(_replace_template, model)
        self._state = None
        self._warm_up()

    @classmethod
    def from_pretrained(cls, path="starter", **overrides):
        """A tracker from a checkpoint, with the options that came with it.

        Args:
          path: what `relo_jax.checkpoint.load` takes: run directory, checkpoint, `.pth.tar`, "starter".
          **overrides: options to replace, such as `window_power=2.0`.

        Raises:
          UserError: the checkpoint cannot be loaded or was never taught where to look, or an option does not exist.
        """
        loaded = checkpoint.load_tracker(path)
        return cls(loaded.model, loaded.variables, {**loaded.config.get("tracker", {}), **overrides})

    def init(self, frame, box_xywh):
        """Begins a video.

        Args:
          frame: uint8 `[H, W, 3]`, RGB.
          box_xywh: the target in it, pixels.

        Raises:
          UserError: the frame is none, or the box has no area or does not touch the frame.
        """
        check_frame(frame)
        self._box = check_box(box_xywh, frame)
        self._state = self._init(self._variables, *self._put(template_crop(frame, self._box, self.model.template_size)))
        self._frames = 0

    def update(self, frame):
        """Finds the target in the next frame.

        Args:
          frame: uint8 `[H, W, 3]`, RGB.

        Returns:
          Result.

        Raises:
          UserError: the frame is none, `init` was not called, or the network says nothing finite.
        """
        if self._state is None:
            raise UserError("Tracker.update was called before Tracker.init: give the first frame and its box first")
        check_frame(frame)
        size = self.model.search_size
        crop, resize_factor = crop_host(frame, self._box, SEARCH_FACTOR, size)
        self._state, out = self._step(self._variables, self._state, self._put(crop[None]))
        out = jax.tree.map(lambda x: x[0].astype(np.float64), jax.device_get(out))
        box = box_from_crop(out.box_cxcywh_norm, self._box, resize_factor, size)
        if not np.isfinite(box).all():
            raise UserError("the network's box is not finite: are its weights? Use another checkpoint")
        self._box = clip_box_xywh(box, *frame.shape[:2])
        self._frames += 1
        interval = self.options["update_interval"]
        if interval and self._frames % interval == 0 and out.response > self.options["update_threshold"]:
            template = template_crop(frame, self._box, self.model.template_size)
            self._state = self._replace(self._variables, self._state, *self._put(template))
        score = float(out.score)
        return Result(tuple(self._box.tolist()), score, score >= self.options["found_threshold"], float(out.response))

    def _put(self, arrays):
        return jax.device_put(arrays, self._device)

    def _warm_up(self):
        """Runs everything once, on black pictures: compiled, and the device's memory set aside."""
        size, template_size = self.model.search_size, self.model.template_size
        template = self._put((np.zeros((1, template_size, template_size, 3), np.uint8), np.zeros((1, 4), np.float32)))
        state = self._init(self._variables, *template)
        if self.options["update_interval"]:
            state = self._replace(self._variables, state, *template)
        for _ in range(2):
            state, out = self._step(self._variables, state, self._put(np.zeros((1, size, size, 3), np.uint8)))
        jax.block_until_ready(out)


def track(source, box, checkpoint="starter", **options):
    """Tracks through a video, frame by frame; nothing but the current frame is kept.

        for result in relo_jax.track("in.mp4", box=(x, y, w, h)):
            print(result.box, result.score)

    Args:
      source: video file, folder of frames, camera index, or any iterable of uint8 RGB frames.
      box: x, y, w, h of the target in the first frame.
      checkpoint: see `Tracker.from_pretrained`.
      **options: as there.

    Yields:
      Result, one a frame; the first frame's is the given box with score 1.

    Raises:
      UserError: see `video.open_frames` and `Tracker`.
    """
    with video.open_frames(source) as frames:
        tracker = Tracker.from_pretrained(checkpoint, **options)
        for _, result in follow(tracker, frames, box):
            yield result


def follow(tracker, frames, box):
    """Yields (frame, Result) for every frame of an iterable; the first frame's is the given box with score 1."""
    for index, frame in enumerate(frames):
        if index == 0:
            tracker.init(frame, box)
            yield frame, Result(tuple(float(v) for v in box), 1.0, True, math.nan)
        else:
            yield frame, tracker.update(frame)


def check_frame(frame):
    """Raises UserError unless a frame is uint8 `[H, W, 3]`."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        what = f"{frame.dtype} {list(frame.shape)}" if hasattr(frame, "dtype") else type(frame).__name__
        raise UserError(f"frame is {what}: give a numpy array, uint8 [height, width, 3], RGB")


def check_box(box_xywh, frame):
    """The box as float64 `[4]`. Raises UserError unless it is finite, has an area and touches the frame."""
    try:
        x, y, w, h = box = np.array([float(v) for v in box_xywh])
    except (TypeError, ValueError):
        raise UserError(f"box is {box_xywh!r}: give four numbers x, y, w, h in pixels") from None
    given, (height, width) = f"box x,y,w,h = {x:g},{y:g},{w:g},{h:g}", frame.shape[:2]
    if not np.isfinite(box).all():
        raise UserError(f"{given} is not finite: give four numbers in pixels")
    if w <= 0 or h <= 0:
        raise UserError(f"{given} has no area: width and height must be above 0")
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise UserError(f"{given} lies outside the frame of {width} x {height} pixels")
    return box


def checked_options(options, model):
    """All options, the config's defaults where not given. Raises UserError naming the option."""
    defaults = relo_config.base().tracker.to_dict()
    for name, value in options.items():
        if name not in defaults:
            raise UserError(f"tracker has no option {name!r}{nearest(name, defaults)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise UserError(f"tracker option {name} is {value!r}: expected a finite number")
    options = {**defaults, **options}
    if options["window_power"] < 0 or options["update_interval"] < 0 or options["update_interval"] % 1:
        raise UserError(f"tracker options {options}: window_power and update_interval must not be negative")
    if options["update_interval"] and model.templates != 2:
        raise UserError(
            f"tracker option update_interval={options['update_interval']} needs a model of two template slots, "
            f"and this one has {model.templates}: set it to 0"
        )
    return options
