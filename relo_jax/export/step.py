"""step.onnx: a search crop and the state of the last frame -> box, response, score, policy and the new state.

It is `tracking/step.py` with `model/inference.py` under it, from the pixels to the score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from relo_jax.export import network
from relo_jax.export.graph import Graph
from relo_jax.export.source import Source
from relo_jax.model.folding import Folded
from relo_jax.model.layers import LN_EPS
from relo_jax.model.temporal import carried_rows
from relo_jax.tracking.confidence import EVIDENCE, LARGEST_LOG_ODDS
from relo_jax.tracking.step import hann_window

REACH = 4  # cells around the chosen one that its box depends on


def step_model(source: Source, folded: Folded, dtype: str, batch: int) -> onnx.ModelProto:
    """The graph of one frame.

    Inputs: search uint8 `[B, S, S, 3]`; templates float32 `[B, K m, D]`; first bool `[B]`; those of `Source.states`.
    Outputs, float32: box `[B, 4]`, cxcywh relative to the crop; response `[B]`; score `[B]`; policy `[B, H, W]`, which
    sums to 1; the new states.

    Args:
      source: the checkpoint; the window and the weights of its score are part of the graph.
      folded: of `fold`, in dtype.
      dtype: float32 or float16.
      batch: B.
    """
    return _Step(source, folded, dtype, batch).model()


@dataclass
class _Chosen:
    """The chosen cell of each frame."""

    action: str  # int64 [B, 1]
    row: str  # float32 [B, 1]
    column: str  # float32 [B, 1]


class _Step:
    """The graph while it is built; arguments of `step_model`."""

    def __init__(self, source: Source, folded: Folded, dtype: str, batch: int):
        self.source, self.config, self.options = source, source.config, source.options
        self.folded, self.batch, self.graph = folded, batch, Graph(dtype)
        self.grid, self.cells = self.config.grid, self.config.grid**2

    def model(self) -> onnx.ModelProto:
        """The whole graph."""
        graph, config, batch = self.graph, self.config, self.batch
        size, slots = config.search_size, config.templates * self.source.template_tokens
        search = graph.input("search", np.uint8, (batch, size, size, 3))
        templates = graph.input("templates", np.float32, (batch, slots, config.width))
        first = graph.input("first", bool, (batch,))
        shapes = self.source.states(batch)
        states = {name: graph.input(name, np.float32, shape) for name, shape in shapes.items()}
        features, tokens = self._encode(search, templates, states["tokens"], graph.reshape(first, batch, 1, 1))
        is_heatmap = config.localizer == "heatmap"
        with graph.scope("localizer"):
            image = graph.transpose(features, 0, 2, 1)
            image = graph.reshape(image, batch, config.width, self.grid, self.grid)
            maps = network.tower(graph, self.folded.center if is_heatmap else self.folded.policy, image)
            scores = graph.reshape(network.clamped_sigmoid(graph, maps) if is_heatmap else maps, batch, self.cells)
            window = graph.constant(hann_window(self.grid, self.options["window_power"]), np.float32, "window")
            weighted = graph.add("Mul", scores, window)
            chosen = self._choose(weighted)
        near, on_map = self._neighbourhood(features, chosen)
        box = self._box(near, on_map, chosen)
        reference: str | None = None
        if is_heatmap:
            policy = graph.add("Div", scores, self._sum(scores))
            score = graph.add("GatherElements", scores, chosen.action, axis=1)
        else:
            policy = graph.add("Softmax", scores, axis=-1)
            score, reference = self._score(policy, image, near, on_map, box, chosen, first, states.get("reference"))
        graph.output("box", box, np.float32, (batch, 4))
        graph.output("response", graph.add("ReduceMax", weighted, axes=[1], keepdims=0), np.float32, (batch,))
        graph.output("score", graph.reshape(score, batch), np.float32, (batch,))
        shape = (batch, self.grid, self.grid)
        graph.output("policy", graph.reshape(policy, *shape), np.float32, shape)
        graph.output("new_tokens", tokens, np.float32, shapes["tokens"])
        if reference is not None:
            graph.output("new_reference", reference, np.float32, shapes["reference"])
        return graph.model("step")

    def _encode(self, search: str, templates: str, carried: str, first: str) -> tuple[str, str]:
        """Features of the search region `[B, N, D]` and the new tokens, both float32; `Network.frame`."""
        graph, config, folded, batch = self.graph, self.config, self.folded, self.batch
        n, rows = config.temporal_tokens, carried_rows(config)
        constant = lambda array, name: graph.constant(array, graph.dtype, name)
        x = network.stem(graph, folded.stem, search, batch, config.search_size, config)
        x = graph.add("Add", x, constant(folded.search_rows, "search_rows"))
        temporal = constant(np.broadcast_to(folded.temporal_rows, (batch, n, config.width)), "temporal_rows")
        carried = graph.narrow(carried)
        split = graph.add("Split", carried, axis=0, outputs=rows) if rows > 1 else [carried]
        previous = [graph.reshape(tokens, batch, n, config.width) for tokens in split]
        deep = config.propagation == "deep_to_shallow"
        parts = [x, graph.narrow(templates), temporal]
        if deep:
            parts = [x, temporal, parts[1], graph.add("Where", first, temporal, previous[0])]
        x = graph.concat(parts, axis=1)
        count = self.cells + config.templates * self.source.template_tokens + n * (2 if deep else 1)
        entered = []
        for index, block in enumerate(folded.blocks):
            with graph.scope(f"block{index}"):
                memory = None
                if not deep:
                    memory = graph.slice(x, count - n, count, 1)
                    entered.append(memory)
                    if config.propagation == "layer_aligned":
                        memory = graph.add("Where", first, memory, previous[index])
                last = index == config.depth - 1
                kept = self.cells + n * deep if last else count
                x = network.main_block(graph, block, x, memory, count, kept, batch, config)
        scale, bias = (graph.constant(array, np.float32, "last_norm") for array in folded.last_norm)
        x = graph.float(x)
        if deep:
            entered = [graph.slice(x, self.cells, self.cells + n, 1)]
            x = graph.slice(x, 0, self.cells, 1)
        features = graph.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=LN_EPS)
        tokens = graph.concat([graph.reshape(one, 1, batch, n, config.width) for one in entered], axis=0)
        return features, tokens if deep else graph.float(tokens)

    def _choose(self, weighted: str) -> _Chosen:
        """The greedy action: the first of the highest."""
        graph = self.graph
        action = graph.add("ArgMax", weighted, axis=1, keepdims=1)
        side = graph.constant(self.grid, np.int64)
        row = graph.add("Div", action, side)
        column = graph.add("Sub", action, graph.add("Mul", row, side))
        return _Chosen(action, graph.cast(row, np.float32), graph.cast(column, np.float32))

    def _neighbourhood(self, features: str, chosen: _Chosen) -> tuple[str, str]:
        """The 9 x 9 cells around the chosen one, float32 `[B, 81, D]`; 1 where they lie on the map, `[B, 81, 1]`."""
        graph, batch, grid, width = self.graph, self.batch, self.grid, self.config.width
        side, reach = 2 * REACH + 1, REACH
        offsets = np.indices((side, side)).reshape(2, -1) - reach  # row, column
        with graph.scope("neighbourhood"):
            places = []
            for place, offset in zip((chosen.row, chosen.column), offsets, strict=True):
                places.append(graph.add("Add", place, graph.constant(offset, np.float32, "offset")))  # [B, 81]
            bounds = graph.constant(0, np.float32), graph.constant(grid - 1, np.float32)
            on_map = [graph.add("Clip", place, *bounds) for place in places]
            row, column = on_map
            equal = [graph.add("Equal", a, b) for a, b in zip(on_map, places, strict=True)]
            inside = graph.cast(graph.add("And", *equal), np.float32)
            inside = graph.reshape(inside, batch, side**2, 1)
            index = graph.add("Add", graph.add("Mul", row, graph.constant(grid, np.float32)), column)
            if batch > 1:
                starts = np.arange(batch)[:, None] * self.cells
                index = graph.add("Add", index, graph.constant(starts, np.float32, "starts"))
            flat = graph.reshape(features, batch * self.cells, width)
            cells = graph.add("Gather", flat, graph.cast(index, np.int64), axis=0)
            return graph.add("Mul", cells, inside), inside

    def _box(self, near: str, inside: str, chosen: _Chosen) -> str:
        """The box at the chosen cell, cxcywh relative to the crop, `[B, 4]`."""
        graph, batch, side = self.graph, self.batch, 2 * REACH + 1
        with graph.scope("boxes"):
            cells = graph.reshape(graph.transpose(near, 0, 2, 1), batch, self.config.width, side, side)
            maps = network.tower(graph, self.folded.boxes, cells, graph.reshape(inside, batch, 1, side, side))
            size, offset = graph.add("Split", graph.reshape(maps, batch, 4), axis=1, outputs=2)
            corner = graph.concat([chosen.column, chosen.row], axis=1)
            center = graph.add("Div", graph.add("Add", corner, offset), graph.constant(self.grid, np.float32))
            return graph.concat([center, network.clamped_sigmoid(graph, size)], axis=1)

    def _score(
        self, policy: str, image: str, near: str, on_map: str, box: str, chosen: _Chosen, first: str,
        reference: str | None,
    ) -> tuple[str, str | None]:  # fmt: skip
        """The score `[B, 1]`, and the new reference; `confidence.py`."""
        graph = self.graph
        with graph.scope("score"):
            rows, columns = (
                graph.constant(x, np.float32, "cells") for x in np.indices((self.grid,) * 2).reshape(2, -1)
            )
            far = [graph.add("Abs", graph.add("Sub", x, y)) for x, y in ((rows, chosen.row), (columns, chosen.column))]
            is_near = graph.add("Less", graph.add("Max", *far), graph.constant(1.5, np.float32))
            zero = graph.constant(0, np.float32)
            here = self._sum(graph.add("Where", is_near, policy, zero))
            if reference is None:
                return graph.add("Min", here, graph.constant(1, np.float32)), None
            elsewhere = self._sum(graph.add("Where", is_near, zero, policy))
            log_odds = graph.add("Sub", graph.add("Log", here), graph.add("Log", elsewhere))
            bounds = (graph.constant(value, np.float32) for value in (-LARGEST_LOG_ODDS, LARGEST_LOG_ODDS))
            log_odds = graph.add("Clip", log_odds, *bounds)
            with graph.scope("value"):
                maps = network.tower(graph, self.folded.value, image)
                value = graph.reshape(graph.add("ReduceMean", maps, axes=[2, 3], keepdims=0), self.batch, 1)
            similarity, reference = self._similarity(near, on_map, graph.reshape(first, self.batch, 1), reference)
            center = graph.add("Sub", graph.slice(box, 0, 2, 1), graph.constant(0.5, np.float32))
            distance = graph.add("ReduceL2", center, axes=[1], keepdims=1)
            proximity = graph.add("Sub", graph.constant(1, np.float32), distance)
            evidence = graph.concat([log_odds, value, similarity, proximity], axis=1)
            weights = np.array([[self.options[f"score_{name}"]] for name in EVIDENCE])
            logit = graph.add("MatMul", evidence, graph.constant(weights, np.float32, "weights"))
            logit = graph.add("Add", logit, graph.constant(self.options["score_bias"], np.float32, "bias"))
            return graph.add("Sigmoid", logit), reference

    def _similarity(self, near: str, on_map: str, first: str, reference: str) -> tuple[str, str]:
        """The highest cosine of the 3 x 3 cells to the reference, `[B, 1]`; and the new reference `[B, D]`."""
        graph, batch, width, side = self.graph, self.batch, self.config.width, 2 * REACH + 1
        with graph.scope("appearance"):
            places = [(REACH + i) * side + REACH + j for i in (-1, 0, 1) for j in (-1, 0, 1)]
            nine = graph.constant(places, np.int64, "nine")
            cells = graph.add("Gather", near, nine, axis=1)
            length = graph.add("ReduceL2", cells, axes=[2], keepdims=1)
            unit = graph.add("Div", cells, graph.add("Max", length, graph.constant(1e-6, np.float32)))
            here = graph.reshape(graph.slice(unit, 4, 5, 1), batch, width)
            reference = graph.add("Where", first, here, reference)
            cosines = graph.add("MatMul", unit, graph.reshape(reference, batch, width, 1))
            there = graph.add("Greater", graph.add("Gather", on_map, nine, axis=1), graph.constant(0, np.float32))
            cosines = graph.add("Where", there, cosines, graph.constant(-1, np.float32))
            return graph.reshape(graph.add("ReduceMax", cosines, axes=[1], keepdims=0), batch, 1), reference

    def _sum(self, x: str) -> str:
        return self.graph.add("ReduceSum", x, self.graph.constant([1], np.int64), keepdims=1)
