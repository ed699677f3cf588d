"""Absences: the target of a composed scene is out of sight for a while, and comes back.

Either it leaves the frame and returns, or a screen slides in front of it, stays and slides off again. The rest of the
scene does not change, so distractors beside the target remain.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from relo_jax.data.synthetic import motion
from relo_jax.data.synthetic.composed import target_extremes
from relo_jax.data.synthetic.cutout import PATCH, Cutout, cutout
from relo_jax.data.synthetic.scene import Layer, Scene

# As shares of the sequence's length: when the target starts to leave, how long it is out of sight, and the longest time
# that leaving the frame may take, as may the return.
START = 0.1, 0.25
DURATION = 0.2, 0.3
MAX_TRANSIT = 0.18
LEAVE_PROBABILITY = 0.65  # that it leaves the frame, if it is fast enough, rather than being hidden
SPEED = 0.15, 0.3  # mean speed on its way out and back, in target sizes a frame
SLIDE = 10  # frames in which the screen slides in front of it


def with_absence(rng: np.random.Generator, scene: Scene) -> Scene:
    """The scene with one absence of its target, for a fifth to a third of the frames.

    Mostly the target leaves the frame, if it is near enough to the border to do so in time; otherwise a screen hides
    it. `rng` decides when, how long and which.
    """
    frames = len(scene)
    start, duration = frames * rng.uniform(*START), frames * rng.uniform(*DURATION)
    may_leave = rng.random() < LEAVE_PROBABILITY
    speed, angle, screen = rng.uniform(*SPEED), rng.uniform(0, 2 * np.pi), _screen(rng, scene.background)
    low, high = target_extremes(scene)
    exits = _exits(scene, low, high)
    ends = [int(start), min(int(start + 2 * MAX_TRANSIT * frames + duration), frames - 1)]
    sizes = np.sqrt((high - low).prod(1))[ends]
    transits = np.abs(exits[:, ends]).max(2) / (speed * sizes)  # [4, 2], frames to leave and to return
    side = transits.max(1).argmin()
    if may_leave and transits[side].max() <= MAX_TRANSIT * frames:
        return _displaced(scene, _absence(frames, start, duration, *transits[side])[:, None] * exits[side])
    return _hidden(scene, screen, low, high, _absence(frames, start, duration, SLIDE, SLIDE), angle)


def _absence(frames: int, start: float, duration: float, leave: float, come: float) -> np.ndarray:
    """[F]: rises smoothly from 0 to 1 in `leave` frames, stays for `duration`, and falls to 0 in `come` frames."""

    time = np.arange(frames)
    phase = np.clip(np.minimum((time - start) / leave, (start + leave + duration + come - time) / come), 0, 1)
    return phase**2 * (3 - 2 * phase)


def _exits(scene: Scene, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """[4, F, 2]: for each side of the frame, the displacement that puts the target just outside."""
    left, top = -high[:, 0] - 2, -high[:, 1] - 2
    right, bottom = scene.width - low[:, 0] + 2, scene.height - low[:, 1] + 2
    none = np.zeros(len(scene))
    return np.stack([np.stack(move, 1) for move in ((left, none), (right, none), (none, top), (none, bottom))])


def _displaced(scene: Scene, shift: np.ndarray) -> Scene:
    """The scene with its target displaced by [F, 2] pixels."""
    layers = list(scene.layers)
    for index in scene.target:
        maps = layers[index].maps.copy()
        maps[:, :, 2] += shift
        layers[index] = replace(layers[index], maps=maps)
    return replace(scene, layers=tuple(layers))


def _screen(rng: np.random.Generator, background: np.ndarray) -> Cutout:
    """A square with a piece of the background on it, darker or brighter than the rest."""
    height, width = background.shape[:2]
    side = int(min(height, width) * rng.uniform(0.3, 0.8))
    x, y = rng.integers(width - side + 1), rng.integers(height - side + 1)
    picture = cv2.resize(background[y : y + side, x : x + side], (PATCH, PATCH), interpolation=cv2.INTER_AREA)
    picture = cv2.convertScaleAbs(picture, alpha=rng.choice([0.6, 1.4]), beta=rng.uniform(-15, 30))
    corners = np.array([[0, 0], [PATCH, 0], [PATCH, PATCH], [0, PATCH]], float)
    return cutout(picture, np.full((PATCH, PATCH), 255, np.uint8), corners)


def _hidden(scene: Scene, screen: Cutout, low: np.ndarray, high: np.ndarray, hidden: np.ndarray, angle: float) -> Scene:
    """The scene with a screen that hides its target where `hidden` [F] is 1.

    Where `hidden` is between 0 and 1, the screen slides in from the direction `angle`, or off again.
    """
    is_near = hidden > 0
    half = 0.6 * (high - low)[is_near].max()
    # It starts outside a search region around the target. Where it is not needed, it is far outside the frame.
    distance = np.where(is_near, (1 - hidden) * 5 * half, 10 * (scene.width + scene.height))
    center = (low + high) / 2 + distance[:, None] * np.array([np.cos(angle), np.sin(angle)])
    scale = np.full(len(scene), 2 * half / PATCH)
    layer = Layer(screen, motion.affine_maps(center, np.zeros(len(scene)), scale, scale, screen.center))
    return replace(scene, layers=(*scene.layers, layer))
