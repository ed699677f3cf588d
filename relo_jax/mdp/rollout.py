"""Closed-loop rollouts: the MDP as it is when tracking, where the next search region depends on the box just chosen.

Teacher-forced clips cut every search region around the ground truth, so that no action matters to the next frame. Here
the loader supplies for each frame a larger piece of the picture around the target, the canvas, and the region is cut
from it on the device, by the tracker's own geometry: around the last box, in pixels of the picture, at whose border a
box is kept. Where a canvas has as many pixels as what it shows, a region on it is the tracker's to the byte; else it is
off by half a pixel of the canvas at most. Beyond the canvas all is black. An episode ends when its region leaves the
canvas, that is when its centre does, or when it is the larger of the two: the target is lost.

Frames of all clips go through `lax.scan` together; what an ended episode still computes is not looked at.
"""

import flax.struct
import jax
import jax.numpy as jnp

from relo_jax.geometry.boxes import clip_box_xywh
from relo_jax.geometry.crop import SEARCH_FACTOR, box_from_crop, box_to_crop_norm, crop_device, crop_windows


@flax.struct.dataclass
class ClosedLoopBatch:
    """Clips that can be acted in: what `relo_jax.data.clips.read.draw` gives for closed-loop rollouts, T frames of B clips.

    Windows and boxes in pixels of the picture.
    """

    canvas_images: jax.Array  # uint8 [B, T, C, C, 3], square, around the target
    canvas_windows: jax.Array  # float32 [B, T, 3], x1, y1 and side of what they show
    frame_sizes: jax.Array  # float32 [B, T, 2], heights and widths of the pictures
    flips: jax.Array  # bool [B, T], whether the network sees the frame mirrored
    target_boxes_xywh: jax.Array  # float32 [B, T, 4]
    start_box_xywh: jax.Array  # float32 [B, 4], what the first region is cut around

    @classmethod
    def of(cls, batch):
        """From a batch of the pipeline."""
        return cls(**{name: batch[name] for name in cls.__dataclass_fields__})


@flax.struct.dataclass
class Episode:
    """What happened in T frames of B clips."""

    crop_center_xywh: jax.Array  # [B, T, 4], the boxes that the regions were cut around, pixels of the picture
    side: jax.Array  # [B, T], of the regions, pixels of the picture
    alive: jax.Array  # bool [B, T], false from the frame on whose region left the canvas
    boxes_xywh: jax.Array  # [B, T, 4], the boxes chosen, pixels of the picture


def cut_regions(canvas, canvas_window, box_xywh, size):
    """The search regions around the boxes of B clips.

    Args:
      canvas: uint8 `[B, C, C, 3]`.
      canvas_window: float32 `[B, 3]`; box_xywh: float32 `[B, 4]`: as in `ClosedLoopBatch`.
      size: S, of the regions as the network sees them.

    Returns:
      uint8 `[B, S, S, 3]`; sides in pixels of the picture `[B]`; whether the region is on the canvas, bool `[B]`.
      A region that is not has anything in it.
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
    whole = jnp.array([pixels, pixels], jnp.int32)
    crops = jax.vmap(lambda image, window: crop_device(image, window, whole, size))(canvas, cut)
    return crops, (side / scale)[:, 0], on_canvas


def rollout(policy, memory, world, inputs, size):
    """Lets a policy act in B clips.

    Args:
      policy: `(memory, crops uint8 [B, S, S, 3], inputs of the frame) -> (memory, box_cxcywh_norm [B, 4], out)`, the
        box relative to the crop, which is the mirrored one where the frame is.
      memory: what the policy carries from frame to frame, before the first.
      world: ClosedLoopBatch.
      inputs: a tree of arrays `[B, T, ...]`, of which the policy gets `[B, ...]` a frame.
      size: S.

    Returns:
      a tree of `[B, T, ...]` of what the policy gave as `out`, and the Episode.
    """

    def frame(carry, now):
        memory, box, alive = carry
        (canvas, canvas_window, frame_size, flip), given = now
        crops, side, on_canvas = cut_regions(canvas, canvas_window, box, size)
        alive &= on_canvas
        crops = jnp.where(flip[:, None, None, None], crops[:, :, ::-1], crops)
        memory, chosen, out = policy(memory, crops, given)
        mirrored = chosen.at[:, 0].set(1 - chosen[:, 0])
        chosen = jnp.where(flip[:, None], mirrored, chosen)
        new = clip_box_xywh(box_from_crop(chosen, box, size / side[:, None], size), *frame_size.T)
        happened = Episode(crop_center_xywh=box, side=side, alive=alive, boxes_xywh=new)
        return (memory, jnp.where(alive[:, None], new, box), alive), (out, happened)

    frames_first = lambda tree: jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), tree)
    seen = frames_first(((world.canvas_images, world.canvas_windows, world.frame_sizes, world.flips), inputs))
    start = memory, world.start_box_xywh, jnp.ones(len(world.start_box_xywh), bool)
    _, (outs, episode) = jax.lax.scan(frame, start, seen)
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), (outs, episode))


def target_in_regions(world, episode, size):
    """The ground truth relative to the regions of an episode, as the network sees them: box_xywh_norm `[B, T, 4]`."""
    resize_factor = size / episode.side[..., None]
    box = box_to_crop_norm(world.target_boxes_xywh, episode.crop_center_xywh, resize_factor, size)
    mirrored = box.at[..., 0].set(1 - box[..., 0] - box[..., 2])
    return jnp.where(world.flips[..., None], mirrored, box)
