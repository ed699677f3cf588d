"""Boxes and visibility of a scene's target on the device: `relo_jax.data.synthetic.composed.target_boxes` in JAX.

Where the frame's border cuts the target, the outline's edges are cut too; the host takes points along the silhouette's
border instead, which are up to 2 pixels of the patch apart.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from relo_jax.data.synthetic.composed import MIN_SIDE, MIN_VISIBLE_SHARE
from relo_jax.data.synthetic.cutout import PATCH
from relo_jax.data.synthetic.device import affine, shapes, texels
from relo_jax.data.synthetic.device.cast import Slots
from relo_jax.data.synthetic.device.scene import Scene

_COARSEST = texels.SIZES[2]
_OPAQUE = 128  # alpha above which a layer hides what is behind it


def target_boxes(scene: Scene, outlines: Array, slots: Slots, fields: Array) -> tuple[Array, Array]:
    """Ground truth: boxes_xywh [F, 4] and visible bool [F].

    A box encloses the part of the target's silhouette inside the frame, occluded parts included. The target is visible
    if at least two fifths of it are inside the frame and not occluded, and no side of the box is below 4 pixels.

    Args:
      outlines: [1 + limbs, P, 2], of the body and the limbs in their patches.
      slots: which layers are the target.
      fields: [64, TEXELS, 2], see `camera.Tables`.
    """
    limit = jnp.array([scene.width, scene.height], jnp.float32)
    points = _placed(scene, outlines, slots, fields)
    low, high = points.min(1), points.max(1)
    crosses = ((low < 0) | (high > limit)).any(1)[:, None]
    low, high = jnp.clip(low, 0, limit), jnp.clip(high, 0, limit)
    first, last = _inside(points, limit)
    # If nothing is inside, the clipped box has no area and lies on the frame's border beside the target.
    cut = crosses & jnp.isfinite(first)
    low, high = jnp.where(cut, jnp.maximum(first, low), low), jnp.where(cut, jnp.minimum(last, high), high)
    visible = (_visible_share(scene, slots) >= MIN_VISIBLE_SHARE) & ((high - low).min(1) >= MIN_SIDE)
    return jnp.concatenate([low, high - low], 1), visible


def _placed(scene, outlines, slots, fields):
    """The outlines in the frames, [F, N, 2]; those of absent limbs are put onto the first point of the body's."""
    layers = scene.layers
    which = jnp.r_[slots.body, slots.limbs]
    placed = affine.apply(layers.maps[:, which][:, :, None], outlines)
    # The bent patch shows at p what was at p + d(p), so a point moves to p - d(p), to first order.
    body = slots.body.start
    at = jnp.clip(outlines[0].astype(jnp.int32), 0, PATCH - 1) + 1
    move = -fields[layers.field[body], at[:, 1] * (PATCH + 2) + at[:, 0]]
    move = affine.times(layers.maps[:, body, None, :, :2], move) * layers.bending[:, body, None, None]
    placed = placed.at[:, 0].add(move)
    present = layers.present[which][:, None, None]
    return jnp.where(present, placed, placed[:, :1, :1]).reshape(len(placed), -1, 2)


def _inside(points, limit):
    """The extremes of the part of the outlines inside the frame, [F, 2] each; inf and -inf if there is none.

    Args:
      points: [F, N, 2], closed polygons of `shapes.POINTS` points one after the other.
    """
    polygons = points.reshape(len(points), -1, shapes.POINTS, 2)
    step = jnp.roll(polygons, -1, 2) - polygons
    safe = jnp.where(jnp.abs(step) < 1e-6, 1e-6, step)
    ends = jnp.stack([-polygons / safe, (limit - polygons) / safe])
    start = jnp.clip(ends.min(0).max(-1, keepdims=True), 0, 1)
    stop = jnp.clip(ends.max(0).min(-1, keepdims=True), 0, 1)
    # Both ends of an edge beside the frame lie on the same side of it, and so outside.
    pair = jnp.stack([polygons + start * step, polygons + stop * step])
    outside = (start > stop) | ((pair < -1e-3) | (pair > limit + 1e-3)).any((0, -1))[..., None]
    low, high = jnp.where(outside, jnp.inf, pair.min(0)), jnp.where(outside, -jnp.inf, pair.max(0))
    return low.min((1, 2)), high.max((1, 2))


def _visible_share(scene, slots):
    """[F]: the share of the target's body inside the frame and not occluded, estimated at up to 144 points."""
    layers, body = scene.layers, slots.body.start
    alpha = _alpha(layers.pieces[body])[1:-1, 1:-1][::2, ::2].reshape(-1)
    rows, columns = jnp.mgrid[0:_COARSEST:2, 0:_COARSEST:2].reshape(2, -1)
    counts = alpha > jnp.minimum(127, alpha.max() // 2)
    at = affine.apply(layers.maps[:, body, None], jnp.stack([columns, rows], -1) * 4.0 + 2)
    limit = jnp.array([scene.width, scene.height], jnp.float32)
    visible = ((at >= 0) & (at < limit)).all(-1)
    nearest = jnp.where(layers.present, layers.depth, -1.0)
    own = nearest[jnp.r_[slots.body, slots.limbs]].max()
    hides = jax.vmap(_covers, (0, 1, None))
    may_hide = jnp.r_[slots.distractors, slots.occluders]
    covered = hides(layers.pieces[may_hide], layers.maps[:, may_hide], at)
    in_front = (layers.present[may_hide] & (layers.depth[may_hide] > own))[:, None, None]
    visible &= ~(covered & in_front).any(0)
    return (visible & counts).sum(1) / jnp.maximum(counts.sum(), 1)


def _alpha(words):
    """The alpha channel of the coarsest level of a cut-out, with its border."""
    return (words[texels.STARTS[2] :] >> 24).astype(jnp.int32).reshape(_COARSEST + 2, _COARSEST + 2)


def _covers(words, maps, at):
    """Whether a cut-out, words [TEXELS] with maps [F, 2, 3], covers points [F, P, 2] of the frames: bool [F, P]."""
    inside = affine.apply(affine.invert(maps)[:, None], at) * (_COARSEST / PATCH) + 1
    column, row = (jnp.clip(inside[..., k], 0, _COARSEST + 1).astype(jnp.int32) for k in (0, 1))
    return (_alpha(words) > _OPAQUE)[row, column]
