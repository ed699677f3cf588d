"""The tracker's compiled programs: one dispatch a frame, a chunk of frames, or a chunk of many videos (the release,
"Inference").

What a video carries from frame to frame stays on the device: templates, tokens, the last box and the window of the next
crop. Frames, or patches of them, go up as uint8 (`patches.py`); one row of numbers comes back. Every way to track
(frame by frame, in chunks, in lockstep) runs these functions, geometry included, so that all give the same boxes.

A target whose next crop needs a pixel that is not in its patch halts: it stays as it was before that frame, through all
frames that follow, until the host sends the frame again.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.geometry.boxes import clip_box_xywh
from relo_jax.geometry.crop import (
    SEARCH_FACTOR,
    TEMPLATE_FACTOR,
    box_from_crop,
    box_to_crop_norm,
    crop_device,
    crop_packed,
    crop_window,
    crop_windows,
    cut_host,
)
from relo_jax.mdp.action import entropy
from relo_jax.model import RELO
from relo_jax.model.batch_norm import is_trained
from relo_jax.model.inference import FOLDED
from relo_jax.tracking.step import ModelState, init_state, read_policy, replace_template, step

Array = jax.Array | np.ndarray

# Columns of an answer. The evidence of the score is there if the variables have the score's weights. MOVED, which is
# not there if the host cuts the crops, is 1 where the target was tracked, 0 where it halted or had no frame.
BOX, RESPONSE, SCORE, EVIDENCE, MOVED = slice(0, 4), 4, 5, slice(6, 10), -1
# Columns of a place: index of the patch's first pixel and pixels from row to row (0: there is no frame); first column
# and row of the frame in it, and those behind its last; height and width of the frame; whether a halted target goes on.
FIRST, PITCH, LEFT, TOP, RIGHT, BOTTOM, HEIGHT, WIDTH, RESUMES = PLACE = range(9)


class TrackState(flax.struct.PyTreeNode):
    """What B targets carry from frame to frame."""

    state: ModelState
    box_xywh: Array  # [B, 4] float32, pixels
    crop_window: Array  # [B, 3] int32, x, y, side of the next search region
    frames: Array  # [B] int32, number of search frames so far
    halted: Array  # [B] bool, waits for a frame to be sent again


class Policy(NamedTuple):
    """Where B targets are looked for, in one frame."""

    probabilities: jax.Array  # [B, N] float32
    entropy: jax.Array  # [B], nats
    value: jax.Array | None  # [B]; None if there is no trained value head


class Updates(flax.struct.PyTreeNode):
    """When the template is replaced: every `interval` frames when the response exceeds `threshold`."""

    interval: jax.Array | np.int32
    threshold: jax.Array | np.float32

    @classmethod
    def of(cls, options: dict) -> "Updates":
        """From the tracker's options, as NumPy scalars."""
        return cls(np.int32(options["update_interval"]), np.float32(options["update_threshold"]))

    def due(self, frames: Any, response: Any) -> Any:
        """Whether a template is replaced after that many search frames, `[B]`; NumPy or traced."""
        return (frames % self.interval == 0) & (response > self.threshold)


# The batch axis of each field.
BATCH_AXES: Any = TrackState(
    ModelState(templates=0, tokens=1, first=0, window=0, reference=0),  # type: ignore[arg-type]
    box_xywh=0, crop_window=0, frames=0, halted=0,  # type: ignore[arg-type]
)  # fmt: skip


ReadCrop = Callable[[np.ndarray, float, int], tuple[np.ndarray, float]]


def template_view(box_xywh: np.ndarray, size: int, read_crop: ReadCrop) -> tuple[np.ndarray, Array]:
    """The template around a box, as `init_state` takes it.

    Args:
      box_xywh: `[4]`, the target.
      size: s, of the template crop.
      read_crop: (box_xywh, factor, size) -> (uint8 `[s, s, 3]`, resize factor).

    Returns:
      uint8 `[1, s, s, 3]`, and the target in it, float32 `[1, 4]`.
    """
    crop, resize_factor = read_crop(box_xywh, TEMPLATE_FACTOR, size)
    box_norm = box_to_crop_norm(box_xywh, box_xywh, resize_factor, size)
    return crop[None], box_norm[None].astype(np.float32)


def first_view(box_xywh: np.ndarray, size: int, read_crop: ReadCrop) -> tuple[Array, ...]:
    """The first frame of a video as `begin` takes it; arguments of `template_view`. Geometry in the release's float64.

    Returns:
      tuple of numpy arrays: those of `template_view`, the target in the frame, float32 `[1, 4]`, and the window of the
      first search crop, int32 `[1, 3]`.
    """
    window = np.array([crop_window(box_xywh, SEARCH_FACTOR)], np.int32)
    return *template_view(box_xywh, size, read_crop), np.asarray(box_xywh, np.float32)[None], window


def cropper(frame: np.ndarray) -> ReadCrop:
    """A `read_crop` that cuts a frame on the host, equal to the byte to what the programs would cut."""

    def read_crop(box_xywh: np.ndarray, factor: float, size: int) -> tuple[np.ndarray, float]:
        window = crop_windows(np.asarray(box_xywh, np.float32), factor).tolist()
        return cut_host(frame, window, size), size / window[2]

    return read_crop


@functools.partial(jax.jit, static_argnames=("model", "window_power"))
def begin(
    model: RELO,
    variables: dict,
    template_crops: jax.Array,
    template_boxes_xywh_norm: jax.Array,
    box_xywh: jax.Array,
    crop_window: jax.Array,
    window_power: float,
) -> TrackState:
    """The state of B targets before the first search frame; arguments of `init_state` and `first_view`."""
    state = init_state(model, variables, template_crops, template_boxes_xywh_norm, window_power)
    none = jnp.zeros(len(box_xywh), jnp.int32)
    return TrackState(state, box_xywh, crop_window, none, none > 0)


def _crop_step(
    model: RELO, variables: dict, target: TrackState, crops: Array, side: Array | None, size: Array
) -> tuple[TrackState, jax.Array]:
    """One frame of B targets whose crops are cut: the network, the box in the image, and the next search region.

    Args:
      model: the network.
      variables: its variables.
      target: state of the B targets.
      crops: uint8 `[B, S, S, 3]`.
      side: int32 `[B]`, side of each search region in pixels of the frame; None: as in `crop_window`.
      size: int32 `[B, 2]`, heights and widths of the frames.

    Returns:
      the new state, and answers float32 `[B, 6]`: box_xywh in pixels, response, score; `[B, 10]` with the evidence.
    """
    state, result = step(model, variables, target.state, crops)
    side = target.crop_window[:, 2] if side is None else side
    resize_factor = model.config.search_size / side[:, None].astype(jnp.float32)
    box = box_from_crop(result.box_cxcywh_norm, target.box_xywh, resize_factor, model.config.search_size)
    box = clip_box_xywh(box, *size.astype(jnp.float32).T)
    numbers = [box, result.response[:, None], result.score[:, None]]
    answer = jnp.concatenate(numbers if result.evidence is None else [*numbers, result.evidence], axis=1)
    target = target.replace(
        state=state, box_xywh=box, crop_window=crop_windows(box, SEARCH_FACTOR), frames=target.frames + 1
    )
    return target, answer


def _frame_step(
    model: RELO, variables: dict, target: TrackState, pixels: jax.Array, place: jax.Array, updates: Updates | None
) -> tuple[TrackState, jax.Array]:
    """One frame of B targets: cuts the crops, tracks, and replaces the templates that are due.

    Args:
      model, variables, target: see `_crop_step`.
      pixels: uint8 `[N, 3]`, patches row after row; or `[P, h, w, 3]`, P patches (one that all targets share, or B).
      place: int32 `[B, 9]`, where the patch of each target lies, in the columns named above.
      updates: when templates are replaced; None compiles nothing for it.

    Returns:
      as `_crop_step`, the answers with the column MOVED.
    """
    there = place[:, PITCH] > 0
    moves = there & (~target.halted | (place[:, RESUMES] > 0)) & _covers(place, target.crop_window)
    crops = _cut(pixels, place, target.crop_window, model.config.search_size)
    after, answer = _crop_step(model, variables, target, crops, None, place[:, HEIGHT : WIDTH + 1])
    if updates is not None:
        window = crop_windows(after.box_xywh, TEMPLATE_FACTOR)
        due = updates.due(after.frames, answer[:, RESPONSE])
        moves &= ~due | _covers(place, window)
        renew = functools.partial(_renew, model, variables, pixels, place, window, due & moves)
        after = jax.lax.cond((due & moves).any(), renew, lambda target: target, after)
    # Templates are replaced only where a target moves.
    before = target.replace(state=target.state.replace(templates=after.state.templates))
    target = jax.tree.map(functools.partial(_where, moves), after, before, BATCH_AXES)
    target = target.replace(halted=jnp.where(there, ~moves, target.halted))
    return target, jnp.concatenate([answer, moves[:, None].astype(answer.dtype)], axis=1)


def _renew(
    model: RELO, variables: dict, pixels: Array, place: Array, window: Array, due: Array, target: TrackState
) -> TrackState:
    """The targets with the templates replaced that are due, bool `[B]`, from windows `[B, 3]`."""
    side = model.config.template_size
    resize_factor = side / window[:, 2:].astype(jnp.float32)
    box_norm = box_to_crop_norm(target.box_xywh, target.box_xywh, resize_factor, side)
    new = replace_template(model, variables, target.state, _cut(pixels, place, window, side), box_norm)
    templates = jnp.where(due[:, None, None], new.templates, target.state.templates)
    return target.replace(state=target.state.replace(templates=templates))


def _where(moves: Array, after: Array, before: Array, axis: int) -> Array:
    """`after` in the rows of an axis that move, `before` in the others."""
    return (
        after
        if after is before
        else jnp.where(jnp.expand_dims(moves, [k for k in range(after.ndim) if k != axis]), after, before)
    )


def _covers(place: Array, window: Array) -> Array:
    """Whether the patch of each target has all pixels of its window that belong to the frame, bool `[B]`."""
    x, y, side = window.T
    across = (place[:, LEFT] <= jnp.maximum(x, 0)) & (jnp.minimum(x + side, place[:, WIDTH]) <= place[:, RIGHT])
    return across & (place[:, TOP] <= jnp.maximum(y, 0)) & (jnp.minimum(y + side, place[:, HEIGHT]) <= place[:, BOTTOM])


def _cut(pixels: Array, place: Array, window: Array, out_size: int) -> jax.Array:
    """The crops of B targets, uint8 `[B, S, S, 3]`, from windows `[B, 3]`; pixels and place as in `_frame_step`."""
    packed = pixels.ndim == 2
    shared = packed or len(pixels) == 1

    def cut(pixels: Array, place: Array, window: Array) -> jax.Array:
        size = place[HEIGHT : WIDTH + 1]
        if packed:
            return crop_packed(pixels, place[FIRST : TOP + 1], window, size, out_size)
        return crop_device(pixels, window, size, out_size, place[LEFT : TOP + 1])

    if shared and not packed:
        pixels = pixels[0]
    if len(window) == 1:  # a gather without a batch is faster on a CPU
        return cut(pixels if shared else pixels[0], place[0], window[0])[None]
    return jax.vmap(cut, (None if shared else 0, 0, 0))(pixels, place, window)


_compiled = functools.partial(jax.jit, static_argnames="model", donate_argnames="target")
track_crop = _compiled(_crop_step)
track_frame = _compiled(_frame_step)


@_compiled
def track_chunk(
    model: RELO, variables: dict, target: TrackState, pixels: jax.Array, place: jax.Array, updates: Updates | None
) -> tuple[TrackState, jax.Array]:
    """`track_frame` over the C frames of a chunk: an axis C before those of pixels, place and answers."""
    return jax.lax.scan(lambda target, x: _frame_step(model, variables, target, *x, updates), target, (pixels, place))


@_compiled
def renew_template(
    model: RELO,
    variables: dict,
    target: TrackState,
    row: jax.Array,
    template_crops: jax.Array,
    template_boxes_xywh_norm: jax.Array,
) -> TrackState:
    """`replace_template` for one row of B, whose crop the host cut."""
    one = jax.tree.map(lambda x, axis: jax.lax.dynamic_slice_in_dim(x, row, 1, axis), target, BATCH_AXES)
    state = replace_template(model, variables, one.state, template_crops, template_boxes_xywh_norm)
    return write_row(target, one.replace(state=state), row)


@functools.partial(jax.jit, static_argnames=("model", "with_value"))
def look(model: RELO, variables: dict, target: TrackState, crops: Array, with_value: bool) -> Policy:
    """The policy of B targets over crops uint8 `[B, S, S, 3]`, from the state before them, which it does not move.

    A program of its own, so that those that track are the same whether somebody looks or not.
    """
    logits, value = read_policy(model, variables, target.state, crops, with_value)
    return Policy(jax.nn.softmax(logits, axis=-1), entropy(logits), value)


def has_value(model: RELO, variables: dict) -> bool:
    """Whether a model has a trained value head: the running statistics of its norms have moved.

    Folded variables, which have no statistics, count as having one.
    """
    if model.config.localizer == "heatmap":
        return False
    return FOLDED in variables or is_trained(variables.get("batch_stats", {}).get("value", {}))


@functools.partial(jax.jit, donate_argnums=0)
def write_row(target: TrackState, one: TrackState, row: jax.Array) -> TrackState:
    """The state of B targets with that of one target in a row."""
    put = lambda x, y, axis: jax.lax.dynamic_update_slice_in_dim(x, y, row, axis)
    return jax.tree.map(put, target, one, BATCH_AXES)
