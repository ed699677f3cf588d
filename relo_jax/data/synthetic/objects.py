"""Objects cut out of the texture bank: silhouettes, inner structure, relief; and objects that resemble them.

An `Appearance` is a recipe of a few numbers. Two objects are similar in the part of the recipe that they share.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from relo_jax.data.synthetic import textures
from relo_jax.data.synthetic.cutout import PATCH, Cutout, cutout
from relo_jax.data.synthetic.motion import log_uniform

_GREY = np.array([0.3, 0.55, 0.15])  # luminance


@dataclass(frozen=True)
class Appearance:
    """The recipe of an object; textures and shades are indices into the bank."""

    polygons: tuple[np.ndarray, ...]  # silhouette, each [P, 2] within [-1, 1]
    hole: float  # radius of a hole relative to the outline; 0: none
    texture: int
    second: int  # texture of the inner region
    window: tuple[float, float, float]  # x, y and side of the piece of texture, as fractions
    second_window: tuple[float, float, float]
    color: np.ndarray  # [3, 4] matrix on RGB
    second_color: np.ndarray
    inner: int  # seed of the inner structure
    shade: int


def color_matrix(rng: np.random.Generator) -> np.ndarray:
    """float32 [3, 4]: a random change of hue, saturation, contrast and brightness, mostly to muted colours."""
    turn = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    third, root = (1 - cos) / 3, sin / 3**0.5
    less, more, same = third - root, third + root, third + cos
    hue = np.array([[same, less, more], [more, same, less], [less, more, same]])
    saturation = rng.uniform(0, 1.3)
    invert = rng.random() < 0.2
    gains = (-1 if invert else 1) * rng.uniform(0.55, 1.25) * rng.uniform(0.85, 1.15, 3)
    matrix = np.empty((3, 4), np.float32)
    matrix[:, :3] = gains[:, None] * (saturation * hue + (1 - saturation) * _GREY)
    matrix[:, 3] = (255 if invert else 0) + rng.uniform(-30, 45) + rng.uniform(-12, 12, 3)
    return matrix


def _angles(count: int) -> np.ndarray:
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _fourier(rng: np.random.Generator, roughness: float = 0.25) -> np.ndarray:
    angle, order = _angles(40), np.arange(1, 7)[:, None]
    weight = rng.normal(0, roughness, (6, 1)) / order**0.7
    radius = np.exp((weight * np.cos(order * angle + rng.uniform(0, 6.3, (6, 1)))).sum(0))
    return np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]


def _superellipse(rng: np.random.Generator) -> np.ndarray:
    angle, power = _angles(40), log_uniform(rng, 0.2, 1.2)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.sign(cos) * np.abs(cos) ** power, np.sign(sin) * np.abs(sin) ** power], 1)


def _polygon(rng: np.random.Generator) -> np.ndarray:
    angle = np.sort(_angles(count := int(rng.integers(3, 9))) + rng.uniform(-0.4, 0.4, count))
    return np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(0.6, 1, (count, 1))


def _star(rng: np.random.Generator) -> np.ndarray:
    count = int(rng.integers(3, 9))
    radius = np.where(np.arange(2 * count) % 2, rng.uniform(0.35, 0.8), 1)
    angle = _angles(2 * count)
    return np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]


def _figure(rng: np.random.Generator) -> list[np.ndarray]:
    """A body with a head, limbs or other parts."""
    polygons = [_superellipse(rng) * (rng.uniform(0.3, 0.6), rng.uniform(0.4, 0.8))]
    for _ in range(int(rng.integers(1, 5))):
        at = rng.uniform(-0.9, 0.9, 2) * (0.7, 1)
        polygons.append((_fourier(rng, 0.15) * log_uniform(rng, 0.15, 0.45, 2)) + at)
    return polygons


def silhouette(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Polygons [P, 2] that fill [-1, 1] along their longer side."""
    kind = rng.random()
    if kind < 0.3:
        polygons = [_fourier(rng)]
    elif kind < 0.5:
        polygons = [_superellipse(rng)]
    elif kind < 0.6:
        polygons = [_polygon(rng)]
    elif kind < 0.65:
        polygons = [_star(rng)]
    else:
        polygons = _figure(rng)
    stretch = np.exp(rng.normal(0, 0.3))
    points = np.concatenate(polygons)
    low, high = points.min(0), points.max(0)
    aspect = np.array([stretch, 1 / stretch])
    half = ((high - low) * aspect).max() / 2
    return tuple(((p - (low + high) / 2) * aspect / half).astype(np.float32) for p in polygons)


def _window(rng: np.random.Generator) -> tuple[float, float, float]:
    side = log_uniform(rng, 0.15, 0.8)
    return rng.uniform(0, 1 - side), rng.uniform(0, 1 - side), side


def random_appearance(rng: np.random.Generator, bank: textures.Bank) -> Appearance:
    """A new object."""
    color = color_matrix(rng)
    return Appearance(
        polygons=silhouette(rng),
        hole=rng.uniform(0.3, 0.6) if rng.random() < 0.06 else 0.0,
        texture=int(rng.integers(len(bank.textures))),
        second=int(rng.integers(len(bank.textures))),
        window=_window(rng),
        second_window=_window(rng),
        color=color,
        second_color=color if rng.random() < 0.3 else color_matrix(rng),
        inner=int(rng.integers(2**31)),
        shade=int(rng.integers(len(bank.shades))),
    )


def similar_appearance(rng: np.random.Generator, model: Appearance, bank: textures.Bank) -> Appearance:
    """Another object that shares colours, texture or silhouette with `model`, but can be told from it by eye."""
    other = random_appearance(rng, bank)
    kind = rng.random()
    if kind < 0.3:  # same colours, other texture and silhouette
        return replace(other, color=model.color, second_color=model.second_color)
    if kind < 0.55:  # same texture, other silhouette, other colours inside
        return replace(
            model,
            polygons=other.polygons,
            window=other.window,
            second_color=other.second_color,
            inner=other.inner,
        )
    if kind < 0.75:  # same silhouette, other surface
        return replace(other, polygons=model.polygons, hole=model.hole)
    if kind < 0.9:  # same in all but the colour of the main surface and the inner structure
        return replace(model, color=other.color, inner=other.inner)
    return replace(model, texture=other.texture, window=other.window, inner=other.inner)


def _piece(bank: textures.Bank, index: int, window: tuple[float, float, float], color: np.ndarray) -> np.ndarray:
    source = bank.halves if window[2] > 0.55 else bank.textures
    x, y, side = (int(v * source.shape[1]) for v in window)
    return cv2.transform(cv2.resize(source[index, y : y + side, x : x + side], (PATCH, PATCH)), color)


def _fill(image: np.ndarray, polygons: Iterable[np.ndarray], value: int | list[int]) -> None:
    """Fills polygons, given in continuous coordinates, with sub-pixel accuracy."""
    for polygon in polygons:
        cv2.fillPoly(image, [np.round((polygon - 0.5) * 16).astype(np.int32)], value, cv2.LINE_AA, 4)


def _inner_region(rng: np.random.Generator, polygons: list[np.ndarray]) -> np.ndarray:
    """uint8 [96, 96], mask of the second texture: a band, a blob, spots, parts of the figure, or nothing."""
    mask = np.zeros((PATCH, PATCH), np.uint8)
    kind = rng.random()
    if kind < 0.25:
        a, b = np.sort(rng.uniform(0, PATCH, 2))
        if rng.random() < 0.7:
            mask[int(a) : int(b) + 6] = 255
        else:
            mask[:, int(a) : int(b) + 6] = 255
    elif kind < 0.5:
        _fill(mask, [_fourier(rng) * rng.uniform(8, 30) + rng.uniform(24, 72, 2)], 255)
    elif kind < 0.65:
        for at in rng.uniform(10, 86, (int(rng.integers(2, 8)), 2)):
            _fill(mask, [_fourier(rng, 0.1) * rng.uniform(3, 12) + at], 255)
    elif kind < 0.85 and len(polygons) > 1:
        _fill(mask, polygons[1:], 255)
    return mask


def paint(appearance: Appearance, bank: textures.Bank) -> Cutout:
    """Draws an object from its recipe."""
    rng = np.random.Generator(np.random.SFC64(appearance.inner))
    polygons = _in_patch(appearance.polygons)
    rgb = _piece(bank, appearance.texture, appearance.window, appearance.color)
    inner = _inner_region(rng, polygons)
    cv2.copyTo(_piece(bank, appearance.second, appearance.second_window, appearance.second_color), inner, rgb)
    for _ in range(int(rng.integers(0, 4))):  # details: eyes, windows, badges
        outline = textures.leaf_contour(rng) * rng.uniform(3, 14) + rng.uniform(20, 76, 2)
        _fill(rgb, [outline], textures.random_colors(rng, 1)[0].tolist())
    rgb = cv2.multiply(rgb, bank.shades[appearance.shade], scale=1 / 255)
    if rng.random() < 0.2:  # a border of one colour
        inside = np.zeros((PATCH, PATCH), np.uint8)
        _fill(inside, [p.mean(0) + (p - p.mean(0)) * rng.uniform(0.8, 0.92) for p in polygons], 255)
        rgb[inside == 0] = textures.random_colors(rng, 1)[0]
    return silhouette_cutout(rgb, appearance.polygons, appearance.hole)


def silhouette_cutout(rgb: np.ndarray, silhouette: tuple[np.ndarray, ...], hole: float = 0.0) -> Cutout:
    """Cuts a silhouette (polygons within [-1, 1]) out of an image uint8 [96, 96, 3], with smooth edges."""
    polygons = _in_patch(silhouette)
    large = np.zeros((2 * PATCH, 2 * PATCH), np.uint8)
    _fill(large, [2 * p for p in polygons], 255)
    if hole:
        _fill(large, [(silhouette[0] * hole * 0.4 * PATCH + PATCH / 2) * 2], 0)
    alpha = cv2.resize(large, (PATCH, PATCH), interpolation=cv2.INTER_AREA)
    return cutout(rgb, alpha, np.concatenate(polygons).astype(np.float64))


def _in_patch(silhouette: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Polygons within [-1, 1] in pixels of a patch, 3 px from its border."""
    return [p * (PATCH / 2 - 3) + PATCH / 2 for p in silhouette]


def shadow(rng: np.random.Generator) -> Cutout:
    """A dark (or bright) veil with soft edges; too transparent to count as an occluder."""
    polygons = [p * (PATCH / 2 - 14) + PATCH / 2 for p in silhouette(rng)]
    alpha = np.zeros((PATCH, PATCH), np.uint8)
    _fill(alpha, polygons, int(rng.uniform(50, 125)))
    soft = cv2.GaussianBlur(alpha, (0, 0), log_uniform(rng, 1, 6))
    value = 0 if rng.random() < 0.75 else 255
    return cutout(np.full((PATCH, PATCH, 3), value, np.uint8), soft, np.concatenate(polygons).astype(np.float64))


_stocks: dict[tuple[int, int], tuple[Cutout, ...]] = {}
_lock = threading.Lock()


def stock(bank: textures.Bank, seed: int) -> tuple[Cutout, ...]:
    """Cut-outs for clutter and occluders, as many as the bank has textures; made once in each process."""
    key = (seed, len(bank.textures))
    with _lock:
        if key not in _stocks:
            rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, 1))))
            _stocks[key] = tuple(paint(random_appearance(rng, bank), bank) for _ in bank.textures)
        return _stocks[key]
