"""Closed-loop rollouts: the MDP as in tracking, where the next search region depends on the box just chosen.

Teacher-forced clips cut every search region around the ground truth, so no action affects the next frame. For a rollout
the loader supplies a larger piece of each frame around the target, the canvas, and the device cuts the region out of it
with the tracker's own geometry: around the last box, in pixels of the frame, with boxes clipped to the frame. Where a
canvas has as many pixels as the piece it shows, a region equals the tracker's to the byte; otherwise it is off by at
most half a pixel of the canvas. Everything beyond the canvas is black. An episode ends, with the target lost, when the
centre of its region leaves the canvas or the region is larger than the canvas.

The frames of all clips go through `lax.scan` together; what an ended episode still computes is ignored.
"""

from collections.abc import Callable, Mapping

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree, UInt8

from relo_jax.geometry.boxes import clip_box_xywh
from relo_jax.geometry.crop import SEARCH_FACTOR, box_from_crop, box_to_crop_norm, crop_device, crop_windows

# (memory, crops, inputs of the frame) -> (memory, box_cxcywh_norm, output); see `rollout`.
Policy = Callable[[PyTree, jax.Array, PyTree], tuple[PyTree, jax.Array, PyTree]]


@flax.struct.dataclass
class ClosedLoopBatch:
    """Clips for closed-loop rollouts, as `relo_jax.data.clips.read` gives them: T frames of B clips.

    Windows and boxes are in pixels of the frame.
    """

    canvas_images: UInt8[Array, "B T C C 3"]  # square, around the target
    canvas_windows: Float[Array, "B T 3"]  # x1, y1 and side of the piece of the frame that a canvas shows
    frame_sizes: Float[Array, "B T 2"]  # height and width
    flips: Bool[Array, "B T"]  # whether the network gets the frame mirrored
    target_boxes_xywh: Float[Array, "B T 4"]
    start_box_xywh: Float[Array, "B 4"]  # the first region is cut around it

    @classmethod
    def of(cls, batch: Mapping[str, jax.Array]) -> "ClosedLoopBatch":
        """The part of a pipeline's batch that a rollout reads."""
        return cls(**{name: batch[name] for name in cls.__dataclass_fields__})


@flax.struct.dataclass
class Episode:
    """The course of T frames of B clips, in pixels of the frame."""

    crop_center_xywh: Float[Array, "B T 4"]  # the box that the region was cut around
    side: Float[Array, "B T"]  # of the region
    alive: Bool[Array, "B T"]  # false from the frame on whose region left the canvas
    boxes_xywh: Float[Array, "B T 4"]  # as chosen


def cut_regions(
    canvas: UInt8[Array, "B C C 3"], canvas_window: Float[Array, "B 3"], box_xywh: Float[Array, "B 4"], size: int
) -> tuple[UInt8[Array, "B S S 3"], Float[Array, " B"], Bool[Array, " B"]]:
    """Cuts the search regions around the boxes of B clips.

    Args:
      canvas, canvas_window: one frame of a `ClosedLoopBatch`.
      box_xywh: in pixels of the frame.
      size: S, side of the regions that the network gets.

    Returns:
      The regions; their sides in pixels of the frame; whether they are on the canvas. The pixels of a region that is
      not are meaningless.
    """
    pixels = canvas.shape[1]
    scale = pixels / canvas_window[:, 2:]
    window = crop_windows(box_xywh, SEARCH_FACTOR).astype(jnp.float32)
    corner = jnp.round((window[:, :2] - canvas_window[:, :2]) * scale)
    side = jnp.maximum(jnp.round(window[:, 2:] * scale), 1)
    center = corner + side / 2
    on_canvas = jnp.all((center >= 0) & (center < pixels), -1) & (side[:, 0] <= pixels)
    everything = jnp.array([0, 0, pixels], jnp.float32)
    cut = jnp.where(on_canvas[:, None], jnp.concatenate([corner, side], -1), everything).astype(jnp.int32)
    canvas_size = jnp.array([pixels, pixels], jnp.int32)
    crops = jax.vmap(lambda image, window: crop_device(image, window, canvas_size, size))(canvas, cut)
    return crops, (side / scale)[:, 0], on_canvas


def rollout(
    policy: Policy, memory: PyTree, batch: ClosedLoopBatch, inputs: PyTree, size: int
) -> tuple[PyTree, Episode]:
    """Lets a policy act in B clips.

    Args:
      policy: takes its memory, the search regions `[B, S, S, 3]` and the frame's `inputs`; returns the new memory, the
        chosen box_cxcywh_norm `[B, 4]` relative to the region (the mirrored one where the frame is mirrored), and an
        output.
      memory: what the policy carries from frame to frame, before the first.
      inputs: a tree of arrays `[B, T, ...]`, of which the policy gets `[B, ...]` for each frame.
      size: S.

    Returns:
      The policy's outputs as a tree of arrays `[B, T, ...]`, and the Episode.
    """

    def frame(carry, frame_inputs):
        memory, box, alive = carry
        (canvas, canvas_window, frame_size, flip), policy_inputs = frame_inputs
        crops, side, on_canvas = cut_regions(canvas, canvas_window, box, size)
        alive &= on_canvas
        crops = jnp.where(flip[:, None, None, None], crops[:, :, ::-1], crops)
        memory, chosen, output = policy(memory, crops, policy_inputs)
        mirrored = chosen.at[:, 0].set(1 - chosen[:, 0])
        chosen = jnp.where(flip[:, None], mirrored, chosen)
        new = clip_box_xywh(box_from_crop(chosen, box, size / side[:, None], size), *frame_size.T)
        episode = Episode(crop_center_xywh=box, side=side, alive=alive, boxes_xywh=new)
        return (memory, jnp.where(alive[:, None], new, box), alive), (output, episode)

    frames_first = lambda tree: jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), tree)
    frames = (batch.canvas_images, batch.canvas_windows, batch.frame_sizes, batch.flips)
    start = memory, batch.start_box_xywh, jnp.ones(len(batch.start_box_xywh), bool)
    _, (outputs, episode) = jax.lax.scan(frame, start, frames_first((frames, inputs)))
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), (outputs, episode))


def target_in_regions(batch: ClosedLoopBatch, episode: Episode, size: int) -> Float[Array, "B T 4"]:
    """The ground truth as box_xywh_norm of an episode's regions, mirrored where they are."""
    resize_factor = size / episode.side[..., None]
    box = jnp.asarray(box_to_crop_norm(batch.target_boxes_xywh, episode.crop_center_xywh, resize_factor, size))
    mirrored = box.at[..., 0].set(1 - box[..., 0] - box[..., 2])
    return jnp.where(batch.flips[..., None], mirrored, box)
