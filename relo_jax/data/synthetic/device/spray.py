"""Spray, smoke and dust on the device: `relo_jax.data.synthetic.spray` in JAX, with the same distributions."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax import Array

from relo_jax.data.synthetic.device import affine, coarse
from relo_jax.data.synthetic.device.supply import Supply
from relo_jax.data.synthetic.spray import BRIGHTNESS, LONGEST, SHARES, TINTS, WAVES

MOST = 2  # clouds of a scene


class Clouds(flax.struct.PyTreeNode):
    """The C clouds of a scene, from back to front, see the host's `Cloud`; where there is none, the opacity is 0."""

    maps: Array  # [F, C, 2, 3], from the frame to the cloud
    opacity: Array  # [F, C]
    color: Array  # [C, 3]
    roughness: Array  # [C]
    softness: Array  # [C]
    waves: Array  # [C, 6, 4]


def veil(clouds: Clouds, frame: Array, points: Array) -> Array:
    """What the clouds make of a colour at points [P, 2]: [P, 4], a factor and the RGB to add to it."""
    own = affine.apply(clouds.maps[frame][:, None], points)
    phase = (own[..., None, :] * clouds.waves[:, None, :, :2]).sum(-1)
    phase = phase + (clouds.waves[..., 2] + frame * clouds.waves[..., 3])[:, None]
    rough = jnp.cos(phase).sum(-1) / WAVES**0.5
    depth = 1 - jnp.hypot(own[..., 0], own[..., 1]) + clouds.roughness[:, None] * rough
    covers = clouds.opacity[frame][:, None] * jax.nn.sigmoid(4 * depth / clouds.softness[:, None])
    made = jnp.concatenate([jnp.ones((len(points), 1)), jnp.zeros((len(points), 3))], 1)
    for cover, color in zip(covers[..., None], clouds.color, strict=True):
        made = (1 - cover) * made + cover * jnp.concatenate([jnp.zeros(1), color])
    return made


def cover(image: Array, clouds: Clouds, view: Any) -> Array:
    """A view of a frame, float32 [S, S, 3], behind its clouds; `view` as in `scene.render`."""
    made = coarse.spread(lambda points: veil(clouds, view.frame, points), view, image.shape[0])
    return jnp.round(image * made[..., :1] + made[..., 1:])


def random_clouds(supply: Supply, scene_maps: Array, center: Array, sizes: Array, probability: float) -> Clouds:
    """One or two clouds that the target meets, with this probability; arguments as of the host's function."""
    happens, second = supply.happens(probability), supply.happens(0.4)
    one = [_random_cloud(supply, scene_maps, center, sizes) for _ in range(MOST)]
    axis = {"maps": 1, "opacity": 1}
    clouds = Clouds(
        **{name: jnp.stack([k[name] for k in one], axis.get(name, 0)) for name in Clouds.__dataclass_fields__}
    )
    there = jnp.stack([happens, happens & second])
    return clouds.replace(opacity=jnp.where(there, clouds.opacity, 0.0))


def _random_cloud(supply, scene_maps, center, sizes):
    frames = len(sizes)
    kind = (supply.uniform() >= jnp.cumsum(jnp.array(SHARES[:-1]))).sum()
    met = supply.integers(0, frames)
    since = jnp.arange(frames) - met
    offset = supply.uniform(-0.9, 0.9, 2) * sizes[met]
    start = affine.apply(affine.invert(scene_maps[met]), center[met] + offset)
    heading, speed = supply.angle(), supply.log_uniform(0.005, 0.15) * sizes[met]
    drift = speed * since[:, None] * jnp.stack([jnp.cos(heading), jnp.sin(heading)])
    path = jnp.where(supply.happens(0.5), center + offset, affine.apply(scene_maps, start) + drift)
    growth = jnp.exp(jnp.clip(supply.normal(0, 0.02) * since, -LONGEST, LONGEST))
    radius, aspect = sizes[met] * supply.log_uniform(0.4, 2.5) * growth, supply.log_uniform(0.6, 1.7)
    maps = affine.maps(path, supply.angle(), radius * aspect, radius / aspect, (0, 0))
    comes = jnp.clip(0.4 + 0.8 * jnp.cos(2 * jnp.pi * since / supply.log_uniform(8, 120)), 0, 1)
    low, high = jnp.array(BRIGHTNESS)[kind]
    color = (low + (high - low) * supply.uniform()) * jnp.array(TINTS)[kind] * jnp.exp(supply.normal(0, 0.04, 3))
    directions = supply.log_uniform(2.0, 8.0) * supply.normal(0, 1, (WAVES, 2))
    return {
        "maps": affine.invert(maps),
        "opacity": supply.uniform(0.3, 1.0) * comes,
        "color": jnp.minimum(color, 255),
        "roughness": supply.uniform(0.2, 0.8),
        "softness": supply.log_uniform(0.15, 1.5),
        "waves": jnp.concatenate([directions, supply.angle((WAVES, 1)), supply.normal(0, 0.5, (WAVES, 1))], 1),
    }
