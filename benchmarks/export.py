"""How near exported graphs are to relo_jax: all outputs, the boxes of real videos step by step, and AUC.

    python -m benchmarks.export --variant t256 --precisions float16,int8                      # random weights
    python -m benchmarks.export --checkpoint starter --root otb_mini --precisions float16,int8

Outputs are compared on the recorded steps of `relo export` (relo_jax/export/parity.py). Boxes of videos are compared
step by step, each from the state of relo_jax: trajectories of two correct programs part on a hard video. AUC is that of
the driver by itself, on ONNX Runtime.
"""

import tempfile
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np

from benchmarks import common
from relo_jax.data.datasets.folder import read_folder
from relo_jax.data.sequence import Sequence
from relo_jax.eval.benchmarks import open_benchmark
from relo_jax.eval.runner import evaluate
from relo_jax.export import onnx_files, write
from relo_jax.export.backend import Exported
from relo_jax.export.parity import Run
from relo_jax.geometry.boxes import clip_box_xywh
from relo_jax.geometry.crop import SEARCH_FACTOR, box_from_crop
from relo_jax.model import RELO
from relo_jax.tracking import confidence, programs
from relo_jax.tracking.step import init_state, replace_template, step
from tests.export.weights import CALIBRATION, random_source


class Steps:
    """A checkpoint as relo_jax computes it, and its exported step."""

    def __init__(self, source: write.Source, graph: Run):
        self._source, self._graph, self._config = source, graph, source.config
        variables = jax.device_put(confidence.with_weights(source.loaded.variables, source.options))
        on_model = lambda function: partial(jax.jit(function, static_argnums=0), source.loaded.model, variables)
        self._step, self._replace = on_model(step), on_model(replace_template)
        self._begin = on_model(partial(init_state, window_power=source.options["window_power"]))
        self._updates = programs.Updates.of(source.options) if source.options["update_interval"] else None

    def apart(self, sequence: Sequence) -> tuple[int, float]:
        """Number of steps in a video, and the largest distance of two boxes in pixels."""
        largest = 0.0
        box = np.asarray(sequence.boxes_xywh[0], np.float32)[None]
        state = self._begin(*self._view(sequence.read_frame(0), box))
        for index in range(1, len(sequence)):
            frame = sequence.read_frame(index)
            crop, factor = programs.cropper(frame)(box[0], SEARCH_FACTOR, self._config.search_size)
            inputs = {"search": crop[None], **{name: np.asarray(value) for name, value in vars(state).items()}}
            state, result = self._step(state, crop[None])
            found = result.box_cxcywh_norm, self._graph(inputs)["box"]
            box, exported = (self._in_frame(np.asarray(one), box, factor, frame) for one in found)
            largest = max(largest, float(np.abs(box - exported).max()))
            if self._updates is not None and self._updates.due(index, float(result.response[0])):
                state = self._replace(state, *self._view(frame, box))
        return len(sequence) - 1, largest

    def _in_frame(self, found: np.ndarray, last: np.ndarray, factor: float, frame: np.ndarray) -> np.ndarray:
        box = box_from_crop(found, last, np.float32(factor), self._config.search_size)
        return clip_box_xywh(box, *np.float32(frame.shape[:2]))

    def _view(self, frame: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return programs.template_view(box[0], self._config.template_size, programs.cropper(frame))


def of_random(variant: str, precisions: list[str]) -> dict:
    """The row of a variant with random weights."""
    source = random_source(RELO.from_variant(variant), CALIBRATION)
    with tempfile.TemporaryDirectory() as folder:
        return {"weights": "random", "variant": variant, **_exported(source, Path(folder) / "out", precisions)}


def of_checkpoint(checkpoint: str, root: Path, precisions: list[str]) -> dict:
    """The row of a checkpoint, on a folder of sequences."""
    source = write.Source.of(checkpoint)
    benchmark = open_benchmark("folder", root)
    auc = lambda tracker, name: round(evaluate(benchmark, tracker, Path(folder) / name).mean.auc, 4)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        row = _exported(source, out, precisions)
        steps = Steps(source, onnx_files.opened(out / "step.onnx"))
        apart = {one.name: steps.apart(one) for one in read_folder(root)}
        found = {"relo_jax": auc(checkpoint, "relo_jax")}
        found |= {name: auc(Exported(out, precision=name), name) for name in row["difference"]}
    return {
        "weights": checkpoint, "variant": source.config.variant, **row, "of": root.name,
        "steps": sum(count for count, _ in apart.values()),
        "step_by_step_px": {name: float(f"{px:.2g}") for name, (_, px) in apart.items()}, "auc": found,
    }  # fmt: skip


def _exported(source: write.Source, out: Path, precisions: list[str]) -> dict:
    """Exports; returns the differences of all outputs, megabytes and seconds."""
    start = time.perf_counter()
    graphs = write.export(source, out, precisions)["graphs"]
    seconds = time.perf_counter() - start
    size = lambda entry: (out / entry["file"]).stat().st_size + (size(entry["data"]) if "data" in entry else 0)
    return {
        "difference": {name: entry["difference"] for name, entry in graphs.items()},
        "step_mb": {name: round(size(entry["step"]) / 1e6, 1) for name, entry in graphs.items()},
        "external_data": "data" in graphs["float32"]["step"],
        "export_seconds": round(seconds, 1),
    }


def main() -> None:
    """Measures and appends a row."""
    args = common.arguments(__doc__, checkpoint="", root="otb_mini", precisions="float32")
    precisions = args.precisions.split(",")
    if args.checkpoint:
        common.record("export", of_checkpoint(args.checkpoint, Path(args.root), precisions))
    else:
        common.record("export", of_random(args.variant, precisions))


if __name__ == "__main__":
    main()
