"""template.onnx: a template crop and the target in it -> the template's tokens."""

from __future__ import annotations

import numpy as np
import onnx

from relo_jax.config.model_config import STRIDE, ModelConfig
from relo_jax.export import network
from relo_jax.export.graph import Graph
from relo_jax.model.folding import Folded


def template_model(config: ModelConfig, folded: Folded, batch: int) -> onnx.ModelProto:
    """The graph of one template.

    Inputs: image uint8 `[B, s, s, 3]`; box float32 `[B, 4]`, xywh relative to the crop. Output: template float32
    `[B, m, D]`.

    Args:
      config: of the model; its dtype is the graph's.
      folded: of `fold`.
      batch: B.
    """
    size, width = config.template_size, config.width
    graph = Graph(config.dtype)
    image = graph.input("image", np.uint8, (batch, size, size, 3))
    box = graph.input("box", np.float32, (batch, 4))
    share = network.foreground_share(graph, box, batch, size)
    kind = graph.add("Mul", share, graph.constant(folded.foreground, np.float32, "foreground"))
    rows = graph.add("Add", kind, graph.constant(folded.template_rows, np.float32, "template_rows"))
    tokens = graph.add("Add", network.stem(graph, folded.stem, image, batch, size, config), graph.narrow(rows))
    graph.output("template", graph.float(tokens), np.float32, (batch, (size // STRIDE) ** 2, width))
    return graph.model("template")
