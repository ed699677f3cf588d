"""Proof that a graph computes what relo_jax does: recorded inputs and outputs, and the largest differences from them.

`record` tracks the package's example clips with relo_jax. T steps of B targets are what parity.npz holds:

    template_image, template_box, template    the first template and, of two slots, the one that replaces the second
    search, templates, first                  inputs of step 0 to T - 1
    box, response, score, policy              their outputs
    tokens, reference                         states before step 0 to T: input t, output t + 1

Each step of a graph is checked from the recorded state, so that nothing adds up: two correct programs of float32 drift
apart on a hard sequence, and then say nothing about each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

from relo_jax.errors import UserError
from relo_jax.geometry.boxes import clip_box_xywh
from relo_jax.geometry.crop import SEARCH_FACTOR, box_from_crop
from relo_jax.media.frames import Unreadable
from relo_jax.media.video import open_frames
from relo_jax.model import RELO
from relo_jax.tracking import confidence, programs
from relo_jax.tracking.example import BOXES, example
from relo_jax.tracking.step import init_state, read_policy, replace_template, step

if TYPE_CHECKING:
    import onnxruntime

STEPS, RENEWED = 6, 2  # steps in all, and the one before which the second template is replaced
STATES = ("tokens", "reference")
# Largest difference from relo_jax, relative to the largest of the expected numbers and to 1. Beyond it a file is wrong.
TOLERANCE = {"float32": 1e-4, "float16": 0.05, "int8": 0.5}

Recorded = dict[str, np.ndarray]


def record(model: RELO, variables: dict, options: dict, batch: int) -> Recorded:
    """Inputs and outputs of relo_jax on crops of the example clips; row b takes every frame or every few of them.

    Args:
      model: the network.
      variables: its variables.
      options: all options of the tracker.
      batch: B.
    """
    with jax.default_matmul_precision("highest"):  # a GPU would round products of float32
        return _record(model, confidence.with_weights(variables, options), options, batch)


def _record(model: RELO, variables: dict, options: dict, batch: int) -> Recorded:
    size, window_power = model.config.search_size, options["window_power"]
    frames = [_frames(row) for row in range(batch)]
    boxes = np.array([BOXES[_clip(row)] for row in range(batch)], np.float32)
    kept: dict[str, list] = {}

    def keep(**arrays: np.ndarray | jax.Array) -> None:
        for name, array in arrays.items():
            kept.setdefault(name, []).append(np.asarray(array))

    def views(frame: int, boxes: np.ndarray) -> list[np.ndarray]:
        read = [programs.cropper(row[frame]) for row in frames]
        one = [programs.template_view(box, model.config.template_size, r) for box, r in zip(boxes, read, strict=True)]
        return [np.concatenate(parts) for parts in zip(*one, strict=True)]

    @jax.jit
    def advance(variables, state, crops):
        logits, _ = read_policy(model, variables, state, crops, with_value=False)
        return *step(model, variables, state, crops), jax.nn.softmax(logits, axis=-1)

    image, box = views(0, boxes)
    state = jax.jit(partial(init_state, model, window_power=window_power))(variables, image, box)
    tokens_each = state.templates.shape[1] // model.config.templates
    keep(template_image=image, template_box=box, template=state.templates[:, :tokens_each])
    for index in range(STEPS):
        if index == RENEWED and model.config.templates == 2:
            image, box = views(index, boxes)
            state = jax.jit(partial(replace_template, model))(variables, state, image, box)
            keep(template_image=image, template_box=box, template=state.templates[:, tokens_each:])
        cut = [programs.cropper(row[index + 1])(b, SEARCH_FACTOR, size) for row, b in zip(frames, boxes, strict=True)]
        crops, factor = np.stack([crop for crop, _ in cut]), np.float32([[f] for _, f in cut])
        keep(search=crops, templates=state.templates, first=state.first, tokens=state.tokens, reference=state.reference)
        state, result, policy = advance(variables, state, crops)
        keep(box=result.box_cxcywh_norm, response=result.response, score=result.score)
        keep(policy=policy.reshape(batch, model.config.grid, -1))
        height, width = np.float32([row[index + 1].shape[:2] for row in frames]).T
        boxes = clip_box_xywh(box_from_crop(np.asarray(result.box_cxcywh_norm), boxes, factor, size), height, width)
    keep(tokens=state.tokens, reference=state.reference)
    return {name: np.stack(arrays) for name, arrays in kept.items()}


def _clip(row: int) -> str:
    return list(BOXES)[row % len(BOXES)]


def _frames(row: int) -> list[np.ndarray]:
    """The frames of a row: of one of the clips, all of them or every second, third ..., so that rows differ."""
    path, _ = example(_clip(row))
    with open_frames(path) as frames:
        chosen = list(itertools.islice(frames, 0, None, row // len(BOXES) % 8 + 1))[: STEPS + 1]
    return [frame for frame in chosen if not isinstance(frame, Unreadable)]


def differences(session: Mapping[str, onnxruntime.InferenceSession], recorded: Recorded) -> dict[str, float]:
    """The largest difference of each output of a step and a template graph, relative to the largest number and to 1.

    Args:
      session: "step" and "template".
      recorded: of `record`, with the batch of the graphs.
    """
    largest: dict[str, float] = {}

    def compare(expected: Mapping[str, np.ndarray], feed: Mapping[str, np.ndarray], graph: str) -> None:
        names = [output.name for output in session[graph].get_outputs()]
        inputs = {one.name: np.asarray(feed[one.name]) for one in session[graph].get_inputs()}
        for name, found in zip(names, session[graph].run(names, inputs), strict=True):
            scale = max(1.0, float(np.abs(expected[name]).max()))
            difference = float(np.abs(found - expected[name]).max()) / scale
            largest[name] = max(largest.get(name, 0.0), difference if np.isfinite(difference) else np.inf)

    for image, box, template in zip(*(recorded[name] for name in TEMPLATE), strict=True):
        compare({"template": template}, {"image": image, "box": box}, "template")
    for index in range(len(recorded["search"])):
        now = {name: array[index] for name, array in recorded.items() if name not in TEMPLATE}
        compare({**now, **{f"new_{name}": recorded[name][index + 1] for name in STATES}}, now, "step")
    return largest


TEMPLATE = ("template_image", "template_box", "template")


def check(precision: str, found: dict[str, float], folder: Path) -> None:
    """Raises UserError if a difference is beyond the tolerance of a precision."""
    name = max(found, key=lambda name: found[name])
    if found[name] > TOLERANCE[precision]:
        raise UserError(
            f"{folder} is not written: in {precision} the graph's {name} is off by {found[name]:.2g}, more than "
            f"{TOLERANCE[precision]:g}"
        )
