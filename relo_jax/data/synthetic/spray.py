"""Spray, smoke and dust: rough, half transparent clouds that come and go in front of a scene.

A cloud is a closed form of position and time, so a view of any resolution has the same. A target that a cloud hides
counts as visible all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relo_jax.data.synthetic import coarse, motion
from relo_jax.data.synthetic.motion import log_uniform

SHARES = (0.5, 0.3, 0.2)  # of spray, smoke and dust
BRIGHTNESS = ((190, 255), (40, 210), (90, 200))  # of each kind, in grey levels
TINTS = ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 0.86, 0.68))  # RGB
WAVES = 6  # of the rough edge
LONGEST = 1.0  # log of the factor by which a cloud grows or shrinks, at most


@dataclass(frozen=True)
class Cloud:
    """One cloud and its motion.

    Attributes:
      maps: [F, 2, 3], affine maps from the frame to coordinates in which the cloud is about a disc of radius 1.
      opacity: [F], where it is densest.
      color: [3], RGB.
      roughness: of its edge, relative to its radius.
      softness: width of its edge, relative to its radius.
      waves: [6, 4], of the edge: for each the direction, the phase, and by how much that changes in a frame.
    """

    maps: np.ndarray
    opacity: np.ndarray
    color: np.ndarray
    roughness: float
    softness: float
    waves: np.ndarray


def cover_of(cloud: Cloud, points: np.ndarray, index: int) -> np.ndarray:
    """The share [P], between 0 and 1, of what is behind the cloud that it hides at points [P, 2] of frame `index`."""
    own = motion.apply(cloud.maps[index : index + 1], points)[0]
    phase = own @ cloud.waves[:, :2].T + cloud.waves[:, 2] + index * cloud.waves[:, 3]
    rough = np.cos(phase).sum(-1) / np.sqrt(WAVES)
    depth = 1 - np.hypot(own[:, 0], own[:, 1]) + cloud.roughness * rough
    return cloud.opacity[index] / (1 + np.exp(-np.clip(4 * depth / cloud.softness, -30, 30)))


def veil(clouds: tuple[Cloud, ...], points: np.ndarray, index: int) -> np.ndarray:
    """What clouds, from back to front, make of a colour at points [P, 2]: [P, 4], a factor and the RGB to add to it."""
    made = np.zeros((len(points), 4))
    made[:, 0] = 1
    for cloud in clouds:
        cover = cover_of(cloud, points, index)[:, None]
        made = (1 - cover) * made
        made[:, 1:] += cover * cloud.color
    return made


def cover(image: np.ndarray, clouds: tuple[Cloud, ...], index: int, x: float, y: float, scale: float) -> np.ndarray:
    """A view of frame `index`, uint8 [h, w, 3], behind its clouds; x, y, scale: the view, as in `scene.render`."""
    height, width = image.shape[:2]
    made = coarse.spread(lambda points: veil(clouds, points, index), x, y, scale, width, height)
    return np.rint(image * made[..., :1] + made[..., 1:]).astype(np.uint8)


def random_clouds(
    rng: np.random.Generator, scene_maps: np.ndarray, center: np.ndarray, sizes: np.ndarray
) -> tuple[Cloud, ...]:
    """One or two clouds that the target meets.

    Args:
      scene_maps: [F, 2, 3], from the scene as of the first frame to the frame.
      center, sizes: [F, 2] and [F], of the target.
    """
    return tuple(_random_cloud(rng, scene_maps, center, sizes) for _ in range(1 + int(rng.random() < 0.4)))


def _random_cloud(rng: np.random.Generator, scene_maps: np.ndarray, center: np.ndarray, sizes: np.ndarray) -> Cloud:
    frames = len(sizes)
    kind, met = rng.choice(len(SHARES), p=SHARES), int(rng.integers(frames))
    since = np.arange(frames) - met
    offset = rng.uniform(-0.9, 0.9, 2) * sizes[met]
    if rng.random() < 0.5:  # goes with the target, as a wake does
        path = center + offset
    else:  # drifts over the scene
        start = motion.apply(motion.invert(scene_maps[met : met + 1]), (center[met] + offset)[None])[0]
        heading, speed = rng.uniform(0, 2 * np.pi), log_uniform(rng, 0.005, 0.15) * sizes[met]
        drift = speed * since[:, None] * np.array([np.cos(heading), np.sin(heading)])
        path = motion.apply(scene_maps, start)[:, 0] + drift
    growth = np.exp(np.clip(rng.normal(0, 0.02) * since, -LONGEST, LONGEST))
    radius, aspect = sizes[met] * log_uniform(rng, 0.4, 2.5) * growth, log_uniform(rng, 0.6, 1.7)
    angle = np.full(frames, rng.uniform(0, 2 * np.pi))
    comes = np.clip(0.4 + 0.8 * np.cos(2 * np.pi * since / log_uniform(rng, 8, 120)), 0, 1)
    fineness = log_uniform(rng, 2.0, 8.0)
    return Cloud(
        motion.invert(motion.affine_maps(path, angle, radius * aspect, radius / aspect, (0, 0))),
        rng.uniform(0.3, 1.0) * comes,
        np.minimum(rng.uniform(*BRIGHTNESS[kind]) * np.array(TINTS[kind]) * np.exp(rng.normal(0, 0.04, 3)), 255),
        float(rng.uniform(0.2, 0.8)),
        float(log_uniform(rng, 0.15, 1.5)),
        np.concatenate([
            rng.normal(0, fineness, (WAVES, 2)), rng.uniform(0, 2 * np.pi, (WAVES, 1)), rng.normal(0, 0.5, (WAVES, 1))
        ], 1),
    )  # fmt: skip
