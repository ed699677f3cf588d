"""The graphs of an exported folder as ONNX files, checked with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from relo_jax.export.folder import entry
from relo_jax.export.parity import Run
from relo_jax.export.precision import open_session, step_in
from relo_jax.export.source import Source
from relo_jax.export.template import template_model
from relo_jax.model.folding import fold

PRECISIONS = ("float32", "float16", "int8")
SUFFIX = ".onnx"
_LARGE = 1_000_000_000  # bytes of weights; protobuf ends at 2 GiB, and loads slowly long before


def write_template(source: Source, path: Path) -> dict[str, Any]:
    """Writes the graph of a template, float32, which all precisions share: few frames need it. Returns its entry."""
    return _save(template_model(source, fold(source.config, source.loaded.variables)), path)


def write_step(source: Source, precision: str, batch: int, path: Path) -> dict[str, Any]:
    """Writes the graph of a step in one of PRECISIONS, its weights beside it if they are large. Returns its entry."""
    return _save(step_in(precision, source, batch), path)


def opened(path: Path) -> Run:
    """A graph as a function of its inputs, others ignored."""
    session = open_session(path)
    names = [output.name for output in session.get_outputs()]
    wanted = [one.name for one in session.get_inputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {name: inputs[name] for name in wanted}), strict=True))

    return run


def _save(model: onnx.ModelProto, path: Path) -> dict[str, Any]:
    if sum(len(weight.raw_data) for weight in model.graph.initializer) <= _LARGE:
        onnx.save_model(model, path)
        return entry(path)
    data = path.with_name(f"{path.name}.data")
    onnx.save_model(model, path, save_as_external_data=True, location=data.name)
    return entry(path, data)
