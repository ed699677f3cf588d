"""template.onnx: a template crop and the target in it -> the template's tokens."""

from __future__ import annotations

import numpy as np
import onnx

from relo_jax.export import network
from relo_jax.export.graph import Graph
from relo_jax.export.source import Source
from relo_jax.model.folding import Folded


def template_model(source: Source, folded: Folded) -> onnx.ModelProto:
    """The graph of one template. It takes one however many targets a step takes: each has its own when it is due.

    Inputs: image uint8 `[1, s, s, 3]`; box float32 `[1, 4]`, xywh relative to the crop. Output: template float32
    `[1, m, D]`.

    Args:
      source: the checkpoint.
      folded: of `fold`, float32.
    """
    size, config = source.config.template_size, source.config
    graph = Graph()
    image = graph.input("image", np.uint8, (1, size, size, 3))
    box = graph.input("box", np.float32, (1, 4))
    share = network.foreground_share(graph, box, size)
    kind = graph.add("Mul", share, graph.constant(folded.foreground, np.float32, "foreground"))
    rows = graph.add("Add", kind, graph.constant(folded.template_rows, np.float32, "template_rows"))
    tokens = graph.add("Add", network.stem(graph, folded.stem, image, 1, size, config), rows)
    graph.output("template", tokens, np.float32, (1, source.template_tokens, config.width))
    return graph.model("template")
