"""Absences: the target of a composed scene goes out of sight for a while, and comes back.

Either it leaves the frame and returns, or something slides in front of it, stays, and slides off again. All else in
the scene goes on as it would have: what was beside the target is still there to be mistaken for it.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from relo_jax.data import motion
from relo_jax.data.composed import target_extremes
from relo_jax.data.scene import PATCH, Cutout, Layer, Scene, cutout

BEGINS = 0.15, 0.3  # of the sequence, when the target begins to go
LASTS = 0.2, 0.3  # of the sequence, how long it is out of sight
WAY = 0.12  # of the sequence, at most, for leaving the frame, and as much for the return
SPEED = 0.12, 0.25  # target sizes a frame, on the mean, on its way out and back
SLIDE = 10  # frames that take something in front of it


def with_absence(rng: np.random.Generator, scene: Scene) -> Scene:
    """The scene with one absence of its target, of a fifth of the frames or a little more.

    Args:
      rng: what decides when, how long, and how.
      scene: as composed.

    Returns:
      Scene. In every second one the target leaves the frame, if it is near enough to the border to do so in time; in
      the others something hides it.
    """
    frames = len(scene)
    start, lasts = frames * rng.uniform(*BEGINS), frames * rng.uniform(*LASTS)
    leaves, speed, turn = rng.random() < 0.5, rng.uniform(*SPEED), rng.uniform(0, 2 * np.pi)
    screen = _screen(rng, scene.background)
    low, high = target_extremes(scene)
    if leaves:
        size = np.sqrt((high - low).prod(1)).mean()
        move = _shortest_way_out(scene, low[int(start) :], high[int(start) :])
        way = np.abs(move).max() / (speed * size)
        if way <= WAY * frames:
            return _moved(scene, _there_and_back(frames, start, way, lasts)[:, None] * move)
    return _hidden(scene, screen, low, high, _there_and_back(frames, start, SLIDE, lasts), turn)


def _there_and_back(frames: int, start: float, way: float, lasts: float) -> np.ndarray:
    """[F]: 0, then smoothly to 1 in `way` frames, there for `lasts` frames, and back to 0 in as many again."""
    time = np.arange(frames)
    phase = np.clip(np.minimum(time - start, start + 2 * way + lasts - time) / way, 0, 1)
    return phase**2 * (3 - 2 * phase)


def _shortest_way_out(scene: Scene, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """[2]: the shortest displacement along an axis by which a target of these extremes is outside in every frame."""
    moves = [(-high[:, 0].max(), 0), (scene.width - low[:, 0].min(), 0),
             (0, -high[:, 1].max()), (0, scene.height - low[:, 1].min())]  # fmt: skip
    return np.array(min(moves, key=lambda move: max(map(abs, move))))


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
