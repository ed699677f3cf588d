"""Exported graphs in place of JAX: trackers with the interface of `Tracker`, which relo_track.py computes.

    tracker = relo_jax.open_exported("exported", backend="openvino")     # or any checkpoint: it is exported first
    for result in relo_jax.track("in.mp4", box, tracker): ...

What is tracked and evaluated this way is the file that engineers take, graphs and geometry.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from relo_jax.checkpoints import model_card
from relo_jax.compilation_cache import cache_folder
from relo_jax.errors import UserError, did_you_mean
from relo_jax.export import relo_track
from relo_jax.export.source import Source
from relo_jax.extras import check_installed, is_installed
from relo_jax.model import RELO
from relo_jax.tracking import confidence
from relo_jax.tracking.options import check_box, check_frame, checked_options
from relo_jax.tracking.result import Look, Result
from relo_jax.tracking.step import hann_window
from relo_jax.tracking.targets import Box, VideoTargets
from relo_jax.tracking.tracker import MultiTracker, Tracker

_WINDOW_POWER = "window_power"
_BAKED = (_WINDOW_POWER, *confidence.FIELDS)  # options that are constants of the graph
_MAKING_GRAPHS = ("config", "export", "geometry", "mdp", "model", "tracking")  # packages whose code the graphs follow
_EXPORTING = ("onnx", "onnxruntime")  # what makes graphs that are not there
_OPTIONS = (*_BAKED, *relo_track.OPTIONS)
_NEEDED = ("model", "checkpoint", "calibrated")  # fields of tracker.json that relo_track.py does not read


class Exported:
    """A checkpoint that a backend computes: a folder of `relo export`, or any other, whose graphs are made when needed.

    Args:
      checkpoint: the folder, or what `relo_jax.checkpoint.load` takes.
      backend: "onnxruntime" or "openvino".
      precision: of the graphs, "float32", "float16" or "int8".
      threads, provider: see `relo_track.Network`.

    Attributes:
      checkpoint, backend, precision: see above.
      model: the network, of which only the fields are used.
      config: the section "tracker" of the checkpoint's config, and "benchmarks" if it has one.

    Raises:
      UserError: an unknown backend; the checkpoint cannot be loaded; tracker.json cannot be read.
      ModuleNotFoundError: the backend, or what a checkpoint is exported with, is not installed.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        backend: str = "onnxruntime",
        precision: str = "float32",
        threads: int | None = None,
        provider: str | None = None,
    ):
        if backend not in relo_track.BACKENDS:
            raise UserError(f"there is no backend {backend!r}{did_you_mean(backend, relo_track.BACKENDS)}")
        making = () if is_export(checkpoint) or is_installed(backend) else _EXPORTING  # else the cache may have graphs
        check_installed(backend, *making)
        self.checkpoint, self.backend, self.precision = checkpoint, backend, precision
        self._open = functools.partial(
            relo_track.Network, backend=backend, precision=precision, threads=threads, provider=provider
        )
        self._source: Source | None = None  # of a checkpoint that is exported when needed
        self._opened: tuple[dict, relo_track.Network] | None = None
        if is_export(checkpoint):
            with as_user_error():
                described = relo_track.read_config(checkpoint)
            if missing := [name for name in (*_NEEDED, *_OPTIONS) if name not in described]:
                raise UserError(f"{checkpoint}/{relo_track.TRACKER_FILE} has no field {missing[0]!r}: export again")
            self._described, self.model = described, RELO.from_config(described["model"])
            self.config: dict[str, Any] = {"tracker": {name: described[name] for name in _OPTIONS}}
            return
        self._source = Source.of(checkpoint)
        self.model, self.config = self._source.loaded.model, self._source.loaded.config

    @property
    def baked(self) -> float | None:
        """The window power of graphs that are there; None if they are made with any."""
        return self.config["tracker"][_WINDOW_POWER] if self._source is None else None

    def network(self, options: dict) -> relo_track.Network:
        """The opened graphs, for all options of a tracker.

        Raises:
          UserError: the window power or a weight of the score is not that of the graphs; they cannot be opened.
        """
        made_with = options if self._source is not None else self.config["tracker"]
        if differing := [name for name in _BAKED if options[name] != made_with[name]]:
            name = differing[0]
            raise UserError(
                f"{name} is {options[name]:g}, but the graphs of {self.checkpoint} were made with "
                f"{made_with[name]:g}: leave it out, or give the checkpoint that they were exported from"
            )
        if self._opened is None or self._opened[0] != options:
            folder = Path(self.checkpoint) if self._source is None else self._exported(self._source, options)
            with as_user_error():
                self._opened = options, self._open(folder)
        return self._opened[1]

    def card(self) -> dict[str, Any]:
        """What is known of the checkpoint, see `model_card.of_checkpoint`."""
        if self._source is not None:
            return model_card.of_checkpoint(self.checkpoint)
        return {"kind": "export", "name": Path(self.checkpoint).absolute().name, "of": self._described["checkpoint"]}

    def fingerprint(self, options: dict) -> dict:
        """What determines the boxes, JSON-able: the network's fields, the options, the graph, and what computes it."""
        graph = self.network(options).config["graphs"][self.precision]["step"]["sha256"]
        how = {"backend": self.backend, "precision": self.precision}
        return {"model": self.model.config.to_dict(), "tracker": dict(options), "weights": graph, **how}

    def _exported(self, source: Source, options: dict) -> Path:
        """The folder of the checkpoint's graphs in the cache, made unless it is there. Raises UserError."""
        from relo_jax.export import write  # with onnx, which graphs that are there do not need

        cache = cache_folder("exported", "exported graphs")
        if cache is None:
            raise UserError(f"there is no folder for graphs: relo export {self.checkpoint} OUT, and --checkpoint OUT")
        package = Path(__file__).parents[1]
        code = sorted(path for name in _MAKING_GRAPHS for path in (package / name).glob("*.py"))
        made_by = b"".join(path.read_bytes() for path in code)
        facts = [source.checkpoint, options, self.precision, hashlib.sha256(made_by).hexdigest()]
        folder = cache / hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]
        if not is_export(folder):
            check_installed(*_EXPORTING)
            print(f"exporting {self.checkpoint} for {self.backend}, the first time", file=sys.stderr)
            try:
                write.export(replace(source, options=options), folder, [self.precision])
            except UserError:
                if not is_export(folder):  # else another process was faster
                    raise
        return folder


def is_export(path: object) -> bool:
    """Whether a checkpoint is a folder of `relo export`."""
    return isinstance(path, (str, Path)) and (Path(path) / relo_track.TRACKER_FILE).is_file()


def open_exported(
    checkpoint: str | Path = "starter",
    targets: int | None = None,
    *,
    backend: str = "onnxruntime",
    precision: str = "float32",
    threads: int | None = None,
    provider: str | None = None,
    **options: float,
) -> Tracker | MultiTracker:
    """A tracker on exported graphs, with the methods of `Tracker`, or of `MultiTracker` for K targets.

        tracker = relo_jax.open_exported("exported", backend="openvino", threads=1)
        tracker.init(frame, (x, y, w, h))
        result = tracker.update(next_frame)

    `update_chunk` takes the frames one by one, and `look` has no value.

    Args:
      checkpoint: a folder of `relo export`; or what `Tracker.from_pretrained` takes, which is exported first (into the
        user's cache, once).
      targets: K; None gives a `Tracker`.
      backend: "onnxruntime" or "openvino".
      precision: of the graphs: "float32", "float16" or "int8".
      threads: of the processor; None: all.
      provider: of ONNX Runtime, such as "CUDAExecutionProvider"; a device of OpenVINO, such as "GPU". None: the CPU.
      **options: options of `Tracker` to replace. Window power and weights of the score of graphs that are there are
        fixed.

    Raises:
      UserError: see `Tracker.from_pretrained`; graphs that lack this precision or do not belong together.
    """
    exported = Exported(checkpoint, backend, precision, threads, provider)
    chosen = checked_options({**exported.config.get("tracker", {}), **options}, exported.model)
    opened = exported.network(chosen)
    if targets is None:
        return ExportedTracker(exported, opened, 1, chosen)
    return ExportedMultiTracker(exported, opened, targets, chosen)


class _OnGraphs(VideoTargets):
    """What `Tracker` and `MultiTracker` have from `VideoTargets`, computed by K trackers of relo_track.py."""

    def __init__(self, exported: Exported, network: relo_track.Network, count: int, options: dict):
        if count < 1:
            raise UserError(f"targets is {count}: give the number of targets, at least 1")
        self.checkpoint, self._model, self._count, self._begun = str(exported.checkpoint), exported.model, count, False
        self._options, self._network = options, network
        self._targets = [relo_track.Tracker(network) for _ in range(count)]
        for target in self._targets:
            target.options = {name: options[name] for name in relo_track.OPTIONS}

    @property
    def model(self) -> RELO:
        return self._model

    @property
    def computes(self) -> str:
        return f"in {self._network.precision}, by {self._network.backend}"

    @property
    def options(self) -> dict[str, float]:
        return self._options

    @property
    def calibrated(self) -> bool:
        return self._network.config["calibrated"]

    @property
    def boxes(self) -> np.ndarray:
        self._check_begun("boxes")
        return np.stack([target.box for target in self._targets])

    def prepare(self, height: int, width: int, chunk: int | None = None) -> None:
        """Nothing is compiled for a size."""

    def rescale(self, across: float, down: float) -> None:
        scale = np.array([across, down, across, down], np.float32)
        for target in self._targets:
            target.box = target.box * scale
            target.window = relo_track.crop_window(target.box, self._network.config["search_factor"])

    def _init(self, frame: np.ndarray, boxes_xywh: Sequence[Box]) -> None:
        check_frame(frame)
        boxes = [check_box(box, frame) for box in boxes_xywh]
        for target, box in zip(self._targets, boxes, strict=True):
            target.init(frame, box.tolist())
        self._begun = True

    def _init_one(self, row: int, frame: np.ndarray, box_xywh: Box) -> None:
        check_frame(frame)
        self._targets[row].init(frame, check_box(box_xywh, frame).tolist())

    def _update(self, frame: np.ndarray) -> list[Result]:
        return [Result(one.box, one.score, one.found, one.response) for one in self._advanced("update", frame)]

    def _look(self, frame: np.ndarray) -> list[Look]:
        grid = self._network.config["grid"]
        window = hann_window(grid, self._options[_WINDOW_POWER]).reshape(grid, grid)
        return [
            Look(
                one.box, one.score, one.found, one.response, policy=one.policy, value=None,
                entropy=float(-(one.policy * np.log(np.maximum(one.policy, 1e-38))).sum()), window=window,
                region=one.region,
            )
            for one in self._advanced("look", frame)
        ]  # fmt: skip

    def _update_chunk(self, frames: Sequence[np.ndarray], length: int | None) -> Callable[[], Iterator[list[Result]]]:
        results = [self._update(frame) for frame in frames]
        return lambda: iter(results)

    def _advanced(self, name: str, frame: np.ndarray) -> list[Any]:
        """The results of relo_track.py."""
        self._check_begun(name)
        check_frame(frame)
        with as_user_error():
            return relo_track.advance(self._targets, [frame] * self._count)


class ExportedTracker(_OnGraphs, Tracker):
    """A `Tracker` on exported graphs."""


class ExportedMultiTracker(_OnGraphs, MultiTracker):
    """A `MultiTracker` on exported graphs."""


@contextlib.contextmanager
def as_user_error() -> Iterator[None]:
    """A mistake that relo_track.py reports is a UserError here."""
    try:
        yield
    except relo_track.TrackerError as error:
        raise UserError(str(error)) from None
