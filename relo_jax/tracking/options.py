"""Checks of frames, boxes and tracker options. A mistake is one line that names the value."""

import math
from collections.abc import Sequence

import numpy as np

from relo_jax import config as relo_config
from relo_jax.errors import UserError, did_you_mean
from relo_jax.model import RELO
from relo_jax.tracking import confidence

_ALWAYS_FITS = 1000  # pixels, side of a square as large as a box, however small the frame
NOT_FINITE = "the network's box is not finite: are its weights? Use another checkpoint"


def check_frame(frame: np.ndarray) -> None:
    """Raises UserError unless a frame is uint8 `[H, W, 3]` with at least one pixel."""
    fits = isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
    if not fits or not frame.size:
        what = f"{frame.dtype} {list(frame.shape)}" if hasattr(frame, "dtype") else type(frame).__name__
        raise UserError(f"frame is {what}: give a numpy array, uint8 [height, width, 3], RGB")


def check_box(box_xywh: Sequence[float] | np.ndarray, frame: np.ndarray) -> np.ndarray:
    """The box as float64 `[4]`.

    Raises:
      UserError: it is not finite, has no area, does not touch the frame, or is far larger than the frame.
    """
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
    if math.sqrt(w) * math.sqrt(h) > max(2 * width, 2 * height, _ALWAYS_FITS):  # its crop would fill the memory
        raise UserError(f"{given} is far larger than the frame of {width} x {height} pixels: is it x, y, w, h?")
    return box


def checked_options(options: dict, model: RELO) -> dict:
    """All options, with the config's defaults where not given. Raises UserError that names the option."""
    defaults = relo_config.base().tracker.to_dict()
    for name, value in options.items():
        if name not in defaults:
            raise UserError(f"tracker has no option {name!r}{did_you_mean(name, defaults)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise UserError(f"tracker option {name} is {value!r}: expected a finite number")
    options = {**defaults, **options}
    if options["window_power"] < 0:
        raise UserError(f"tracker option window_power is {options['window_power']}: it must not be negative")
    if options["update_interval"] < 0 or options["update_interval"] % 1:
        raise UserError(
            f"tracker option update_interval is {options['update_interval']}: give a number of frames, or 0 for never"
        )
    if options["found_frames"] < 1 or options["found_frames"] % 1:
        raise UserError(
            f"tracker option found_frames is {options['found_frames']}: give a number of frames, at least 1"
        )
    for name in confidence.FIELDS[1:]:
        if options[name] < 0:
            raise UserError(f"tracker option {name} is {options[name]}: a weight of the score must not be negative")
    if model.config.localizer == "heatmap" and confidence.is_calibrated(options):
        raise UserError(
            "tracker options score_* weigh the evidence of a policy, but this model localises by its centre map, whose "
            "height is the score: leave them out (there is nothing to calibrate)"
        )
    if options["update_interval"] and model.config.templates != 2:
        raise UserError(
            f"tracker option update_interval={options['update_interval']} needs a model of two template slots, "
            f"and this one has {model.config.templates}: set it to 0"
        )
    return options
