"""The builder of ONNX graphs."""

import pytest

pytest.importorskip("onnx", reason="needs the extra `export`")

import numpy as np
import onnx

from relo_jax.export.graph import Graph


def test_names_tell_where_a_node_belongs_and_equal_constants_are_stored_once():
    graph = Graph()
    x = graph.input("x", np.float32, (2, 3))
    with graph.scope("block0"), graph.scope("mlp"):
        once = graph.add("Add", x, graph.constant(1, np.float32))
        twice = graph.add("Add", once, graph.constant(1, np.float32))
    graph.output("y", graph.reshape(twice, 3, 2), np.float32, (3, 2))
    model = graph.model("small")
    onnx.checker.check_model(model, full_check=True)
    assert [node.name for node in model.graph.node] == ["block0/mlp/Add", "block0/mlp/Add_2", "Reshape", "output/y"]
    assert len(model.graph.initializer) == 2  # 1 and the shape
    run = onnx.reference.ReferenceEvaluator(model).run
    np.testing.assert_array_equal(run(None, {"x": np.zeros((2, 3), np.float32)})[0], np.full((3, 2), 2.0))
