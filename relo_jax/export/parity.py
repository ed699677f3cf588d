"""Proof that a graph computes what relo_jax does: recorded inputs and outputs, and the largest differences from them.

`record` tracks the package's example clips with relo_jax. T steps of B targets are what parity.npz holds:

    template_image, template_box, template    the first template and, of two slots, the one that replaces the second
    search, templates, first                  inputs of step 0 to T - 1
    box, response, score, policy              their outputs
    tokens, reference                         states before step 0 to T: input t, output t + 1

Tokens of templates and temporal tokens are without their mean over the width, which nothing sees: each is read behind a
LayerNorm. A graph may keep it.

Each step of a graph is checked from the recorded state, so that nothing adds up: two correct programs of float32 drift
apart on a hard sequence, and then say nothing about each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path

import jax
import numpy as np

from relo_jax.errors import UserError
from relo_jax.export.source import Source
from relo_jax.geometry.boxes import clip_box_xywh
from relo_jax.geometry.crop import SEARCH_FACTOR, box_from_crop
from relo_jax.media.frames import Unreadable
from relo_jax.media.video import open_frames
from relo_jax.tracking import confidence, programs
from relo_jax.tracking.example import BOXES, example
from relo_jax.tracking.step import ModelState, StepResult, init_state, policy_of, replace_template, step

STEPS, RENEWED = 6, 2  # steps in all, and the one before which the second template is replaced
_STATES, _TEMPLATE = ("tokens", "reference"), ("template_image", "template_box", "template")
# Largest difference from relo_jax, relative to the largest of the expected numbers and to 1. Beyond it a file is wrong.
TOLERANCE = {"float32": 1e-4, "float16": 0.02, "bfloat16": 0.2, "int8": 0.25}

Recorded = dict[str, np.ndarray]
Run = Callable[[Recorded], Mapping[str, np.ndarray | jax.Array]]  # a graph: its inputs, among others, to its outputs


def record(source: Source, batch: int) -> Recorded:
    """Inputs and outputs of relo_jax on crops of the example clips; row b takes every frame or every few of them.

    Args:
      source: the checkpoint.
      batch: B.
    """
    with jax.default_matmul_precision("highest"):  # a GPU would round products of float32
        return _Recorder(source, batch).record()


class _Recorder:
    """B targets, each in its clip, and what is kept of them; arguments of `record`."""

    def __init__(self, source: Source, batch: int):
        self.model, self.batch, self.size = source.loaded.model, batch, source.config.search_size
        self.variables = confidence.with_weights(source.loaded.variables, source.options)
        self.window_power = source.options["window_power"]
        self.frames = [_frames(row) for row in range(batch)]
        self.boxes = np.array([BOXES[_clip(row)] for row in range(batch)], np.float32)
        self.kept: dict[str, list[np.ndarray]] = {}

    def record(self) -> Recorded:
        """All steps."""
        state = jax.jit(partial(init_state, self.model, window_power=self.window_power))(
            self.variables, *self._template(0)
        )
        count = state.templates.shape[1] // self.model.config.templates
        self._keep(template=_centered(state.templates[:, :count]))
        for index in range(STEPS):
            if index == RENEWED and self.model.config.templates == 2:
                state = jax.jit(partial(replace_template, self.model))(self.variables, state, *self._template(index))
                self._keep(template=_centered(state.templates[:, count:]))
            state = self._step(state, index + 1)
        self._keep(tokens=_centered(state.tokens), reference=state.reference)
        return {name: np.stack(arrays) for name, arrays in self.kept.items()}

    def _keep(self, **arrays: np.ndarray | jax.Array) -> None:
        for name, array in arrays.items():
            self.kept.setdefault(name, []).append(np.asarray(array))

    def _template(self, index: int) -> list[np.ndarray]:
        """The templates in a frame, around the last boxes: image and box, which are kept."""
        size = self.model.config.template_size
        rows = zip(self.boxes, self.frames, strict=True)
        views = [programs.template_view(box, size, programs.cropper(frames[index])) for box, frames in rows]
        image, box = (np.concatenate(parts) for parts in zip(*views, strict=True))
        self._keep(template_image=image, template_box=box)
        return [image, box]

    def _step(self, state: ModelState, index: int) -> ModelState:
        """The state after a frame; moves the boxes."""
        frames = [row[index] for row in self.frames]
        rows = zip(frames, self.boxes, strict=True)
        cut = [programs.cropper(frame)(box, SEARCH_FACTOR, self.size) for frame, box in rows]
        crops, factors = np.stack([crop for crop, _ in cut]), np.array([[factor] for _, factor in cut], np.float32)
        self._keep(search=crops, templates=_centered(state.templates), first=state.first)
        self._keep(tokens=_centered(state.tokens), reference=state.reference)
        state, result, policy = self._advance(self.variables, state, crops)
        box = np.asarray(result.box_cxcywh_norm)
        self._keep(box=box, response=result.response, score=result.score, policy=policy)
        height, width = np.array([frame.shape[:2] for frame in frames], np.float32).T
        self.boxes = np.asarray(clip_box_xywh(box_from_crop(box, self.boxes, factors, self.size), height, width))
        return state

    @cached_property
    def _advance(self) -> Callable[..., tuple[ModelState, StepResult, jax.Array]]:
        def advance(variables, state, crops):
            state, result = step(self.model, variables, state, crops)
            return state, result, policy_of(result.scores, self.model.config)

        return jax.jit(advance)


def _clip(row: int) -> str:
    return list(BOXES)[row % len(BOXES)]


def _frames(row: int) -> list[np.ndarray]:
    """The frames of a row: of one of the clips, all of them or every second, third ..., so that rows differ."""
    path, _ = example(_clip(row))
    with open_frames(path) as frames:
        chosen = list(itertools.islice(frames, 0, None, row // len(BOXES) % 8 + 1))[: STEPS + 1]
    return [frame for frame in chosen if not isinstance(frame, Unreadable)]


def differences(graphs: Mapping[str, Run], recorded: Recorded) -> dict[str, float]:
    """The largest difference of each output of a step and a template graph, relative to the largest number and to 1.

    Args:
      graphs: "step" and "template".
      recorded: of `record`, with the batch of the step; templates go through their graph one by one.
    """
    largest: dict[str, float] = {}

    def compare(graph: str, inputs: Recorded, expected: Recorded) -> None:
        for name, found in graphs[graph](inputs).items():
            scale = max(1.0, float(np.abs(expected[name]).max()))
            found = _centered(found) if name in ("template", "new_tokens") else np.asarray(found)
            difference = float(np.abs(found - expected[name]).max()) / scale
            largest[name] = max(largest.get(name, 0.0), difference if np.isfinite(difference) else np.inf)

    for image, box, template in zip(*(recorded[name] for name in _TEMPLATE), strict=True):
        for row in range(len(image)):
            one = slice(row, row + 1)
            compare("template", {"image": image[one], "box": box[one]}, {"template": template[one]})
    for index in range(len(recorded["search"])):
        now = at_step(recorded, index)
        compare("step", now, {**now, **{f"new_{name}": recorded[name][index + 1] for name in _STATES}})
    return largest


def at_step(recorded: Recorded, index: int) -> Recorded:
    """The inputs and outputs of a step, but for the new states."""
    return {name: array[index] for name, array in recorded.items() if name not in _TEMPLATE}


def _centered(tokens: np.ndarray | jax.Array) -> np.ndarray:
    """Without their mean over the width."""
    tokens = np.asarray(tokens)
    return tokens - tokens.mean(-1, keepdims=True)


def check(precision: str, found: dict[str, float], out: Path) -> None:
    """Raises UserError if a difference is beyond the tolerance of a precision."""
    name = max(found, key=lambda name: found[name])
    if found[name] > TOLERANCE[precision]:
        raise UserError(
            f"{out} is not written: in {precision}, {name} of the graph is {found[name]:.2g} off that of relo_jax, "
            f"more than {TOLERANCE[precision]:g}"
        )
