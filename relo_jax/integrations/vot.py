"""RELO in the VOT toolkit (votchallenge.net): a process that speaks TraX, and a class for its python protocol.

The `trackers.ini` of a workspace has one of

    [RELO]                                                        [RELO]
    protocol = trax                                               protocol = python
    command = python -m relo_jax.integrations.vot --checkpoint D  command = relo_jax.integrations.vot:VOTTracker
                                                                  arg_checkpoint = D

Several objects may be followed at once and may begin in any frame. Each has a tracker of its own with the same weights:
a batch would be compiled for the number of objects, which is not known before the first frame. A polygon or a mask is
followed and reported as its bounding rectangle, with the tracker's score as "confidence". Everything is compiled before
the first answer to the toolkit.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from relo_jax.compilation_cache import keep_compiled_programs
from relo_jax.errors import UserError

Box = tuple[float, float, float, float]  # x, y, w, h in pixels


class Objects:
    """The objects of one sequence, each followed by a `Tracker`; `begin` starts another sequence.

    Args:
      checkpoint: what `relo_jax.checkpoint.load` takes; a path must be absolute where the toolkit starts the process.
      sizes: (height, width) of frames to compile for, where programs depend on them (on all devices except the CPU).
      options: options of `Tracker` to replace.
      dtype: of the computation, see `relo_jax.checkpoint.load`.

    Raises:
      UserError: the checkpoint cannot be loaded, or a dtype or an option does not exist.
    """

    def __init__(
        self,
        checkpoint: str = "starter",
        sizes: Iterable[tuple[int, int]] = (),
        options: dict | None = None,
        dtype: str | None = None,
    ):
        keep_compiled_programs()  # before JAX is imported: a toolkit may start a process for every sequence
        from relo_jax.checkpoints import hub, run_directory
        from relo_jax.checkpoints import load as checkpoints
        from relo_jax.model.inference import for_tracking
        from relo_jax.tracking import tracker

        known = checkpoint in run_directory.STARTERS or hub.is_address(checkpoint) or Path(checkpoint).is_absolute()
        known = known or Path(checkpoint).exists()
        if not known:
            here = f"{os.getcwd()}, where the toolkit started this"
            raise UserError(f"{checkpoint}: no such checkpoint in {here}: give its whole path")
        loaded = checkpoints.load_tracker(checkpoint, dtype)
        options = {**loaded.config.get("tracker", {}), **(options or {})}
        variables = for_tracking(loaded.model, loaded.variables)  # once, so that all objects share them
        self._make = lambda: tracker.Tracker(loaded.model, variables, options)
        self._trackers, self._count = [self._make()], 0
        for height, width in sizes:
            self._trackers[0].prepare(height, width)

    def begin(self) -> None:
        """Forgets all objects."""
        self._count = 0

    def step(self, frame: np.ndarray, new_boxes_xywh: Iterable[Box]) -> list[tuple[Box, float]]:
        """Follows the objects into a frame, then adds those that appear in it.

        Args:
          frame: uint8 `[H, W, 3]`, RGB.
          new_boxes_xywh: x, y, w, h in pixels.

        Returns:
          (box_xywh, score) of each object, in the order in which they appeared; the given box and 1 for a new one.

        Raises:
          UserError: see `Tracker.init` and `Tracker.update`.
        """
        results = [tracker.update(frame) for tracker in self._trackers[: self._count]]
        states: list[tuple[Box, float]] = [(result.box, result.score) for result in results]
        for box in new_boxes_xywh:
            if self._count == len(self._trackers):
                self._trackers.append(self._make())
            self._trackers[self._count].init(frame, box)
            self._count += 1
            x, y, w, h = map(float, box)
            states.append(((x, y, w, h), 1.0))
        return states


class VOTTracker:
    """For `protocol = python`: the toolkit creates it from the `arg_...` lines of `trackers.ini`, which are strings.

    Args:
      checkpoint: see `Objects`.
      sizes: such as "640x480,1280x720", see `Objects`.
      dtype: see `Objects`.
      **options: options of `Tracker`, such as window_power="2.0".

    Raises:
      UserError: see `Objects`; a size or an option is not a number.
    """

    multiobject = True  # the toolkit gives and takes lists

    def __init__(self, checkpoint: str = "starter", sizes: str = "", dtype: str | None = None, **options: str):
        values = dict(_option(f"{name}={value}") for name, value in options.items())
        self._objects = Objects(checkpoint, [_size(text) for text in sizes.split(",") if text], values, dtype)

    def init(self, frame: Any, new: Iterable[tuple]) -> list[tuple[Box, dict]]:
        """Begins a sequence; arguments and result as of `update`."""
        self._objects.begin()
        return self.update(frame, new)

    def update(self, frame: Any, new: Iterable[tuple]) -> list[tuple[Box, dict]]:
        """Follows the objects into a frame.

        Args:
          frame: path of an image, or a dict of uint8 `[H, W, 3]` by channel.
          new: (region, properties) of the objects that appear; a region is x, y, w, h or a list of (x, y).

        Returns:
          (x, y, w, h) and {"confidence": score} of each object.
        """
        boxes = [_bounding_box(region) for region, _ in new]
        return [(box, {"confidence": score}) for box, score in self._objects.step(_pixels(frame), boxes)]


def serve(objects: Objects) -> None:
    """Answers a TraX client on standard input and output until it quits.

    Raises:
      UserError: see `Objects.step`; the client gets the message too.
    """
    import trax

    # The client turns polygons and masks into bounding rectangles, the only regions asked for here.
    server = trax.Server([trax.Region.RECTANGLE], [trax.Image.PATH], ["color"], tracker_name="RELO", multiobject=True)
    try:
        while True:
            request = server.wait()
            if request.type not in (trax.TraxStatus.INITIALIZE, trax.TraxStatus.FRAME):
                return
            if request.type == trax.TraxStatus.INITIALIZE:
                objects.begin()
            new = [region.bounds() for region, _ in request.objects or []]
            states = objects.step(_pixels(request.image["color"].path()), new)
            server.status([(trax.Rectangle.create(*box), {"confidence": score}) for box, score in states])
    except UserError as error:
        server.quit(str(error))
        raise


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m relo_jax.integrations.vot`; returns the exit status."""
    parser = argparse.ArgumentParser("relo_jax.integrations.vot", description="RELO as a tracker that speaks TraX.")
    parser.add_argument("--checkpoint", default="starter", help="whole path of a run directory, checkpoint or .pth.tar")
    parser.add_argument(
        "--size", action="append", default=[], metavar="WxH", help="of frames to expect (a GPU compiles for each)"
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="of the tracker, such as window_power=2.0"
    )
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="of the computation (default: checkpoint's)")
    args = parser.parse_args(argv)
    try:
        import trax  # noqa: F401, first, since the rest takes longer

        options = dict(_option(text) for text in args.option)
        serve(Objects(args.checkpoint, [_size(text) for text in args.size], options, args.dtype))
    except ModuleNotFoundError as missing:
        print(f"relo: {missing}: pip install 'relo-jax[vot]' brings what this needs", file=sys.stderr)
        return 1
    except UserError as error:
        print(f"relo: {error}", file=sys.stderr)
        return 1
    return 0


def _pixels(frame: Any) -> np.ndarray:
    """uint8 `[H, W, 3]`, RGB, from a path or a dict of channels."""
    from relo_jax.media.images import read_image

    return np.ascontiguousarray(frame["color"]) if isinstance(frame, dict) else read_image(frame)


def _bounding_box(region: Any) -> Box:
    """x, y, w, h of a region as the python protocol encodes it: these four numbers, or a list of points."""
    if isinstance(region, tuple) and len(region) == 4:
        return region
    points = np.asarray(region, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise UserError("an object is given as a point or a mask: write `convert = rectangle` into trackers.ini")
    (x, y), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    return x, y, right - x, bottom - y


def _size(text: str) -> tuple[int, int]:
    """`640x480` -> (480, 640)."""
    width, _, height = text.strip().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UserError(f"size {text!r} is not WIDTHxHEIGHT, such as 640x480")
    return int(height), int(width)


def _option(text: str) -> tuple[str, Any]:
    """`window_power=2.0` -> ("window_power", 2.0)."""
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        raise UserError(f"option {text!r} is not NAME=VALUE with a number, such as window_power=2.0") from None


if __name__ == "__main__":
    sys.exit(main())
