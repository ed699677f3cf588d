"""The graphs of a frame and of a template: what they compute, for every kind and size of model."""

import functools

import pytest

pytest.importorskip("onnx", reason="needs the extra `export`")
pytest.importorskip("onnxruntime", reason="needs the extra `export`")

import onnx

from relo_jax.export import onnx_files, parity
from relo_jax.model import RELO
from tests.export.weights import CALIBRATION, SMALL, random_source

FEW = dict(depth=2)  # of a large variant: all its other sizes, in the time of a test
MODELS = {  # variant, fields, calibration, batch
    "the paper's": ("tiny", SMALL | dict(templates=2), CALIBRATION, 1),
    "several targets, not calibrated": ("tiny", SMALL, {}, 3),
    "deep to shallow": ("tiny", SMALL | dict(templates=2, propagation="deep_to_shallow"), CALIBRATION, 2),
    "no propagation": ("tiny", SMALL | dict(propagation="none"), CALIBRATION, 1),
    "heat map": ("tiny", SMALL | dict(templates=2, localizer="heatmap", propagation="deep_to_shallow"), {}, 2),
    "t256": ("t256", FEW, CALIBRATION, 1),
    "b256": ("b256", FEW, CALIBRATION, 1),
}


@functools.cache
def recorded(name):
    variant, fields, calibration, batch = MODELS[name]
    source = random_source(RELO.from_variant(variant, **fields), calibration)
    return source, batch, parity.record(source, batch)


def differences(folder, name, precision="float32"):
    source, batch, record = recorded(name)
    graphs = {"template": folder / "template.onnx", "step": folder / f"{precision}.onnx"}
    onnx_files.write_template(source, graphs["template"])
    onnx_files.write_step(source, precision, batch, graphs["step"])
    for path in graphs.values():
        onnx.checker.check_model(path, full_check=True)
    return parity.differences({graph: onnx_files.opened(path) for graph, path in graphs.items()}, record)


@pytest.mark.parametrize("name", MODELS)
def test_a_step_is_that_of_relo_jax(name, tmp_path):
    found = differences(tmp_path, name)
    outputs = {"template", "box", "response", "score", "policy", "new_tokens"}
    assert found.keys() == (outputs | {"new_reference"} if MODELS[name][2] else outputs)
    assert max(found.values()) < 1e-4, found


@pytest.mark.parametrize(("precision", "largest", "smallest"), [("float16", 0.02, 1e-5), ("int8", 0.25, 1e-3)])
def test_half_and_int8_are_near_and_not_equal(precision, largest, smallest, tmp_path):
    found = differences(tmp_path, "the paper's", precision)
    assert max(found.values()) < largest, found
    assert found["new_tokens"] > smallest, found
    assert found["template"] < 1e-4  # shared by all precisions


def test_runtimes_can_plan_ahead_no_loop_and_only_onnxs_own_operators(tmp_path):
    source, batch, _ = recorded("the paper's")
    onnx_files.write_step(source, "float32", batch, tmp_path / "step.onnx")
    model = onnx.load(tmp_path / "step.onnx")
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert not {node.op_type for node in model.graph.node} & {"Loop", "If", "Scan"}
    shapes = [value.type.tensor_type.shape.dim for value in (*model.graph.input, *model.graph.output)]
    assert all(size.dim_value for shape in shapes for size in shape)
