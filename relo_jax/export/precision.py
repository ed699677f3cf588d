"""The step's ONNX graph in other precisions than float32.

float16: weights and computation of the encoder in half; statistics of norms, the heads and all behind them are float32.
For GPUs and for WebGPU; a CPU has no gain but the file's size.

int8: weights of the main blocks' linear layers in 7 bits, one scale an output; their inputs in 8, one scale a product,
taken from each frame as it comes ("dynamic"). So nothing is calibrated, and no data is scored on that it was calibrated
on. 7 bits, because older x86 processors add two products in 16 bits. Stem, heads and the last layer of each SwiGLU stay
float32: the inputs of that layer spread over several orders of magnitude, and it costs more accuracy than all others.

Inputs and outputs are float32 in all of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic

from relo_jax.export.source import Source
from relo_jax.export.step import step_model
from relo_jax.model.folding import fold

_QUANTISED = re.compile(r"block\d+/(attention/(query|key|value|project)|mlp/(gate|up))")


def step_in(precision: str, source: Source, batch: int) -> onnx.ModelProto:
    """The step graph of a checkpoint in "float32", "float16" or "int8", for B targets."""
    config = dataclasses.replace(source.config, dtype="float16" if precision == "float16" else "float32")
    model = step_model(source, fold(config, source.loaded.variables), config.dtype, batch)
    return _quantised(model) if precision == "int8" else model


def _quantised(model: onnx.ModelProto) -> onnx.ModelProto:
    nodes = [node.name for node in model.graph.node if node.op_type == "MatMul" and _QUANTISED.fullmatch(node.name)]
    with _without_advice(), tempfile.TemporaryDirectory(prefix="relo-int8-") as folder:
        path = Path(folder) / "step.onnx"
        quantize_dynamic(
            model, path, op_types_to_quantize=["MatMul"], nodes_to_quantize=nodes, per_channel=True, reduce_range=True,
            weight_type=QuantType.QInt8,
        )  # fmt: skip
        return onnx.load(path)


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    logger = logging.getLogger()
    logger.addFilter(_is_not_the_advice)
    try:
        yield
    finally:
        logger.removeFilter(_is_not_the_advice)


def _is_not_the_advice(record: logging.LogRecord) -> bool:
    """Whether a record is not that of the quantiser, which asks for shapes to be inferred: these graphs have them."""
    return "pre-processing before quantization" not in record.getMessage()


def open_session(path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """A graph in ONNX Runtime, on the CPU; 0 threads: one a core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def processor_ms(paths: Mapping[str, Path], feed: Mapping[str, np.ndarray], seconds: float = 4.0) -> dict[str, float]:
    """Milliseconds of processor time of a step with one thread, median; the graphs take turns, so that load is fair.

    Args:
      paths: precision -> step graph.
      feed: inputs of a step, among others.
      seconds: to measure for.
    """
    sessions = {name: open_session(path, 1) for name, path in paths.items()}
    taken: dict[str, list[float]] = {name: [] for name in paths}
    feed = {one.name: feed[one.name] for one in next(iter(sessions.values())).get_inputs()}
    for session in sessions.values():
        session.run(None, feed)
    end = time.monotonic() + seconds
    while time.monotonic() < end or not all(taken.values()):
        for name, session in sessions.items():
            start = time.process_time()
            session.run(None, feed)
            taken[name].append(time.process_time() - start)
    return {name: 1000 * float(np.median(times)) for name, times in taken.items()}
