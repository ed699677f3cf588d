"""The graphs of a frame and of a template: what they compute, for every kind of model."""

import functools

import pytest

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")

import onnx

from relo_jax.checkpoints.load import Loaded
from relo_jax.export import onnx_files, parity
from relo_jax.export.source import Source
from relo_jax.tracking.options import checked_options
from tests.export.weights import CALIBRATION, random_variables, small

MODELS = {
    "the paper's": (dict(templates=2), CALIBRATION, 1),
    "several targets, not calibrated": (dict(templates=1), {}, 3),
    "deep to shallow": (dict(templates=2, propagation="deep_to_shallow"), CALIBRATION, 2),
    "no propagation": (dict(templates=1, propagation="none"), CALIBRATION, 1),
    "heat map": (dict(templates=2, localizer="heatmap"), {}, 2),
    "heat map, deep to shallow": (dict(templates=1, localizer="heatmap", propagation="deep_to_shallow"), {}, 1),
}


@functools.cache
def source(name):
    overrides, calibration, _ = MODELS[name]
    model = small(**overrides)
    options = checked_options({"window_power": 1.5, "update_interval": 0, **calibration}, model)
    return Source({"name": name, "sha256": ""}, Loaded(model, random_variables(model), {}), options, None)


@functools.cache
def recorded(name):
    return parity.record(source(name), MODELS[name][2])


def differences(folder, name, precision="float32"):
    batch, graphs = MODELS[name][2], {}
    onnx_files.write_template(source(name), batch, folder / "template.onnx")
    onnx_files.write_step(source(name), precision, batch, folder / "step.onnx")
    for graph in ("template", "step"):
        onnx.checker.check_model(folder / f"{graph}.onnx", full_check=True)
        graphs[graph] = onnx_files.opened(folder / f"{graph}.onnx")
    return parity.differences(graphs, recorded(name))


@pytest.mark.parametrize("name", MODELS)
def test_a_step_is_that_of_relo_jax(name, tmp_path):
    found = differences(tmp_path, name)
    outputs = {"template", "box", "response", "score", "policy", "new_tokens"}
    assert found.keys() == (outputs | {"new_reference"} if MODELS[name][1] else outputs)
    assert max(found.values()) < 1e-4, found
