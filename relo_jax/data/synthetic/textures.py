"""A bank of textures, from which procedural objects and backgrounds are cut; made from a seed once in each process.

New textures for every clip would take too long, so a few hundred are made at the start, in seconds, and sequences use
random pieces of them, recoloured and mixed. The kinds cover what videos show: power-law noise, dead leaves (occluding
shapes of power-law sizes, with statistics close to those of photographs), bricks and windows, stripes, cells, scenes
with a horizon, lettering.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

SIZE = 256
SHADE_SIZE = 96


@dataclass(frozen=True)
class Bank:
    """What synthetic scenes are made of.

    Attributes:
      textures: uint8 [N, 256, 256, 3].
      halves: uint8 [N, 128, 128, 3], the same at half the size.
      scenic: indices of textures that can be a background.
      shades: uint8 [M, 96, 96, 3], factors (255 is 1) that give objects relief.
      noise: uint8 [256, 256, 3], the camera's noise around 128.
    """

    textures: np.ndarray
    halves: np.ndarray
    scenic: np.ndarray
    shades: np.ndarray
    noise: np.ndarray


def random_colors(rng: np.random.Generator, count: int) -> np.ndarray:
    """uint8 [count, 3] RGB; mostly muted, as in real scenes, sometimes vivid."""
    hsv = np.empty((count, 3), np.float32)
    spread = 180.0 if rng.random() < 0.4 else rng.uniform(5, 60)
    hsv[:, 0] = (rng.uniform(0, 360) + spread * rng.uniform(-1, 1, count)) % 360
    hsv[:, 1] = rng.beta(1.2, 1.8, count)
    hsv[:, 2] = rng.uniform(0.05, 1.0, count)
    return (cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0] * 255).astype(np.uint8)


def random_palette(rng: np.random.Generator) -> np.ndarray:
    """uint8 [256, 3]: a smooth (or stepped) gradient through 2 to 6 random colours."""
    anchors = random_colors(rng, int(rng.integers(2, 7))).astype(np.float32)
    position = np.linspace(0, len(anchors) - 1, 256)
    if rng.random() < 0.3:
        position = np.round(position)
    return np.stack([np.interp(position, np.arange(len(anchors)), anchors[:, c]) for c in range(3)], 1).astype(np.uint8)


def power_noise(rng: np.random.Generator, slope: float, size: int = SIZE, anisotropy: float = 1.0) -> np.ndarray:
    """float32 [size, size] in [0, 1]: noise whose amplitude falls as frequency**-slope."""
    fy = np.fft.fftfreq(size)[:, None] * anisotropy
    fx = np.fft.rfftfreq(size)[None]
    amplitude = np.maximum(np.hypot(fy, fx), 1.0 / size) ** -slope
    amplitude[0, 0] = 0
    spectrum = amplitude * np.exp(2j * np.pi * rng.random(amplitude.shape))
    field = np.fft.irfft2(spectrum, s=(size, size))
    return np.clip(0.5 + field / (5 * field.std() + 1e-9), 0, 1).astype(np.float32)


def _through_palette(rng: np.random.Generator, field: np.ndarray) -> np.ndarray:
    return random_palette(rng)[(field * 255).astype(np.uint8)]


def _fractal(rng: np.random.Generator) -> np.ndarray:
    field = power_noise(rng, rng.uniform(0.8, 2.2), anisotropy=np.exp(rng.normal(0, 0.5)))
    return _through_palette(rng, field)


def _marble(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    fx, fy = rng.uniform(-12, 12, 2)
    wave = np.sin(2 * np.pi * (fx * x + fy * y + rng.uniform(0, 4) * power_noise(rng, 1.8)))
    if rng.random() < 0.4:
        wave = np.tanh(wave * 4)
    return _through_palette(rng, 0.5 + 0.499 * wave)


def _plaid(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    angle, first, second = rng.uniform(0, np.pi), rng.uniform(5, 60), rng.uniform(5, 60)
    u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    a = (u % first < first * rng.uniform(0.2, 0.8)).astype(np.float32)
    b = (v % second < second * rng.uniform(0.2, 0.8)).astype(np.float32) * (rng.random() < 0.6)
    return _through_palette(rng, np.clip(a * 0.55 + b * 0.4 + 0.02, 0, 1))


def _cells(rng: np.random.Generator) -> np.ndarray:
    half = SIZE // 2
    count = int(np.exp(rng.uniform(np.log(8), np.log(160))))
    points = rng.integers(0, half, (count, 2))
    seeds = np.full((half, half), 255, np.uint8)
    seeds[points[:, 0], points[:, 1]] = 0
    distance, label = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    image = random_colors(rng, int(label.max()) + 1)[label].astype(np.float32)
    if rng.random() < 0.6:
        image *= np.clip(1.2 - distance / (distance.max() + 1e-6), 0.2, 1)[..., None]
    return cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def leaf_contour(rng: np.random.Generator) -> np.ndarray:
    """float32 [P, 2]: a random closed outline in the unit disc, more or less."""
    kind = rng.random()
    if kind < 0.35:
        angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        radius = np.ones(20)
    elif kind < 0.75:
        angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
        radius = np.ones(len(angle))
    else:
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        order = np.arange(2, 5)[:, None]
        radius = 0.7 + (rng.normal(0, 0.12, (3, 1)) * np.cos(order * angle + rng.uniform(0, 6.3, (3, 1)))).sum(0)
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]
    points[:, 1] *= rng.uniform(0.25, 1)
    turn = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    return (points @ np.array([[cos, sin], [-sin, cos]])).astype(np.float32)


def _leaves(rng: np.random.Generator) -> np.ndarray:
    image = np.empty((SIZE, SIZE, 3), np.uint8)
    image[:] = random_colors(rng, 1)
    surface = np.zeros((SIZE, SIZE), np.uint8)
    count = int(rng.integers(60, 320))
    colors = random_colors(rng, count)
    smallest, largest = rng.uniform(3, 12), rng.uniform(30, 110)
    uniform = rng.random(count)  # radii with density r**-3, as in natural dead leaves
    radii = (smallest**-2 - uniform * (smallest**-2 - largest**-2)) ** -0.5
    centers = rng.uniform(-10, SIZE + 10, (count, 2))
    for k in np.argsort(-radii + rng.normal(0, 25, count)):
        points = np.round(leaf_contour(rng) * radii[k] + centers[k]).astype(np.int32)
        cv2.fillPoly(image, [points], colors[k].tolist(), cv2.LINE_AA)
        cv2.fillPoly(surface, [points], int(k % 5))
    layers = [power_noise(rng, rng.uniform(0.5, 1.8), anisotropy=np.exp(rng.normal(0, 0.8))) for _ in range(2)]
    factor = np.ones((SIZE, SIZE), np.float32)
    for k, layer in enumerate(layers):
        factor = np.where(surface == k, 0.4 + 1.2 * layer, factor)
    return np.clip(image * factor[..., None], 0, 255).astype(np.uint8)


def _bricks(rng: np.random.Generator) -> np.ndarray:
    image = np.empty((SIZE, SIZE, 3), np.uint8)
    wall, stone = random_colors(rng, 2).astype(int)
    image[:] = wall
    wide, high = int(rng.integers(10, 70)), int(rng.integers(8, 60))
    gap_x, gap_y = int(rng.integers(1, max(2, wide // 2))), int(rng.integers(1, max(2, high // 2)))
    shift, vary = (wide // 2 if rng.random() < 0.5 else 0), rng.uniform(2, 50)
    for row, y in enumerate(range(0, SIZE, high)):
        for x in range(-(row % 2) * shift, SIZE, wide):
            color = np.clip(stone + rng.normal(0, vary), 0, 255).astype(int).tolist()
            cv2.rectangle(image, (x, y), (x + wide - gap_x, y + high - gap_y), color, -1)
    return image


def _scene(rng: np.random.Generator) -> np.ndarray:
    """A view with a horizon: sky, ridges in front of each other, some upright boxes."""
    sky = random_colors(rng, 2).astype(np.float32)
    ramp = np.linspace(0, 1, SIZE, dtype=np.float32)[:, None, None]
    image = np.ascontiguousarray(np.broadcast_to(sky[0] * (1 - ramp) + sky[1] * ramp, (SIZE, SIZE, 3)).astype(np.uint8))
    x = np.arange(SIZE)
    level = rng.uniform(40, 140)
    for _ in range(int(rng.integers(2, 6))):
        for _ in range(int(rng.integers(0, 7))):
            left, width, height = rng.uniform(0, SIZE), rng.uniform(4, 50), rng.uniform(10, 120)
            corner = (int(left), int(level - height))
            cv2.rectangle(image, corner, (int(left + width), int(level + 30)), random_colors(rng, 1)[0].tolist(), -1)
        steps = power_noise(rng, rng.uniform(1, 2), 256)[0]
        ridge = level + (steps - 0.5) * rng.uniform(0, 120)
        points = np.concatenate([np.stack([x, ridge], 1), [[SIZE, SIZE], [0, SIZE]]]).astype(np.int32)
        cv2.fillPoly(image, [points], random_colors(rng, 1)[0].tolist(), cv2.LINE_AA)
        level += rng.uniform(10, 60)
    factor = 0.6 + 0.8 * power_noise(rng, rng.uniform(0.6, 1.6))
    return np.clip(image * factor[..., None], 0, 255).astype(np.uint8)


def _lettering(rng: np.random.Generator) -> np.ndarray:
    image = _soft(rng) if rng.random() < 0.5 else _fractal(rng)
    for _ in range(int(rng.integers(6, 40))):
        text = "".join(chr(c) for c in rng.integers(33, 127, int(rng.integers(1, 8))))
        at = tuple(int(v) for v in rng.integers(-20, SIZE, 2))
        color = random_colors(rng, 1)[0].tolist()
        font = int(rng.integers(0, 8))
        cv2.putText(image, text, at, font, rng.uniform(0.4, 3), color, int(rng.integers(1, 6)), cv2.LINE_AA)
    return image


def _shapes(rng: np.random.Generator) -> np.ndarray:
    image = _soft(rng)
    for _ in range(int(rng.integers(5, 60))):
        color = random_colors(rng, 1)[0].tolist()
        a, b = (tuple(int(v) for v in rng.integers(0, SIZE, 2)) for _ in range(2))
        kind, thick = rng.random(), int(rng.integers(1, 9))
        if kind < 0.35:
            cv2.line(image, a, b, color, thick, cv2.LINE_AA)
        elif kind < 0.6:
            cv2.circle(image, a, int(rng.integers(3, 40)), color, thick if rng.random() < 0.6 else -1, cv2.LINE_AA)
        elif kind < 0.8:
            axes = tuple(int(v) for v in rng.integers(4, 60, 2))
            cv2.ellipse(image, a, axes, rng.uniform(0, 180), 0, rng.uniform(90, 360), color, thick, cv2.LINE_AA)
        else:
            points = np.round(leaf_contour(rng) * rng.uniform(6, 50) + a).astype(np.int32)
            cv2.fillPoly(image, [points], color, cv2.LINE_AA)
    return image


def _soft(rng: np.random.Generator) -> np.ndarray:
    return _through_palette(rng, power_noise(rng, rng.uniform(1.8, 3)))


_KINDS = (  # function, weight, whether it can be a background
    (_fractal, 3, True),
    (_leaves, 6, True),
    (_scene, 4, True),
    (_bricks, 2, True),
    (_marble, 2, False),
    (_plaid, 2, False),
    (_cells, 2, True),
    (_lettering, 2, False),
    (_shapes, 2, False),
    (_soft, 1, True),
)


def _texture(rng: np.random.Generator, kind: Callable[[np.random.Generator], np.ndarray]) -> np.ndarray:
    image = kind(rng).astype(np.float32)
    if rng.random() < 0.7:
        image *= 1 + rng.uniform(0.1, 0.6) * (power_noise(rng, rng.uniform(0.3, 1.5))[..., None] - 0.5)
    if rng.random() < 0.5:
        image *= 1 + rng.uniform(0.2, 0.9) * (power_noise(rng, 2.5)[..., None] - 0.5)
    image = np.clip(image, 0, 255).astype(np.uint8)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2)) if rng.random() < 0.5 else image


def _shade(rng: np.random.Generator) -> np.ndarray:
    """uint8 [96, 96, 3]: the relief of an object that is lit from one side."""
    y, x = (np.mgrid[0:SHADE_SIZE, 0:SHADE_SIZE] + 0.5) / SHADE_SIZE * 2 - 1
    angle = rng.uniform(0, 2 * np.pi)
    shade = 1 - rng.uniform(0, 0.4) * (1 + np.cos(angle) * x + np.sin(angle) * y)
    shade -= rng.uniform(0, 0.35) * np.clip(x * x + y * y, 0, 1.5)
    shade += rng.uniform(0, 0.35) * (power_noise(rng, 2.0, SHADE_SIZE) - 0.5)
    return np.repeat((np.clip(shade, 0.15, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


def make_bank(seed: int, size: int) -> Bank:
    """Makes a bank of `size` textures (about 10 ms each)."""
    weights = np.array([weight for _, weight, _ in _KINDS], np.float64)
    children = np.random.SeedSequence(seed).spawn(size + 1)
    textures, scenic = np.empty((size, SIZE, SIZE, 3), np.uint8), []
    for i in range(size):
        rng = np.random.Generator(np.random.Philox(children[i]))
        # The golden ratio gives every kind its share, even in a small bank.
        share = (i * 0.618034 + 0.05) % 1.0
        kind, _, is_scenic = _KINDS[int(np.searchsorted(np.cumsum(weights) / weights.sum(), share))]
        textures[i] = _texture(rng, kind)
        if is_scenic:
            scenic.append(i)
    rng = np.random.Generator(np.random.Philox(children[size]))
    shades = np.stack([_shade(rng) for _ in range(24)])
    normal = rng.normal(0, 1, (SIZE, SIZE, 3)) + rng.normal(0, 1, (SIZE, SIZE, 1))
    noise = np.clip(128 + 24 * normal, 0, 255).astype(np.uint8)
    halves = np.stack([cv2.resize(t, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for t in textures])
    return Bank(textures, halves, np.array(scenic), shades, noise)


_banks: dict[tuple[int, int], Bank] = {}
_lock = threading.Lock()


def bank(seed: int, size: int) -> Bank:
    """The bank of a seed and size: made at the first call in a process, and shared by all threads."""
    with _lock:
        if (seed, size) not in _banks:
            _banks[seed, size] = make_bank(seed, size)
        return _banks[seed, size]
