"""Light that changes: edges of shadows, bridges, lamps and leaves that move over a scene; switches; exposure.

A light has a pattern between 0 and 1 in coordinates of its own, and a colour: it multiplies the brightness of a point
by 1 where the pattern is 0, and by its colour where it is 1. Patterns are closed forms, so a view of any resolution has
the same light.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from relo_jax.data.synthetic import coarse, motion
from relo_jax.data.synthetic.motion import log_uniform

KINDS = ("edge", "band", "pool", "leaves")
SHARES = (0.3, 0.3, 0.2, 0.2)  # of the kinds
WAVES = 6  # of the pattern of leaves
BRIGHTEST = 4.0


@dataclass(frozen=True)
class Light:
    """One light (or shadow) and its motion.

    Attributes:
      kind: "edge" (a half plane), "band" (a strip of half width 1), "pool" (a disc of radius 1), or "leaves" (spots of
        about size 1).
      maps: [F, 2, 3], affine maps from the frame to the light's coordinates.
      color: [3], factor on RGB in full light.
      softness: width of its edges in the light's coordinates.
      waves: [6, 3], of leaves: direction and phase of each wave.
    """

    kind: str
    maps: np.ndarray
    color: np.ndarray
    softness: float
    waves: np.ndarray


def pattern(light: Light, points: np.ndarray) -> np.ndarray:
    """The light's pattern at points [..., 2] of its coordinates: [...] between 0 and 1."""
    u = points[..., 0]
    if light.kind == "edge":
        distance = u
    elif light.kind == "band":
        distance = 1 - np.abs(u)
    elif light.kind == "pool":
        distance = 1 - np.hypot(u, points[..., 1])
    else:
        phase = points @ light.waves[:, :2].T + light.waves[:, 2]
        distance = np.cos(phase).sum(-1) / np.sqrt(WAVES)
    return 1 / (1 + np.exp(-np.clip(4 * distance / light.softness, -30, 30)))


def brightness(lights: tuple[Light, ...], points: np.ndarray, frames: int | slice) -> np.ndarray:
    """The factor on RGB at points [P, 2] of the frame: [F, P, 3], or [P, 3] for one frame."""
    factor = np.ones(())
    for light in lights:
        maps = light.maps[frames]
        own = points @ np.swapaxes(maps[..., :2], -1, -2) + maps[..., None, :, 2]
        factor = factor * (1 + pattern(light, own)[..., None] * (light.color - 1))
    return np.minimum(factor, BRIGHTEST)


def shine(image: np.ndarray, lights: tuple[Light, ...], index: int, x: float, y: float, scale: float) -> np.ndarray:
    """A view of frame `index`, uint8 [h, w, 3], in its lights.

    Args:
      x, y, scale: the view, as in `scene.render`.
    """
    height, width = image.shape[:2]
    factor = coarse.spread(lambda points: brightness(lights, points, index), x, y, scale, width, height)
    return cv2.multiply(image, factor, dtype=cv2.CV_8U)


def random_lights(
    rng: np.random.Generator, scene_maps: np.ndarray, center: np.ndarray, sizes: np.ndarray
) -> tuple[Light, ...]:
    """One or two lights that the target meets.

    Args:
      scene_maps: [F, 2, 3], from the scene as of the first frame to the frame.
      center, sizes: [F, 2] and [F], of the target.
    """
    return tuple(_random_light(rng, scene_maps, center, sizes) for _ in range(1 + int(rng.random() < 0.4)))


def _random_light(rng: np.random.Generator, scene_maps: np.ndarray, center: np.ndarray, sizes: np.ndarray) -> Light:
    frames = len(sizes)
    kind = KINDS[rng.choice(len(KINDS), p=SHARES)]
    met = int(rng.integers(frames))
    reach = sizes[met] * (log_uniform(rng, 0.2, 1.0) if kind == "leaves" else log_uniform(rng, 0.4, 6.0))
    at = center[met] + rng.uniform(-0.7, 0.7, 2) * sizes[met]
    angle, aspect = rng.uniform(0, 2 * np.pi), log_uniform(rng, 0.5, 2.0)
    if rng.random() < 0.6:  # at rest in the scene
        start = motion.apply(motion.invert(scene_maps[met : met + 1]), at[None])[0]
        placed = motion.affine_maps(start, np.array([angle]), reach * aspect, reach / aspect, (0, 0))
        maps = motion.compose(scene_maps, placed)
    else:  # passes, as the shadow of something that moves
        heading, speed = rng.uniform(0, 2 * np.pi), log_uniform(rng, 0.01, 0.6) * sizes[met]
        path = at + speed * (np.arange(frames) - met)[:, None] * np.array([np.cos(heading), np.sin(heading)])
        maps = motion.affine_maps(path, np.full(frames, angle), reach * aspect, reach / aspect, (0, 0))
    dark = rng.random() < 0.65 and kind != "pool"
    level = log_uniform(rng, 0.12, 0.7) if dark else log_uniform(rng, 1.3, 3.0)
    return Light(
        kind,
        motion.invert(maps),
        level * np.exp(rng.normal(0, 0.1, 3)),
        float(log_uniform(rng, 0.05, 1.0)),
        np.concatenate([rng.normal(0, 1.5, (WAVES, 2)), rng.uniform(0, 2 * np.pi, (WAVES, 1))], 1),
    )


def exposure_control(
    rng: np.random.Generator, lights: tuple[Light, ...], frames: int, width: int, height: int
) -> np.ndarray:
    """[F]: the gain of a camera that compensates part of the frame's mean brightness, with a delay.

    Args:
      width, height: of the frame.
    """
    grid = (np.arange(5) + 0.5) / 5
    points = np.stack(np.meshgrid(grid * width, grid * height), -1).reshape(-1, 2)
    wanted = -rng.uniform() * np.log(brightness(lights, points, slice(None)).mean((1, 2)))
    follow = 1 / log_uniform(rng, 1, 20)  # of the difference, in each frame
    gain, log_gain = np.empty(frames), wanted[0]
    for index in range(frames):
        log_gain += follow * (wanted[index] - log_gain)
        gain[index] = log_gain
    return np.exp(gain)


def switched_light(rng: np.random.Generator, frames: int) -> np.ndarray:
    """[F, 3] in (0, 1]: a coloured light that comes on or goes out during the sequence, within 1 to 25 frames."""
    dark, start, duration = log_uniform(rng, 0.2, 0.7), rng.uniform(0, frames), log_uniform(rng, 1, 25)
    color = np.minimum(dark * np.exp(rng.normal(0, 0.2, 3)), 1)
    lit = np.clip((np.arange(frames) - start) / duration, 0, 1)
    return color ** (lit if rng.random() < 0.5 else 1 - lit)[:, None]


def at_night(rng: np.random.Generator, grade: np.ndarray, noise_strength: float) -> tuple[np.ndarray, float]:
    """The camera's colour matrix [3, 4] and strength of noise in little light: dark, with paler colours, more noise."""
    grey = np.array([0.299, 0.587, 0.114], np.float32)
    keep = np.float32(rng.uniform(0.1, 0.8))
    matrix = log_uniform(rng, 0.2, 0.6) * (keep * np.eye(3, dtype=np.float32) + (1 - keep) * grey)
    return (matrix @ grade).astype(np.float32), noise_strength + rng.uniform(0, 0.2)
