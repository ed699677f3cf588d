"""RELO, single-object tracking by reinforcement learning (arXiv 2605.07379), in JAX.

    tracker = relo_jax.Tracker.from_pretrained("runs/demo")
    tracker.init(frame_rgb, (x, y, w, h))
    result = tracker.update(frame_rgb)

The names below are imported on first use, so that `import relo_jax` and `relo --help` stay fast.
"""

import importlib
import os
from typing import Any

from relo_jax import extras

__version__ = "0.1.0"

# OpenCV reads it once, when it is loaded; else an image may claim a billion pixels. As `media.images.MAX_PIXELS`.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 27))

_HOME: dict[str, tuple[str, str | None]] = {  # public name -> (module, name in it; None is the module itself)
    "RELO": ("relo_jax.model", "RELO"),
    "VARIANTS": ("relo_jax.model", "VARIANTS"),
    "Tracker": ("relo_jax.tracking.tracker", "Tracker"),
    "MultiTracker": ("relo_jax.tracking.tracker", "MultiTracker"),
    "open_exported": ("relo_jax.export.backend", "open_exported"),
    "track": ("relo_jax.tracking.track", "track"),
    "read_boxes": ("relo_jax.tracking.box_files.formats", "read_boxes"),
    "render": ("relo_jax.tracking.render", "render"),
    "example": ("relo_jax.tracking.example", "example"),
    "select_box": ("relo_jax.media.select_box", "select_box"),
    "to_supervision": ("relo_jax.tracking.detections", "to_supervision"),
    "open_benchmark": ("relo_jax.eval.benchmarks", "open_benchmark"),
    "evaluate": ("relo_jax.eval.runner", "evaluate"),
    "get_config": ("relo_jax.config.summary", "get_config"),
    "train_and_evaluate": ("relo_jax.train.loop", "train_and_evaluate"),
    "History": ("relo_jax.train.history", "History"),
    "LiveCurves": ("relo_jax.train.callbacks", "LiveCurves"),
    "StopTraining": ("relo_jax.train.callbacks", "StopTraining"),
    "UserError": ("relo_jax.errors", "UserError"),
    "checkpoint": ("relo_jax.checkpoints.load", None),
    "convert": ("relo_jax.checkpoints.pytorch.convert", None),
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    try:
        value = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = extras.not_installed(error, f"relo_jax.{name}")
        raise (ModuleNotFoundError(str(missing), name=error.name) if missing else error) from None
    if attribute is not None:
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
