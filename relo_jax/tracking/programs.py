"""The tracker's compiled programs: one dispatch a frame, a chunk of frames, or a chunk of many videos (the release,
"Inference").

What a video carries from frame to frame stays on the device: templates, tokens, the last box and the window of the next
crop. A frame goes up as uint8; one row of six numbers comes back. Every way to track (frame by frame, in chunks, in
lockstep) runs these functions, geometry included, so that all give the same boxes.

Videos come in many sizes, compiled programs in few: a frame is padded to a bucket, whose sides are rounded up, and its
true size is an argument.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

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
    crop_window,
    crop_windows,
    cut_host,
)
from relo_jax.model import RELO
from relo_jax.tracking.step import ModelState, init_state, replace_template, step

Array = jax.Array | np.ndarray

# Columns of an answer. The evidence of the score is there if the variables have the score's weights.
BOX, RESPONSE, SCORE, EVIDENCE = slice(0, 4), 4, 5, slice(6, None)


class TrackState(flax.struct.PyTreeNode):
    """What B targets carry from frame to frame."""

    state: ModelState
    box_xywh: Array  # [B, 4] float32, pixels
    crop_window: Array  # [B, 3] int32, x, y, side of the next search region
    frames: Array  # [B] int32, number of search frames so far


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
    box_xywh=0, crop_window=0, frames=0,  # type: ignore[arg-type]
)  # fmt: skip


def bucket_side(length: int) -> int:
    """The smallest of 128, 160, 192, 256, 320, 384, 512 ... (4, 5 or 6 times a power of two) that holds a length."""
    scale = 32
    while 6 * scale < length:
        scale *= 2
    return next(k * scale for k in (4, 5, 6) if k * scale >= length)


def bucket(height: int, width: int) -> tuple[int, int]:
    """Sides of the bucket for frames of a size; at most a third longer than the frame's."""
    return bucket_side(height), bucket_side(width)


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


def pad_to_bucket(
    slots: Sequence[Sequence[np.ndarray]], length: int, sides: tuple[int, int] = (1, 1)
) -> tuple[np.ndarray, np.ndarray]:
    """Frames of several videos as `track_chunk` takes them.

    Args:
      slots: B lists of at most C frames, uint8 `[H, W, 3]` of any size.
      length: C.
      sides: smallest height and width of the bucket.

    Returns:
      frames uint8 `[C, B, H, W, 3]` with anything outside them, and sizes int32 `[C, B, 2]`, their heights and widths.
    """
    shapes = [sides, *(frame.shape for frames in slots for frame in frames)]
    batch = np.empty((length, len(slots), *bucket(*(max(shape[k] for shape in shapes) for k in (0, 1))), 3), np.uint8)
    size = np.ones((length, len(slots), 2), np.int32)
    for row, frames in enumerate(slots):
        for index, frame in enumerate(frames):
            size[index, row] = height, width = frame.shape[:2]
            batch[index, row, :height, :width] = frame
    return batch, size


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
    return TrackState(state, box_xywh, crop_window, jnp.zeros(len(box_xywh), jnp.int32))


def _crop_step(
    model: RELO, variables: dict, target: TrackState, crops: Array, side: Array, size: Array
) -> tuple[TrackState, jax.Array]:
    """One frame of B targets whose crops are cut: the network, the box in the image, and the next search region.

    Args:
      model: the network.
      variables: its variables.
      target: state of the B targets.
      crops: uint8 `[B, S, S, 3]`.
      side: int32 `[B]`, side of each search region in pixels of the frame.
      size: int32 `[B, 2]`, heights and widths of the frames.

    Returns:
      the new state, and answers float32 `[B, 6]`: box_xywh in pixels, response, score; `[B, 10]` with the evidence.
    """
    state, result = step(model, variables, target.state, crops)
    resize_factor = model.config.search_size / side[:, None].astype(jnp.float32)
    box = box_from_crop(result.box_cxcywh_norm, target.box_xywh, resize_factor, model.config.search_size)
    box = clip_box_xywh(box, *size.astype(jnp.float32).T)
    numbers = [box, result.response[:, None], result.score[:, None]]
    answer = jnp.concatenate(numbers if result.evidence is None else [*numbers, result.evidence], axis=1)
    return TrackState(state, box, crop_windows(box, SEARCH_FACTOR), target.frames + 1), answer


def _frame_step(
    model: RELO, variables: dict, target: TrackState, frames: jax.Array, size: jax.Array, updates: Updates | None
) -> tuple[TrackState, jax.Array]:
    """One frame of B targets: cuts the crops, tracks, and replaces the templates that are due.

    Args:
      model, variables, target, size: see `_crop_step`.
      frames: uint8 `[B, H, W, 3]`, padded to a bucket; or `[1, H, W, 3]`, one that all targets share.
      updates: when templates are replaced; None compiles nothing for it.

    Returns:
      as `_crop_step`.
    """
    crops = _cut(frames, target.crop_window, size, model.config.search_size)
    target, answer = _crop_step(model, variables, target, crops, target.crop_window[:, 2], size)
    if updates is None:
        return target, answer
    due = updates.due(target.frames, answer[:, RESPONSE])

    def renew(state: ModelState) -> ModelState:
        window, side = crop_windows(target.box_xywh, TEMPLATE_FACTOR), model.config.template_size
        resize_factor = side / window[:, 2:].astype(jnp.float32)
        box_norm = box_to_crop_norm(target.box_xywh, target.box_xywh, resize_factor, side)
        new = replace_template(model, variables, state, _cut(frames, window, size, side), box_norm)
        return state.replace(templates=jnp.where(due[:, None, None], new.templates, state.templates))

    return target.replace(state=jax.lax.cond(due.any(), renew, lambda state: state, target.state)), answer


def _cut(frames: Array, crop_window: Array, size: Array, out_size: int) -> jax.Array:
    cut = functools.partial(crop_device, out_size=out_size)
    if len(crop_window) == 1:  # a gather without a batch is faster on a CPU
        return cut(frames[0], crop_window[0], size[0])[None]
    if len(frames) == 1:
        return jax.vmap(functools.partial(cut, frames[0]))(crop_window, size)
    return jax.vmap(cut)(frames, crop_window, size)


_compiled = functools.partial(jax.jit, static_argnames="model", donate_argnames="target")
track_crop = _compiled(_crop_step)
track_frame = _compiled(_frame_step)


@_compiled
def track_chunk(
    model: RELO, variables: dict, target: TrackState, frames: jax.Array, size: jax.Array, updates: Updates | None
) -> tuple[TrackState, jax.Array]:
    """`track_frame` over the C frames of a chunk: frames `[C, B, H, W, 3]`, size `[C, B, 2]` -> answers `[C, B, 6]`."""
    return jax.lax.scan(lambda target, x: _frame_step(model, variables, target, *x, updates), target, (frames, size))


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


@functools.partial(jax.jit, donate_argnums=0)
def write_row(target: TrackState, one: TrackState, row: jax.Array) -> TrackState:
    """The state of B targets with that of one target in a row."""
    put = lambda x, y, axis: jax.lax.dynamic_update_slice_in_dim(x, y, row, axis)
    return jax.tree.map(put, target, one, BATCH_AXES)
