"""Light that changes, on the device: `relo_jax.data.synthetic.lighting` in JAX, with the same distributions."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax import Array

from relo_jax.data.synthetic.device import affine, coarse
from relo_jax.data.synthetic.device.supply import Supply
from relo_jax.data.synthetic.lighting import BRIGHTEST, KINDS, SHARES, WAVES

MOST = 2  # lights of a scene


class Lights(flax.struct.PyTreeNode):
    """The L lights of a scene, see the host's `Light`; where there is none, the colour is 1."""

    kind: Array  # int32 [L], position in KINDS
    maps: Array  # [F, L, 2, 3], from the frame to the light
    color: Array  # [L, 3]
    softness: Array  # [L]
    waves: Array  # [L, 6, 3]


def brightness(lights: Lights, maps: Array, points: Array) -> Array:
    """The factor on RGB at points [P, 2] of a frame: [P, 3]. maps: [L, 2, 3], the lights' of that frame."""
    at = affine.apply(maps[:, None], points)
    u, v = at[..., 0], at[..., 1]
    phase = (at[..., None, :] * lights.waves[:, None, :, :2]).sum(-1) + lights.waves[:, None, :, 2]
    distances = jnp.stack([u, 1 - jnp.abs(u), 1 - jnp.hypot(u, v), jnp.cos(phase).sum(-1) / WAVES**0.5])
    distance = jnp.take_along_axis(distances, lights.kind[None, :, None], 0)[0]
    pattern = jax.nn.sigmoid(4 * distance / lights.softness[:, None])
    return jnp.minimum((1 + pattern[..., None] * (lights.color[:, None] - 1)).prod(0), BRIGHTEST)


def shine(image: Array, lights: Lights, view: Any) -> Array:
    """A view of a frame, float32 [S, S, 3], in its lights; `view` as in `scene.render`."""
    maps = lights.maps[view.frame]
    factor = coarse.spread(lambda points: brightness(lights, maps, points), view, image.shape[0])
    return jnp.clip(jnp.round(image * factor), 0, 255)


def random_lights(supply: Supply, scene_maps: Array, center: Array, sizes: Array, probability: float) -> Lights:
    """One or two lights that the target meets, with this probability; arguments as of the host's function."""
    happens, second = supply.happens(probability), supply.happens(0.4)
    one = [_random_light(supply, scene_maps, center, sizes) for _ in range(MOST)]
    lights = Lights(
        **{name: jnp.stack([k[name] for k in one], 1 if name == "maps" else 0) for name in Lights.__dataclass_fields__}
    )
    there = jnp.stack([happens, happens & second])[:, None]
    return lights.replace(color=jnp.where(there, lights.color, 1.0))


def _random_light(supply, scene_maps, center, sizes):
    frames = len(sizes)
    kind = (supply.uniform() >= jnp.cumsum(jnp.array(SHARES[:-1]))).sum()
    met = supply.integers(0, frames)
    reach = jnp.where(kind == KINDS.index("leaves"), supply.log_uniform(0.2, 1.0), supply.log_uniform(0.4, 6.0))
    reach = reach * sizes[met]
    at = center[met] + supply.uniform(-0.7, 0.7, 2) * sizes[met]
    angle, aspect = supply.angle(), supply.log_uniform(0.5, 2.0)
    start = affine.apply(affine.invert(scene_maps[met]), at)
    resting = affine.compose(scene_maps, affine.maps(start[None], angle, reach * aspect, reach / aspect, (0, 0)))
    heading, speed = supply.angle(), supply.log_uniform(0.01, 0.6) * sizes[met]
    path = at + speed * (jnp.arange(frames) - met)[:, None] * jnp.stack([jnp.cos(heading), jnp.sin(heading)])
    passing = affine.maps(path, angle, reach * aspect, reach / aspect, (0, 0))
    dark = supply.happens(0.65) & (kind != KINDS.index("pool"))
    level = jnp.where(dark, supply.log_uniform(0.12, 0.7), supply.log_uniform(1.3, 3.0))
    waves = jnp.concatenate([supply.normal(0, 1.5, (WAVES, 2)), supply.angle((WAVES, 1))], 1)
    return {
        "kind": kind.astype(jnp.int32),
        "maps": affine.invert(jnp.where(supply.happens(0.6), resting, passing)),
        "color": level * jnp.exp(supply.normal(0, 0.1, 3)),
        "softness": supply.log_uniform(0.05, 1.0),
        "waves": waves,
    }


def exposure_control(supply: Supply, lights: Lights, width: int, height: int) -> Array:
    """[F]: the gain of a camera that compensates part of the frame's mean brightness, with a delay."""
    grid = (jnp.arange(5) + 0.5) / 5
    points = jnp.stack(jnp.meshgrid(grid * width, grid * height), -1).reshape(-1, 2)
    mean = jax.vmap(lambda maps: brightness(lights, maps, points).mean())(lights.maps)
    wanted = -supply.uniform() * jnp.log(mean)
    keep = 1 - 1 / supply.log_uniform(1, 20)
    # The gain moves from where it is by a share of the difference in each frame; this is its closed form.
    past = jnp.arange(len(wanted))[:, None] - jnp.arange(len(wanted))
    weight = jnp.where(past >= 0, (1 - keep) * keep ** jnp.maximum(past, 0), 0)
    weight = weight.at[:, 0].add(keep ** (jnp.arange(len(wanted)) + 1))
    return jnp.exp((weight * wanted).sum(1))


def switched_light(supply: Supply, frames: int) -> Array:
    """[F, 3] in (0, 1]: a coloured light that comes on or goes out during the sequence, within 1 to 25 frames."""
    dark, start, duration = supply.log_uniform(0.2, 0.7), supply.uniform(0, frames), supply.log_uniform(1, 25)
    color = jnp.minimum(dark * jnp.exp(supply.normal(0, 0.2, 3)), 1)
    lit = jnp.clip((jnp.arange(frames) - start) / duration, 0, 1)
    return color ** jnp.where(supply.happens(0.5), lit, 1 - lit)[:, None]


def at_night(supply: Supply, grade: Array, noise_strength: Array, probability: float) -> tuple[Array, Array]:
    """The camera's colour matrix [3, 4] and strength of noise; with this probability in little light: dark, paler
    colours, more noise."""
    happens, keep = supply.happens(probability), supply.uniform(0.1, 0.8)
    grey = jnp.array([0.299, 0.587, 0.114])
    matrix = supply.log_uniform(0.2, 0.6) * (keep * jnp.eye(3) + (1 - keep) * grey)
    more = supply.uniform(0, 0.2)
    dark = (matrix[..., None] * grade).sum(1)
    return jnp.where(happens, dark, grade), noise_strength + jnp.where(happens, more, 0)
