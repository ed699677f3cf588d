"""The parts of the network as nodes of an ONNX graph: `model/inference.py`, which computes with the same arrays.

Maps are [B, C, H, W] here, as ONNX's convolutions want them.
"""

from __future__ import annotations

import numpy as np

from relo_jax.config.model_config import STRIDE, ModelConfig
from relo_jax.export.graph import Graph
from relo_jax.model.folding import GREY, Linear, MainBlock, Stem, StemBlock, Tower


def stem(graph: Graph, stem: Stem, images: str, batch: int, side: int, config: ModelConfig) -> str:
    """uint8 `[B, side, side, 3]` to tokens `[B, N, D]`, without the bias of the last layer."""
    width, cells = config.width // 4, side // 4

    def blocks(x: str, stage: tuple[StemBlock, ...], width: int, name: str) -> str:
        for index, block in enumerate(stage):
            with graph.scope(f"{name}.{index}"):
                hidden = graph.gelu(graph.linear(graph.normalised(x, width), block.up, "up"))
                x = graph.add("Add", x, graph.linear(graph.normalised(hidden, 3 * width), block.down, "down"))
        return x

    with graph.scope("stem"):
        pixels = graph.cast(_patches(graph, images, batch, cells, 4, 3), graph.dtype)
        pixels = graph.add("Sub", pixels, graph.constant(GREY, graph.dtype))
        x = blocks(graph.linear(pixels, stem.patches, "patches"), stem.stage1, width, "stage1")
        x = _patches(graph, graph.normalised(x, width), batch, cells // 2, 2, width)
        x = blocks(graph.linear(x, stem.merge1, "merge1"), stem.stage2, 2 * width, "stage2")
        x = _patches(graph, graph.normalised(x, 2 * width), batch, cells // 4, 2, 2 * width)
        return graph.add("MatMul", x, graph.constant(stem.merge2.kernel, name="merge2.kernel"), name="merge2")


def main_block(
    graph: Graph, block: MainBlock, x: str, memory: str | None, count: int, kept: int, batch: int, config: ModelConfig
) -> str:
    """One block; returns the first `kept` tokens.

    Args:
      graph: to add to.
      block: its arrays.
      x: `[B, count, D]`.
      memory: `[B, n, D]`, tokens that are only attended to.
      count, kept, batch: sizes.
      config: of the model.
    """
    width, heads = config.width, config.heads
    total = count + (config.temporal_tokens if memory else 0)
    split = lambda y, rows: graph.reshape(y, batch, rows, heads, width // heads)
    kernels = np.split(np.asarray(block.query_key_value), 3, axis=-1)
    product = lambda y, kernel, name: graph.add("MatMul", y, graph.constant(kernel, name=f"{name}.kernel"), name=name)
    with graph.scope("attention"):
        own = context = graph.normalised(x, width)
        if memory is not None:
            context = graph.concat([own, graph.normalised(memory, width)], axis=1)
        if kept < count:
            own, x = graph.slice(own, 0, kept, 1), graph.slice(x, 0, kept, 1)
        query = graph.linear(own, Linear(kernels[0], block.query_bias), "query")
        query = graph.transpose(split(query, kept), 0, 2, 1, 3)
        key = graph.transpose(split(product(context, kernels[1], "key"), total), 0, 2, 3, 1)
        value = graph.transpose(split(product(context, kernels[2], "value"), total), 0, 2, 1, 3)
        weights = graph.add("Softmax", graph.add("MatMul", query, key, name="logits"), axis=-1)
        attended = graph.transpose(graph.add("MatMul", weights, value, name="attended"), 0, 2, 1, 3)
        x = graph.add("Add", x, graph.linear(graph.reshape(attended, batch, kept, width), block.project, "project"))
    with graph.scope("mlp"):
        normalised = graph.normalised(x, width)
        halves = (np.split(np.asarray(array), 2, axis=-1) for array in block.gate_up)
        gate, up = (Linear(*arrays) for arrays in zip(*halves, strict=True))
        gated = graph.silu(graph.linear(normalised, gate, "gate"))
        hidden = graph.add("Mul", gated, graph.linear(normalised, up, "up"))
        return graph.add("Add", x, graph.linear(graph.normalised(hidden, 3 * width), block.down, "down"))


def tower(graph: Graph, tower: Tower, x: str, inside: str | None = None) -> str:
    """The maps of G towers, float32 in every precision, `[B, G channels, h, w]`.

    Args:
      graph: to add to.
      tower: its arrays.
      x: float32 `[B, D, H, W]`.
      inside: `[B, 1, 9, 9]`, 1 where a cell around the chosen one lies on the map, 0 elsewhere. None: x is the map.
    """
    groups = tower.out.kernel.shape[0]
    pads = [1] * 4 if inside is None else [0] * 4
    for index, layer in enumerate(tower.convolutions):
        kernel, bias = (np.asarray(array) for array in layer)
        if index == 0:
            kernel = kernel.reshape(3, 3, -1, kernel.shape[-1]).transpose(3, 2, 0, 1)
        else:
            kernel = kernel.reshape(groups, 3, 3, -1, kernel.shape[-1]).transpose(0, 4, 3, 1, 2)
            kernel = kernel.reshape(-1, *kernel.shape[2:])
        name = f"convolution{index}"
        arrays = _arrays(graph, kernel, bias, name)
        x = graph.add("Conv", x, *arrays, name=name, pads=pads, group=groups if index else 1)
        x = graph.add("Relu", x)
        if inside is not None and index < 3:  # the last is the chosen cell itself
            inside = graph.slice(graph.slice(inside, 1, -1, 2), 1, -1, 3)
            x = graph.add("Mul", x, inside)  # as the padding of the whole map would be
    kernel = np.asarray(tower.out.kernel).transpose(0, 2, 1)
    arrays = _arrays(graph, kernel.reshape(-1, kernel.shape[-1], 1, 1), np.asarray(tower.out.bias), "out")
    return graph.add("Conv", x, *arrays, name="out", group=groups)


def _arrays(graph: Graph, kernel: np.ndarray, bias: np.ndarray, name: str) -> list[str]:
    """Kernel and bias of a convolution, float32."""
    parts = {"kernel": kernel, "bias": bias.ravel()}
    return [graph.constant(array, np.float32, f"{name}.{part}") for part, array in parts.items()]


def clamped_sigmoid(graph: Graph, x: str) -> str:
    """`heads.clamped_sigmoid`, float32."""
    bounds = (graph.constant(value, np.float32) for value in (1e-4, 1 - 1e-4))
    return graph.add("Clip", graph.add("Sigmoid", x), *bounds)


def foreground_share(graph: Graph, box: str, size: int) -> str:
    """`fast_itpn.foreground_share`: box float32 `[1, 4]`, xywh relative to the crop, to `[1, m, 1]`."""
    pixels = graph.constant(np.arange(size), np.float32, "pixels")
    x, y, w, h = graph.add("Split", graph.add("Mul", box, graph.constant(size, np.float32)), axis=1, outputs=4)

    def share(start: str, extent: str) -> str:
        behind = graph.add("Less", pixels, graph.add("Add", start, extent))
        inside = graph.add("And", graph.add("GreaterOrEqual", pixels, start), behind)
        inside = graph.reshape(graph.cast(inside, np.float32), 1, size // STRIDE, STRIDE)
        return graph.add("ReduceMean", inside, axes=[2], keepdims=1)  # [1, size / 16, 1]

    across = graph.transpose(share(x, w), 0, 2, 1)
    return graph.reshape(graph.add("Mul", share(y, h), across), 1, (size // STRIDE) ** 2, 1)


def _patches(graph: Graph, x: str, batch: int, cells: int, side: int, channels: int) -> str:
    """Any `[B, cells * side, cells * side, channels]`, rows joined or not, to `[B, cells^2, side^2 channels]`."""
    x = graph.reshape(x, batch, cells, side, cells, side, channels)
    return graph.reshape(graph.transpose(x, 0, 1, 3, 2, 4, 5), batch, cells**2, side**2 * channels)
