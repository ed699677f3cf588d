"""Absences: the target of a composed scene goes out of sight for a while, and comes back.

Either it leaves the frame and returns, or something slides in front of it, stays, and slides off again. All else in
the scene goes on as it would have: what was beside the target is still there to be mistaken for it.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from relo_jax.data.synthetic import motion
from relo_jax.data.synthetic.composed import target_extremes
from relo_jax.data.synthetic.scene import PATCH, Cutout, Layer, Scene, cutout

BEGINS = 0.1, 0.25  # of the sequence, when the target begins to go
LASTS = 0.2, 0.3  # of the sequence, how long it is out of sight
WAY = 0.18  # of the sequence, at most, for leaving the frame, and as much for the return
LEAVES = 0.65  # probability that it would rather leave the frame than be hidden
SPEED = 0.15, 0.3  # target sizes a frame, on the mean, on its way out and back
SLIDE = 10  # frames that take something in front of it


def with_absence(rng: np.random.Generator, scene: Scene) -> Scene:
    """The scene with one absence of its target, of a fifth of the frames or a little more.

    Args:
      rng: what decides when, how long, and how.
      scene: as composed.

    Returns:
      Scene. In most of them the target leaves the frame, if it is near enough to the border to do so in time; in the
      others something hides it.
    """
    frames = len(scene)
    start, lasts = frames * rng.uniform(*BEGINS), frames * rng.uniform(*LASTS)
    leaves = rng.random() < LEAVES
    speed, turn, screen = rng.uniform(*SPEED), rng.uniform(0, 2 * np.pi), _screen(rng, scene.background)
    low, high = target_extremes(scene)
    moves = _ways_out(scene, low, high)
    ends = [int(start), min(int(start + 2 * WAY * frames + lasts), frames - 1)]
    sizes = np.sqrt((high - low).prod(1))[ends]
    ways = np.abs(moves[:, ends]).max(2) / (speed * sizes)  # [4, 2], frames that it takes to leave and to return
    side = ways.max(1).argmin()
    if leaves and ways[side].max() <= WAY * frames:
        return _moved(scene, _gone(frames, start, lasts, *ways[side])[:, None] * moves[side])
    return _hidden(scene, screen, low, high, _gone(frames, start, lasts, SLIDE, SLIDE), turn)


def _gone(frames: int, start: float, lasts: float, way: float, back: float) -> np.ndarray:
    """[F]: 0, then smoothly to 1 in `way` frames, there for `lasts` frames, and to 0 again in `back`."""
    time = np.arange(frames)
    phase = np.clip(np.minimum((time - start) / way, (start + way + lasts + back - time) / back), 0, 1)
    return phase**2 * (3 - 2 * phase)


def _ways_out(scene: Scene, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """[4, F, 2]: the displacement by which the target of these extremes is just outside, by each side of the frame."""
    left, top = -high[:, 0] - 2, -high[:, 1] - 2
    right, bottom = scene.width - low[:, 0] + 2, scene.height - low[:, 1] + 2
    none = np.zeros(len(scene))
    return np.stack([np.stack(move, 1) for move in ((left, none), (right, none), (none, top), (none, bottom))])


def _moved(scene: Scene, by: np.ndarray) -> Scene:
    """The scene with its target displaced by [F, 2] pixels."""
    layers = list(scene.layers)
    for index in scene.target:
        maps = layers[index].maps.copy()
        maps[:, :, 2] += by
        layers[index] = replace(layers[index], maps=maps)
    return replace(scene, layers=tuple(layers))


def _screen(rng: np.random.Generator, background: np.ndarray) -> Cutout:
    """A board with a piece of the background on it, darker or brighter than the rest."""
    height, width = background.shape[:2]
    side = int(min(height, width) * rng.uniform(0.3, 0.8))
    x, y = rng.integers(width - side + 1), rng.integers(height - side + 1)
    picture = cv2.resize(background[y : y + side, x : x + side], (PATCH, PATCH), interpolation=cv2.INTER_AREA)
    picture = cv2.convertScaleAbs(picture, alpha=rng.choice([0.6, 1.4]), beta=rng.uniform(-15, 30))
    corners = np.array([[0, 0], [PATCH, 0], [PATCH, PATCH], [0, PATCH]], float)
    return cutout(picture, np.full((PATCH, PATCH), 255, np.uint8), corners)


def _hidden(scene: Scene, screen: Cutout, low: np.ndarray, high: np.ndarray, hidden: np.ndarray, turn: float) -> Scene:
    """The scene with a screen in front of its target where `hidden` [F] is 1; in between it slides in from the
    direction `turn`, and off again the same way."""
    here = hidden > 0
    half = 0.6 * (high - low)[here].max()
    # At first it is outside a search region around the target; where it has no business, far outside the frame.
    away = np.where(here, (1 - hidden) * 5 * half, 10 * (scene.width + scene.height))
    center = (low + high) / 2 + away[:, None] * np.array([np.cos(turn), np.sin(turn)])
    scale = np.full(len(scene), 2 * half / PATCH)
    return replace(
        scene,
        layers=(
            *scene.layers,
            Layer(screen, motion.affine_maps(center, np.zeros(len(scene)), scale, scale, screen.center)),
        ),
    )
