"""The cut-outs of a scene by role, on the device: `relo_jax.data.synthetic.procedural` with the same distributions.

A scene has a slot for each layer that it may have. The slots of a role are neighbours, in the order of `Slots`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import flax.struct
import jax
import jax.numpy as jnp
from jax import Array

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.device import objects, texels
from relo_jax.data.synthetic.device.assets import Assets
from relo_jax.data.synthetic.device.objects import Piece
from relo_jax.data.synthetic.device.supply import Supply
from relo_jax.data.synthetic.procedural import FAMILY
from relo_jax.data.synthetic.textures import SIZE

_OCCLUDERS = 2
_LONGEST_BLUR = 7  # pixels of a background's blur


@dataclass(frozen=True)
class Slots:
    """Which slots a role has: slices of 0 to `count`."""

    clutter: slice
    distractors: slice
    carrier: slice
    body: slice
    limbs: slice
    occluders: slice
    shadow: slice
    count: int

    @classmethod
    def of(cls, options: Options) -> Slots:
        """The slots that scenes of these options need."""
        ends = [0]
        for number in (options.clutter, options.distractors, 1, 1, options.limbs, _OCCLUDERS, 1):
            ends.append(ends[-1] + number)
        roles = (slice(first, end) for first, end in itertools.pairwise(ends))
        return cls(*roles, count=ends[-1])  # type: ignore[misc,arg-type]


@flax.struct.dataclass
class Cast:
    """What a scene shows.

    Attributes:
      pieces: uint32 [K, TEXELS], a cut-out for each slot.
      corners: [K, 2, 2], upper left and lower right corner of each one's bounding box.
      present: bool [K].
      outlines: [1 + limbs, 240, 2], of the body and the limbs.
      background: uint32 [256 * 256].
    """

    pieces: Array
    corners: Array
    present: Array
    outlines: Array
    background: Array


@flax.struct.dataclass
class Family:
    """Four objects, of which three resemble the first, and limbs in their colours; stacked."""

    members: Piece
    limbs: Piece


def draw_family(key: Array, assets: Assets, limbs: int) -> Family:
    """A family with that number of limbs; all random numbers come from the key."""
    keys = jax.random.split(key, 2 * FAMILY - 1 + limbs)
    new = jax.vmap(lambda k: objects.random_appearance(k, assets))(keys[: FAMILY + limbs])
    first, others, own = (
        jax.tree.map(lambda x, at=at: x[at], new) for at in (0, slice(1, FAMILY), slice(FAMILY, None))
    )
    similar = jax.vmap(objects.similar_appearance, (0, None, 0))(keys[FAMILY + limbs :], first, others)
    colors = (jnp.broadcast_to(k, (limbs, 3, 4)) for k in (first.color, first.second_color))
    own = own.replace(color=next(colors), second_color=next(colors), hole=jnp.zeros(limbs))
    recipes = jax.tree.map(lambda a, b, c: jnp.concatenate([a[None], b, c]), first, similar, own)
    pieces = jax.vmap(lambda recipe: objects.paint(recipe, assets))(recipes)
    return Family(*(jax.tree.map(lambda x, at=at: x[at], pieces) for at in (slice(FAMILY), slice(FAMILY, None))))


def draw_cast(key: Array, family: Family, target: Array, assets: Assets, options: Options) -> Cast:
    """A cast with member `target` of the family as the target; all random numbers come from the key."""
    keys = jax.random.split(key, 4)
    supply, members, limbs = Supply(keys[0], 64), family.members, family.limbs
    others = supply.order(FAMILY - 1)
    others = others + (others >= target)
    stock = supply.integers(0, assets.stock.shape[0], options.clutter + 1 + _OCCLUDERS)
    picked = jnp.concatenate([
        *(members.words[others[k % len(others)]][None] for k in range(options.distractors)),
        assets.stock[stock[options.clutter]][None], members.words[target][None], limbs.words,
        assets.stock[stock[options.clutter + 1 :]], (veil := objects.shadow(keys[1])).words[None],
    ])  # fmt: skip
    box = lambda outline: jnp.stack([outline.min(-2), outline.max(-2)], -2)
    of_members, stock_box = box(members.outline), assets.stock_corners[stock]
    corners = jnp.concatenate([
        stock_box[: options.clutter], *(of_members[others[k % len(others)]][None] for k in range(options.distractors)),
        stock_box[options.clutter][None], of_members[target][None], box(limbs.outline),
        stock_box[options.clutter + 1 :], box(veil.outline)[None],
    ])  # fmt: skip
    background = _background(keys[2], assets)
    return Cast(
        pieces=jnp.concatenate([assets.stock[stock[: options.clutter]], picked]),
        corners=corners,
        present=_present(Supply(keys[3], 16), options),
        outlines=jnp.concatenate([members.outline[target][None], limbs.outline]),
        background=texels.join([k.astype(jnp.uint32) for k in _with_contrast(background, members.words[target])]),
    )


def _present(supply, options):
    """bool [K]: how many of each role there are, at random."""
    first = lambda count, most: jnp.arange(most) < count
    limbs = jnp.where(supply.happens(options.articulated), supply.integers(0, options.limbs + 1), 0)
    occluders = jnp.where(supply.happens(options.occlusion), supply.integers(1, _OCCLUDERS + 1), 0)
    return jnp.concatenate([
        first(supply.integers(0, options.clutter + 1), options.clutter),
        first(supply.integers(0, options.distractors + 1), options.distractors),
        supply.happens(0.2)[None], jnp.ones(1, bool), first(limbs, options.limbs), first(occluders, _OCCLUDERS),
        supply.happens(options.shadow)[None],
    ])  # fmt: skip


def _background(key, assets):
    """The three channels [256 * 256] of a texture, recoloured; some blurred, some mirrored."""
    supply = Supply(key, 48)
    scenic = assets.scenic[supply.integers(0, assets.scenic.shape[0])]
    index = jnp.where(supply.happens(0.85), scenic, supply.integers(0, assets.textures.shape[0]))
    words = assets.textures[index, : SIZE**2].reshape(SIZE, SIZE)
    words = jnp.where(supply.happens(0.5), words[:, ::-1], words)
    channels = objects.recolored(texels.split(words, 3), objects.color_matrix(supply))
    length = jnp.where(supply.happens(0.25), supply.integers(2, _LONGEST_BLUR + 1), 1)
    return [jnp.round(_averaged(_averaged(channel, length, 0), length, 1)).reshape(-1) for channel in channels]


def _averaged(channel, length, axis):
    """The mean over `length` neighbours along an axis."""
    half = _LONGEST_BLUR // 2
    wide = jnp.pad(channel, [(half, half) if k == axis else (0, 0) for k in range(2)], mode="reflect")
    total = 0.0
    for step in range(-half, half + 1):
        counts = (step >= -(length // 2)) & (step < length - length // 2)
        total = total + jnp.where(counts, jax.lax.slice_in_dim(wide, half + step, half + step + SIZE, axis=axis), 0)
    return total / length


def _with_contrast(background, target):
    """The background, darker or brighter if a uniform target (words [TEXELS]) has almost its colour."""
    *color, alpha = texels.split(target[texels.STARTS[2] :], 4)
    opaque = alpha > 200
    count = jnp.maximum(opaque.sum(), 1)
    of_target = jnp.stack([jnp.where(opaque, channel, 0).sum() / count for channel in color])
    spread = jnp.stack(
        [jnp.where(opaque, (c - m) ** 2, 0).sum() / count for c, m in zip(color, of_target, strict=True)]
    )
    mean = jnp.stack([channel.mean() for channel in background])
    is_alike = opaque.any() & (jnp.abs(of_target - mean).mean() + jnp.sqrt(spread).mean() < 35)
    is_bright = mean.mean() > 110
    changed = lambda channel: jnp.where(is_bright, jnp.round(channel / 2), jnp.minimum(channel + 80, 255))
    return [jnp.where(is_alike, changed(channel), channel) for channel in background]
