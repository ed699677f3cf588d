"""A small builder of ONNX graphs: each method adds a node and returns the name of its output.

    graph = Graph()
    x = graph.input("x", np.float32, (1, 4, 8))
    with graph.scope("block0"):
        y = graph.linear(x, layer)
    graph.output("y", y, np.float32, (1, 4, 8))
    model = graph.model("step")

Operators are of ONNX's own domain, none of them is Loop, If or Scan, and shapes are static: so that ONNX Runtime,
OpenVINO and onnxruntime-web all take a file, and optimise it for their processor themselves. LayerNormalization, which
is faster as one node, exists since opset 17. No later operator is needed: runtimes know the nodes of a GELU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from relo_jax import __version__
from relo_jax.model.folding import Linear
from relo_jax.model.layers import LN_EPS

OPSET, IR_VERSION = 17, 8  # IR 8 is of the same year


class Graph:
    """Nodes, weights, inputs and outputs.

    Args:
      dtype: float32 or float16, of everything that is not asked for in another.
    """

    def __init__(self, dtype: str = "float32"):
        self.dtype = np.dtype(dtype)
        self._scope: list[str] = []
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._constants: dict[tuple, str] = {}  # those that are the same are stored once
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._counts: dict[str, int] = {}

    @contextlib.contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """The names of what is added inside begin with `name/`."""
        self._scope.append(name)
        try:
            yield
        finally:
            self._scope.pop()

    def input(self, name: str, dtype: Any, shape: Sequence[int | None]) -> str:
        """An input of the graph."""
        self._inputs.append(_value(name, dtype, shape))
        return name

    def output(self, name: str, x: str, dtype: Any, shape: Sequence[int | None]) -> None:
        """Names a result as an output of the graph."""
        self._nodes.append(helper.make_node("Identity", [x], [name], name=f"output/{name}"))
        self._outputs.append(_value(name, dtype, shape))

    def constant(self, value: Any, dtype: Any = None, name: str = "constant") -> str:
        """An array that the file holds; `dtype` None keeps its own."""
        array = np.array(value, dtype, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = full = self._unique(name)
            self._weights[full] = numpy_helper.from_array(array, full)
        return self._constants[key]

    def add(self, op: str, *inputs: str, outputs: int = 1, name: str = "", **attributes: Any) -> Any:
        """A node of any operator. Returns the name of its output, or a list of several."""
        full = self._unique(name or op)
        results = [full] if outputs == 1 else [f"{full}.{k}" for k in range(outputs)]
        self._nodes.append(helper.make_node(op, list(inputs), results, name=full, **attributes))
        return results[0] if outputs == 1 else results

    def model(self, name: str) -> onnx.ModelProto:
        """The finished graph."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, list(self._weights.values()))
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
            producer_name="relo_jax", producer_version=__version__,
        )  # fmt: skip

    def cast(self, x: str, dtype: Any) -> str:
        """x in another dtype."""
        return self.add("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def float(self, x: str) -> str:
        """x in float32, given in the graph's dtype."""
        return x if self.dtype == np.float32 else self.cast(x, np.float32)

    def narrow(self, x: str) -> str:
        """x in the graph's dtype, given in float32."""
        return x if self.dtype == np.float32 else self.cast(x, self.dtype)

    def reshape(self, x: str, *shape: int) -> str:
        """x in another shape; -1 stands for what is left."""
        return self.add("Reshape", x, self.constant(shape, np.int64))

    def transpose(self, x: str, *axes: int) -> str:
        """x with its axes in another order."""
        return self.add("Transpose", x, perm=axes)

    def concat(self, parts: Sequence[str], axis: int) -> str:
        """Joins arrays."""
        return self.add("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]

    def slice(self, x: str, start: int, end: int, axis: int) -> str:
        """x[start:end] along an axis."""
        bounds = (self.constant([value], np.int64) for value in (start, end, axis))
        return self.add("Slice", x, *bounds)

    def linear(self, x: str, layer: Linear, name: str = "linear") -> str:
        """`x @ kernel + bias`."""
        product = self.add("MatMul", x, self.constant(layer.kernel, name=f"{name}.kernel"), name=name)
        return self.add("Add", product, self.constant(layer.bias, name=f"{name}.bias"), name=f"{name}.sum")

    def normalised(self, x: str, width: int) -> str:
        """LayerNorm over the last axis without scale and bias; its sums are float32."""
        return self.add("LayerNormalization", x, self.constant(np.ones(width), self.dtype), axis=-1, epsilon=LN_EPS)

    def gelu(self, x: str) -> str:
        """GELU by the error function, in the form that runtimes know and fuse."""
        number = lambda value: self.constant(value, self.dtype)
        share = self.add("Add", self.add("Erf", self.add("Div", x, number(2**0.5))), number(1))
        return self.add("Mul", self.add("Mul", x, share), number(0.5))

    def silu(self, x: str) -> str:
        """`x sigmoid(x)`."""
        return self.add("Mul", x, self.add("Sigmoid", x))

    def _unique(self, name: str) -> str:
        full = "/".join([*self._scope, name])
        count = self._counts[full] = self._counts.get(full, 0) + 1
        return full if count == 1 else f"{full}_{count}"


def _value(name: str, dtype: Any, shape: Sequence[int | None]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))
