"""Objects painted on the device: `relo_jax.data.synthetic.objects` in JAX, with the same distributions."""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp
from jax import Array

from relo_jax.data.synthetic.cutout import PATCH
from relo_jax.data.synthetic.device import shapes, texels
from relo_jax.data.synthetic.device.assets import Assets
from relo_jax.data.synthetic.device.camera import gaussian
from relo_jax.data.synthetic.device.supply import Supply
from relo_jax.data.synthetic.textures import SIZE

_HALF_WINDOW = 0.55  # of wider pieces of a texture, the half-sized one is taken
_SPOTS = 7
_DETAILS = 3


class Appearance(flax.struct.PyTreeNode):
    """The recipe of an object; see the host's class."""

    polygons: Array  # [5, 48, 2]
    count: Array  # of polygons with an area
    hole: Array
    texture: Array
    second: Array
    window: Array  # [3]
    second_window: Array  # [3]
    color: Array  # [3, 4]
    second_color: Array  # [3, 4]
    inner: Array  # key of the inner structure
    shade: Array


@flax.struct.dataclass
class Piece:
    """A painted object.

    Attributes:
      words: uint32 [TEXELS], see `texels.pyramid`.
      outline: [240, 2], points along the silhouette in the patch.
    """

    words: Array
    outline: Array


def color_matrix(supply: Supply) -> Array:
    """[3, 4]: a random change of hue, saturation, contrast and brightness, mostly to muted colours."""
    turn = supply.angle()
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    third, root = (1 - cos) / 3, sin / 3**0.5
    less, more, same = third - root, third + root, third + cos
    hue = jnp.stack([jnp.stack(row) for row in ([same, less, more], [more, same, less], [less, more, same])])
    saturation, inverted = supply.uniform(0, 1.3), supply.happens(0.2)
    gains = jnp.where(inverted, -1, 1) * supply.uniform(0.55, 1.25) * supply.uniform(0.85, 1.15, 3)
    matrix = gains[:, None] * (saturation * hue + (1 - saturation) * jnp.array([0.3, 0.55, 0.15]))
    offset = jnp.where(inverted, 255, 0) + supply.uniform(-30, 45) + supply.uniform(-12, 12, 3)
    return jnp.concatenate([matrix, offset[:, None]], 1)


def recolored(image: list[Array], matrix: Array) -> list[Array]:
    """Channels after a colour matrix [3, 4], in 0 to 255."""
    mixed = (sum(matrix[k, c] * image[c] for c in range(3)) + matrix[k, 3] for k in range(3))
    return [jnp.clip(jnp.round(channel), 0, 255) for channel in mixed]


def random_color(supply: Supply) -> Array:
    """[3] in 0 to 255; mostly muted, sometimes vivid."""
    hue, saturation, value = supply.uniform(0, 6), supply.beta(1.2, 1.8), supply.uniform(0.05, 1)
    distance = jnp.mod(jnp.array([5.0, 3.0, 1.0]) + hue, 6)
    return 255 * value * (1 - saturation * jnp.clip(jnp.minimum(distance, 4 - distance), 0, 1))


def _window(supply):
    side = supply.log_uniform(0.15, 0.8)
    return jnp.stack([supply.uniform(0, 1 - side), supply.uniform(0, 1 - side), side])


def random_appearance(key: Array, assets: Assets) -> Appearance:
    """A new object."""
    supply = Supply(jax.random.fold_in(key, 0), 160)
    color, textures = color_matrix(supply), assets.textures.shape[0]
    polygons, count = shapes.silhouette(supply)
    return Appearance(
        polygons=polygons, count=count,
        hole=jnp.where(supply.happens(0.06), supply.uniform(0.3, 0.6), 0.0),
        texture=supply.integers(0, textures), second=supply.integers(0, textures),
        window=_window(supply), second_window=_window(supply), color=color,
        second_color=jnp.where(supply.happens(0.3), color, color_matrix(supply)),
        inner=jax.random.fold_in(key, 1), shade=supply.integers(0, assets.shades.shape[0]),
    )  # fmt: skip


def similar_appearance(key: Array, model: Appearance, other: Appearance) -> Appearance:
    """An object that shares colours, texture or silhouette with `model`, but can be told from it by eye.

    What it does not share, it has from `other`, a new object.
    """
    kind = Supply(key, 1).uniform()
    shape = dict(polygons=other.polygons, count=other.count)
    choices = (
        (0.3, other.replace(color=model.color, second_color=model.second_color)),
        (0.55, model.replace(window=other.window, second_color=other.second_color, inner=other.inner, **shape)),
        (0.75, other.replace(polygons=model.polygons, count=model.count, hole=model.hole)),
        (0.9, model.replace(color=other.color, inner=other.inner)),
    )
    chosen = model.replace(texture=other.texture, window=other.window, inner=other.inner)
    for limit, choice in reversed(choices):
        chosen = jax.tree.map(lambda a, b, limit=limit: jnp.where(kind < limit, a, b), choice, chosen)
    return chosen


def _surface(assets, index, window, color):
    """The channels [96, 96] of a piece of a texture, recoloured."""
    is_wide = window[2] > _HALF_WINDOW
    size = jnp.where(is_wide, SIZE // 2, SIZE)
    x, y, side = (jnp.floor(v * size) for v in window)
    along = jnp.clip((jnp.arange(PATCH) + 0.5) * side / PATCH - 0.5, 0, side - 1.002)
    column, row = jnp.broadcast_arrays((x + along)[None], (y + along)[:, None])
    start = index * assets.textures.shape[1] + jnp.where(is_wide, SIZE**2, 0)
    sums = texels.interpolate(assets.textures.reshape(-1), start, size, column, row)
    return recolored(texels.channels(sums, 1)[:3], color)


def _inner_outlines(supply, kind, polygons, count):
    """Outlines [7, 48, 2] of the region of the second texture, a blob, spots or parts, and how many of them count."""
    blob = shapes.blobs(supply, 1) * supply.uniform(8, 30) + supply.uniform(24, 72, 2)
    spots = shapes.blobs(supply, _SPOTS, 0.1) * supply.uniform(3, 12, (_SPOTS, 1, 1))
    spots = spots + supply.uniform(10, 86, (_SPOTS, 1, 2))
    drawn = jnp.where(kind < 0.5, 1, jnp.where(kind < 0.65, supply.integers(2, 8), count - 1))
    outlines = jnp.where(kind < 0.65, spots, jnp.zeros_like(spots).at[: shapes.PARTS - 1].set(polygons[1:]))
    return jnp.where(kind < 0.5, blob, outlines), jnp.where(kind < 0.85, drawn, 0)


def _inner_region(supply, kind, covered, count):
    """bool [96, 96], where the second texture is: what the outlines cover, or a band."""
    low, high = jnp.sort(supply.uniform(0, PATCH, 2))
    along = jnp.arange(PATCH)
    band = (along >= jnp.floor(low)) & (along < jnp.floor(high) + 6)
    band = jnp.where(supply.happens(0.7), band[:, None], band[None])
    used = (jnp.arange(_SPOTS) < count)[:, None, None]
    return jnp.where(kind < 0.25, band, ((covered > 0) & used).any(0))


def _with_details(supply, image, shares):
    """The image with up to three spots of one colour: eyes, windows, badges."""
    count = supply.integers(0, _DETAILS + 1)
    for k in range(_DETAILS):
        share, color = jnp.where(k < count, shares[k], 0), random_color(supply)
        image = [channel + share * (color[c] - channel) for c, channel in enumerate(image)]
    return image


def paint(appearance: Appearance, assets: Assets) -> Piece:
    """Draws an object from its recipe."""
    supply, parts = Supply(appearance.inner, 260), shapes.PARTS
    polygons = shapes.in_patch(appearance.polygons)
    kind = supply.uniform()
    inner, count = _inner_outlines(supply, kind, polygons, appearance.count)
    middle = polygons.mean(1, keepdims=True)
    shrunk = middle + (polygons - middle) * supply.uniform(0.8, 0.92, (parts, 1, 1))
    details = shapes.leaves(supply, _DETAILS) * supply.uniform(3, 14, (_DETAILS, 1, 1))
    details = details + supply.uniform(20, 76, (_DETAILS, 1, 2))
    hole = appearance.polygons[:1] * appearance.hole * 0.4 * PATCH + PATCH / 2
    within = shapes.coverage(jnp.concatenate([inner, shrunk]), rows=1)  # only yes or no
    shares = shapes.coverage(jnp.concatenate([polygons, hole, details]))

    image = _surface(assets, appearance.texture, appearance.window, appearance.color)
    second = _surface(assets, appearance.second, appearance.second_window, appearance.second_color)
    region = _inner_region(supply, kind, within[:_SPOTS], count)
    image = [jnp.where(region, b, a) for a, b in zip(image, second, strict=True)]
    image = _with_details(supply, image, shares[parts + 1 :])
    image = [channel * assets.shades[appearance.shade] for channel in image]
    border = supply.happens(0.2) & ~(within[_SPOTS:] > 0).any(0)  # of one colour
    color = random_color(supply)
    image = [jnp.where(border, color[c], channel) for c, channel in enumerate(image)]
    return _piece(image, 255 * shapes.union(shares[:parts]) * (1 - shares[parts]), polygons)


def shadow(key: Array) -> Piece:
    """A dark (or bright) veil with soft edges; too transparent to count as an occluder."""
    supply = Supply(key, 128)
    polygons = shapes.in_patch(shapes.silhouette(supply)[0], 14)
    alpha = supply.uniform(50, 125) * shapes.union(shapes.coverage(polygons))
    blur = gaussian(PATCH, supply.log_uniform(1, 6))
    value = jnp.where(supply.happens(0.75), 0.0, 255.0)
    return _piece([value] * 3, blur @ alpha @ blur.T, polygons)


def _piece(image, alpha, polygons):
    """A cut-out of channels in 0 to 255 with an alpha channel in 0 to 255."""
    alpha = jnp.round(alpha)
    channels = [jnp.round(channel * alpha / 255) for channel in image]
    return Piece(texels.pyramid(jnp.stack([*channels, alpha], -1)), polygons.reshape(-1, 2))
