"""The tracker's programs: one dispatch a frame, a chunk of frames, or a chunk of many videos (the released system,
"Inference").

What a video carries from frame to frame stays on the device: templates, tokens, the last box and the window that is cut
next. A frame goes up as uint8 and what comes back is one row of six numbers. All ways to track (one frame at a time,
chunks, lockstep) are these functions, geometry included, so that they give the same boxes.

Videos come in many sizes, compiled programs in few: a frame lies in the upper left corner of a canvas whose sides are
rounded up (`bucket`), and its true size is an argument.
"""

import functools

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
from relo_jax.tracking.step import ModelState, init_state, replace_template, step

# Columns of an answer; the evidence of the score is there where the variables have its weights.
BOX, RESPONSE, SCORE, EVIDENCE = slice(0, 4), 4, 5, slice(6, None)


@flax.struct.dataclass
class TrackState:
    """What B videos carry from frame to frame."""

    state: ModelState
    box_xywh: jax.Array  # [B, 4] float32, pixels
    crop_window: jax.Array  # [B, 3] int32, what the next search crop is cut from
    frames: jax.Array  # [B] int32, search frames seen


@flax.struct.dataclass
class Updates:
    """When the template is replaced: every `interval` frames when the response exceeds `threshold`."""

    interval: jax.Array  # [] int32
    threshold: jax.Array  # [] float32

    @classmethod
    def of(cls, options):
        """From the tracker's options; numpy scalars."""
        return cls(np.int32(options["update_interval"]), np.float32(options["update_threshold"]))

    def due(self, frames, response):
        """Whether it is time after so many search frames, `[B]`; numpy or traced."""
        return (frames % self.interval == 0) & (response > self.threshold)


# On which axis the batch lies, field by field.
BATCH_AXES = TrackState(
    ModelState(templates=0, tokens=1, first=0, window=0, reference=0), box_xywh=0, crop_window=0, frames=0
)


def bucket_side(length):
    """The smallest of 128, 160, 192, 256, 320, 384, 512 ... (4, 5 or 6 times a power of two) that holds a length."""
    scale = 32
    while 6 * scale < length:
        scale *= 2
    return next(k * scale for k in (4, 5, 6) if k * scale >= length)


def bucket(height, width):
    """Sides of the canvas for frames of a size; at most a third longer than they are."""
    return bucket_side(height), bucket_side(width)


def template_view(box_xywh, size, read_crop):
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


def first_view(box_xywh, size, read_crop):
    """What `begin` takes of a video's first frame: arguments of `template_view`, geometry in the release's float64.

    Returns:
      tuple of numpy arrays: those of `template_view`, the target in the frame, float32 `[1, 4]`, and the window of the
      first search crop, int32 `[1, 3]`.
    """
    window = np.array([crop_window(box_xywh, SEARCH_FACTOR)], np.int32)
    return *template_view(box_xywh, size, read_crop), np.float32(box_xywh)[None], window


def cropper(frame):
    """`read_crop` of a frame on the host, by the device's geometry: what the programs would cut, to the byte."""

    def read_crop(box_xywh, factor, size):
        window = crop_windows(np.float32(box_xywh), factor).tolist()
        return cut_host(frame, window, size), size / window[2]

    return read_crop


def pad_to_bucket(slots, length, sides=(1, 1)):
    """Frames of several videos as `track_chunk` takes them.

    Args:
      slots: B lists of at most C frames, uint8 `[H, W, 3]` of any size.
      length: C.
      sides: what the canvas has at least.

    Returns:
      uint8 `[C, B, H, W, 3]`, anything where no frame is, and int32 `[C, B, 2]`, heights and widths of the frames.
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
def begin(model, variables, template_crops, template_boxes_xywh_norm, box_xywh, crop_window, window_power):
    """The target before the first search frame; arguments of `init_state` and `first_view`. Returns TrackState of B."""
    state = init_state(model, variables, template_crops, template_boxes_xywh_norm, window_power)
    return TrackState(state, box_xywh, crop_window, jnp.zeros(len(box_xywh), jnp.int32))


def _crop_step(model, variables, target, crops, side, size):
    """One frame of B videos, already cut: network, box in the image, and where to look next.

    Args:
      model: `RELO`.
      variables: its variables.
      target: TrackState.
      crops: uint8 `[B, S, S, 3]`.
      side: int32 `[B]`, pixels of the windows that they were cut from.
      size: int32 `[B, 2]`, heights and widths of the frames.

    Returns:
      (TrackState, answer float32 `[B, 6]`: box_xywh in pixels, response, score; `[B, 10]` with the score's evidence).
    """
    state, seen = step(model, variables, target.state, crops)
    resize_factor = model.search_size / side[:, None].astype(jnp.float32)
    box = box_from_crop(seen.box_cxcywh_norm, target.box_xywh, resize_factor, model.search_size)
    box = clip_box_xywh(box, *size.astype(jnp.float32).T)
    numbers = [box, seen.response[:, None], seen.score[:, None]]
    answer = jnp.concatenate(numbers if seen.evidence is None else [*numbers, seen.evidence], axis=1)
    return TrackState(state, box, crop_windows(box, SEARCH_FACTOR), target.frames + 1), answer


def _frame_step(model, variables, target, frames, size, updates):
    """One frame of B videos: cut, look, and replace the template where it is time to.

    Args:
      model, variables, target, size: see `_crop_step`.
      frames: uint8 `[B, H, W, 3]`, canvases; or `[1, H, W, 3]`, one that all share.
      updates: Updates, or None where there are none: nothing is compiled for them then.

    Returns:
      as `_crop_step`.
    """
    crops = _cut(frames, target.crop_window, size, model.search_size)
    target, answer = _crop_step(model, variables, target, crops, target.crop_window[:, 2], size)
    if updates is None:
        return target, answer
    due = updates.due(target.frames, answer[:, RESPONSE])

    def renew(state):
        around, side = crop_windows(target.box_xywh, TEMPLATE_FACTOR), model.template_size
        resize_factor = side / around[:, 2:].astype(jnp.float32)
        box_norm = box_to_crop_norm(target.box_xywh, target.box_xywh, resize_factor, side)
        new = replace_template(model, variables, state, _cut(frames, around, size, side), box_norm)
        return state.replace(templates=jnp.where(due[:, None, None], new.templates, state.templates))

    return target.replace(state=jax.lax.cond(due.any(), renew, lambda state: state, target.state)), answer


def _cut(frames, crop_window, size, out_size):
    cut = functools.partial(crop_device, out_size=out_size)
    if len(crop_window) == 1:  # a gather without a batch is the quicker one on a CPU
        return cut(frames[0], crop_window[0], size[0])[None]
    if len(frames) == 1:
        return jax.vmap(functools.partial(cut, frames[0]))(crop_window, size)
    return jax.vmap(cut)(frames, crop_window, size)


_options = dict(static_argnames="model", donate_argnames="target")
track_crop = jax.jit(_crop_step, **_options)
track_frame = jax.jit(_frame_step, **_options)


@functools.partial(jax.jit, **_options)
def track_chunk(model, variables, target, frames, size, updates):
    """`_frame_step` over the C frames of a chunk: frames `[C, B, H, W, 3]`, size `[C, B, 2]` -> TrackState, answers `[C, B, 6]`."""
    return jax.lax.scan(lambda target, x: _frame_step(model, variables, target, *x, updates), target, (frames, size))


@functools.partial(jax.jit, **_options)
def renew_template(model, variables, target, row, template_crops, template_boxes_xywh_norm):
    """`replace_template` for one row of B, whose crop was cut on the host."""
    one = jax.tree.map(lambda x, axis: jax.lax.dynamic_slice_in_dim(x, row, 1, axis), target, BATCH_AXES)
    state = replace_template(model, variables, one.state, template_crops, template_boxes_xywh_norm)
    return write_row(target, one.replace(state=state), row)


@functools.partial(jax.jit, donate_argnums=0)
def write_row(target, one, row):
    """TrackState of B with a target of 1 in a row."""
    put = lambda x, y, axis: jax.lax.dynamic_update_slice_in_dim(x, y, row, axis)
    return jax.tree.map(put, target, one, BATCH_AXES)
