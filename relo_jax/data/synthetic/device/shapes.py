"""Silhouettes on the device: polygons of 48 points within [-1, 1], and what of each pixel they cover.

The distributions are those of `relo_jax.data.synthetic.objects`. A silhouette has five polygons, of which some are
points without an area.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from relo_jax.data.synthetic.cutout import PATCH
from relo_jax.data.synthetic.device.supply import Supply, kept

POINTS = 48  # of a polygon; corners are among them, since 48 = 6 x 8 = 3 x 16
PARTS = 5  # polygons of a silhouette
_ROWS = 2  # sampled in a pixel; columns need no samples


def circle(count: int = POINTS) -> Array:
    """Angles [count] of a full turn."""
    return jnp.arange(count) * (2 * jnp.pi / count)


def on_ray(angle: Array, radius: ArrayLike) -> Array:
    """Points [..., 2] in polar coordinates."""
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1) * jnp.asarray(radius)[..., None]


def blobs(supply: Supply, count: int, roughness: float = 0.25) -> Array:
    """[count, 48, 2]: round outlines with random waves."""
    order = jnp.arange(1, 7)
    weight = supply.normal(0, roughness, (count, 6)) / order**0.7
    phase = supply.uniform(0, 6.3, (count, 6))
    waves = jnp.cos(order * circle()[:, None] + phase[:, None])
    return on_ray(jnp.broadcast_to(circle(), (count, POINTS)), jnp.exp((weight[:, None] * waves).sum(-1)))


def superellipse(supply: Supply) -> Array:
    """[48, 2]: between a rectangle and a star of four rays."""
    corner, power = on_ray(circle(), 1.0), supply.log_uniform(0.2, 1.2)
    return jnp.sign(corner) * jnp.abs(corner) ** power


def polygon(supply: Supply) -> Array:
    """[48, 2] with 3 to 8 corners."""
    count, slot = supply.integers(3, 9), jnp.arange(8)
    angle = slot * 2 * jnp.pi / count + supply.uniform(-0.4, 0.4, 8)
    angle = jnp.sort(jnp.where(slot < count, angle, jnp.inf))
    radius = supply.uniform(0.6, 1, 8)
    last = jnp.minimum(slot, count - 1)
    return along_edges(on_ray(angle[last], radius[last]))


def star(supply: Supply) -> Array:
    """[48, 2] with 3 to 8 rays."""
    count, slot = supply.integers(3, 9), jnp.arange(16)
    slot = jnp.minimum(slot, 2 * count - 1)
    return along_edges(on_ray(slot * jnp.pi / count, jnp.where(slot % 2, supply.uniform(0.35, 0.8), 1)))


def along_edges(corners: Array) -> Array:
    """[48, 2]: points along the edges between corners [N, 2], corners included; N divides 48."""
    parts = POINTS // len(corners)
    share = (jnp.arange(parts) / parts)[:, None]
    return (corners[:, None] * (1 - share) + jnp.roll(corners, -1, 0)[:, None] * share).reshape(POINTS, 2)


def silhouette(supply: Supply) -> tuple[Array, Array]:
    """Polygons [5, 48, 2] that fill [-1, 1] along their longer side, and how many of them have an area."""
    kind = supply.uniform()
    single = [blobs(supply, 1)[0], superellipse(supply), polygon(supply), star(supply)]
    body = superellipse(supply) * jnp.stack([supply.uniform(0.3, 0.6), supply.uniform(0.4, 0.8)])
    at = supply.uniform(-0.9, 0.9, (PARTS - 1, 2)) * jnp.array([0.7, 1])
    others = blobs(supply, PARTS - 1, 0.15) * supply.log_uniform(0.15, 0.45, (PARTS - 1, 1, 2)) + at[:, None]
    is_figure = kind >= 0.65
    count = jnp.where(is_figure, 1 + supply.integers(1, PARTS), 1)
    first = jnp.select([kind < 0.3, kind < 0.5, kind < 0.6, kind < 0.65], single, body)
    used = (jnp.arange(1, PARTS) < count)[:, None, None]
    polygons = jnp.concatenate([first[None], jnp.where(used, others, first[0])])
    stretch = jnp.exp(supply.normal(0, 0.3))
    low, high = polygons.min((0, 1)), polygons.max((0, 1))
    aspect = jnp.stack([stretch, 1 / stretch])
    half = ((high - low) * aspect).max() / 2
    return kept((polygons - (low + high) / 2) * aspect / half), count


def leaves(supply: Supply, count: int) -> Array:
    """[count, 48, 2]: round, angular or wavy outlines of all widths, turned anyhow; one kind for all."""
    kind = supply.uniform()
    order = jnp.arange(2, 5)
    waves = supply.normal(0, 0.12, (count, 3))[:, None] * jnp.cos(
        order * circle()[:, None] + supply.uniform(0, 6.3, (count, 3))[:, None]
    )
    corners, slot = supply.integers(3, 7), jnp.arange(6)
    angles = jnp.sort(jnp.where(slot < corners, supply.angle((count, 6)), jnp.inf))[:, jnp.minimum(slot, corners - 1)]
    share = (jnp.arange(8) / 8)[:, None]
    ends = on_ray(angles, jnp.ones_like(angles))[:, :, None]
    angular = (ends * (1 - share) + jnp.roll(ends, -1, 1) * share).reshape(count, POINTS, 2)
    round_ = on_ray(jnp.broadcast_to(circle(), (count, POINTS)), jnp.ones((count, POINTS)))
    wavy = round_ * (0.7 + waves.sum(-1))[..., None]
    outlines = jnp.select([kind < 0.35, kind < 0.75], [round_, angular], wavy)
    outlines = outlines * jnp.stack([jnp.ones(count), supply.uniform(0.25, 1, count)], -1)[:, None]
    cos, sin = jnp.cos(turn := supply.angle((count, 1))), jnp.sin(turn)
    x, y = outlines[..., 0], outlines[..., 1]
    return jnp.stack([x * cos - y * sin, x * sin + y * cos], -1)


def coverage(polygons: Array, rows: int = _ROWS) -> Array:
    """[..., 96, 96]: the share of each pixel inside of polygons [..., P, 2], in pixels of the patch.

    Exact along a row, for `rows` rows in each pixel.
    """
    ax, ay = polygons[..., 0], polygons[..., 1]
    bx, by = jnp.roll(ax, -1, -1), jnp.roll(ay, -1, -1)
    y = ((jnp.arange(PATCH * rows) + 0.5) / rows)[:, None]
    ax, ay, bx, by = (v[..., None, :] for v in (ax, ay, bx, by))
    sign = (ay <= y).astype(jnp.float32) - (by <= y)  # of an edge that crosses the row
    crossing = ax + (y - ay) * (bx - ax) / jnp.where(ay == by, 1.0, by - ay)
    sign, crossing = kept((sign, crossing))
    pixels = jnp.arange(1, PATCH + 1, dtype=jnp.float32)
    right = jnp.clip(pixels[:, None] - crossing[..., None, :], 0, 1)  # of the edge, as a share of each pixel
    winding = jnp.abs((sign[..., None, :] * right).sum(-1))
    shares = jnp.minimum(winding, 1).reshape(*winding.shape[:-2], PATCH, rows, PATCH)
    return shares.mean(-2)


def union(shares: Array) -> Array:
    """[96, 96]: what several polygons cover together, of `coverage` [N, 96, 96]."""
    return 1 - jnp.prod(1 - shares, axis=0)


def in_patch(polygons: Array, border: float = 3.0) -> Array:
    """Polygons within [-1, 1] in pixels of a patch, `border` pixels from its edge."""
    return polygons * (PATCH / 2 - border) + PATCH / 2
