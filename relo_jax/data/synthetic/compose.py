"""Animates a cast of cut-outs over a background, for procedural sequences and for those from photographs.

A target moves over a moving background, changes its size, aspect ratio, angle and brightness, and passes behind
occluders and beside similar objects. Between two frames it moves little relative to its size, as in real video; over a
sequence it moves far.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic import lighting, motion, spray
from relo_jax.data.synthetic.absence import with_absence
from relo_jax.data.synthetic.cutout import Cutout
from relo_jax.data.synthetic.motion import log_uniform
from relo_jax.data.synthetic.scene import Layer, Scene


@dataclass(frozen=True)
class Cast:
    """The cut-outs of a scene by role, and what surrounds them.

    Attributes:
      target: the body of the target.
      limbs: parts of the target that move on their own.
      carriers: larger objects that the target is fixed to, as a face to a body; not parts of it.
      distractors: objects similar to the target.
      clutter: objects behind the target.
      occluders: objects in front of the target.
      shadows: transparent veils over everything.
      background: uint8 [h, w, 3].
      sensor_noise: uint8 [h, w, 3], the camera's noise around 128.
    """

    target: Cutout
    limbs: tuple[Cutout, ...]
    carriers: tuple[Cutout, ...]
    distractors: tuple[Cutout, ...]
    clutter: tuple[Cutout, ...]
    occluders: tuple[Cutout, ...]
    shadows: tuple[Cutout, ...]
    background: np.ndarray
    sensor_noise: np.ndarray


class _Paths:
    """A supply of smooth random paths of speed 1, all drawn in one array operation."""

    def __init__(self, rng: np.random.Generator, count: int, frames: int):
        self._paths, self._next = motion.wander(rng, count, frames), 0

    def take(self, count: int) -> np.ndarray:
        """The next paths, [count, F]."""
        self._next += count
        return self._paths[self._next - count : self._next]

    def take_one(self) -> np.ndarray:
        """The next path, [F]."""
        return self.take(1)[0]


@dataclass(frozen=True)
class _TargetMotion:
    """center: [F, 2]; sizes: [F], square root of the box's area; stretch: log aspect ratio at the start."""

    center: np.ndarray
    sizes: np.ndarray
    stretch: float


def _shape_path(rng: np.random.Generator, paths: _Paths) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log size, log aspect ratio and angle relative to the start, each [F]."""
    rates = log_uniform(rng, [0.003, 0.001, 0.003], [0.025, 0.015, 0.05])
    size, aspect, angle = paths.take(3) * rates[:, None]
    if rng.random() < 0.2:  # keeps turning
        angle = angle + rng.normal(0, 0.03) * np.arange(len(angle))
    return size - size[0], np.clip(aspect - aspect[0], -0.7, 0.7), angle - angle[0]


def _layer(
    piece: Cutout,
    center: np.ndarray,
    size: np.ndarray,
    aspect: np.ndarray,
    angle: np.ndarray,
    gain: np.ndarray | None = None,
) -> Layer:
    """A moving cut-out; size: [F], the square root of the bounding box's area before the rotation."""
    scale, stretch = size / piece.extent, np.exp(aspect / 2)
    return Layer(piece, motion.affine_maps(center, angle, scale * stretch, scale / stretch, piece.center), gain)


def _bent(rng: np.random.Generator, layer: Layer, options: Options, paths: _Paths) -> Layer:
    """The layer of an object that bends; or, with p = 0.5, the rigid layer unchanged."""
    if options.bending <= 0 or rng.random() < 0.5:
        return layer
    path = np.tanh(paths.take_one() * log_uniform(rng, 0.02, 0.2)) * rng.uniform(0.3, 1) * options.bending
    return replace(layer, bending=path, field=int(rng.integers(64)))


def _turning(rng: np.random.Generator, layer: Layer, options: Options) -> Layer:
    """With p = `turning`, the layer of a body that turns about its upright axis and need not be as deep as wide."""
    if not rng.random() < options.turning:
        return layer
    frames = len(layer.maps)
    turn = motion.wander(rng, 1, frames, 20)[0] * log_uniform(rng, 0.02, 0.2)
    turn = turn - turn[0]
    if rng.random() < 0.5:  # back and forth
        turn = rng.uniform(0.3, 1.5) * np.tanh(turn)
    depth = log_uniform(rng, 0.4, 2.0)
    width = np.hypot(np.cos(turn), depth * np.sin(turn))
    middle = np.tile(layer.cutout.center, (frames, 1))
    maps = motion.compose(layer.maps, motion.affine_maps(middle, np.zeros(frames), width, 1.0, layer.cutout.center))
    return replace(layer, maps=maps, turn=turn)


def _gain(rng: np.random.Generator, paths: _Paths) -> np.ndarray:
    return np.exp(np.clip(paths.take_one() * log_uniform(rng, 0.001, 0.02), -0.5, 0.4))


def _target_path(rng: np.random.Generator, options: Options, paths: _Paths, sizes: np.ndarray) -> np.ndarray:
    """[F, 2] centres of a target that wanders, drifts and jumps, and turns back at the frame's border."""
    frames = len(sizes)
    speed = log_uniform(rng, options.slowest, options.fastest)
    heading = rng.uniform(0, 2 * np.pi)
    drift = rng.uniform(0.4, 1.0) * np.array([np.cos(heading), np.sin(heading)])
    path = 0.8 * paths.take(2).T + drift * np.arange(frames)[:, None]
    if rng.random() < 0.3:  # shaken by the camera or by its own gait
        path += rng.uniform(0, 0.8) * motion.wander(rng, 2, frames, 3, 9).T
    path *= speed
    path += motion.jumps(rng, frames, rng.uniform(0, options.jump), 0.3, 0.8)
    limit = np.array([options.width, options.height], np.float64)
    start = rng.uniform(0.15, 0.85, 2) * limit
    margin = np.minimum(rng.uniform(-0.1, 0.5) * sizes.max(), 0.3 * limit.min())
    return motion.fold(start + path * np.sqrt(sizes[0] * sizes)[:, None], margin, limit - margin)


def _swing(rng: np.random.Generator, frames: int, slowest: float) -> np.ndarray:
    """[F]: a sine of a random period between a tenth of `slowest` and `slowest` frames."""
    return np.sin(2 * np.pi * np.arange(frames) / log_uniform(rng, slowest / 10, slowest) + rng.uniform(0, 2 * np.pi))


def _limb_layer(rng: np.random.Generator, limb: Cutout, parent: Layer, is_end: bool) -> Layer:
    """A limb that swings about a joint on its parent: the body, or (`is_end`) the lower end of another limb.

    It hangs from the middle of its upper end.
    """
    frames = len(parent.maps)
    joint = rng.uniform(24, 72, 2)
    angle = rng.uniform(0, 2 * np.pi) + rng.uniform(0.1, 0.9) * _swing(rng, frames, 60)
    scale = rng.uniform(0.3, 0.6)
    if is_end:
        joint, scale = np.array([parent.cutout.center[0], parent.cutout.outline[:, 1].max() - 8]), 2 * scale
    anchor = (limb.center[0], limb.outline[:, 1].min() + 8)
    placed = motion.affine_maps(np.tile(joint, (frames, 1)), angle, scale * 0.7, scale, anchor)
    return Layer(limb, motion.compose(parent.maps, placed), parent.gain)


def _carrier_layer(rng: np.random.Generator, piece: Cutout, body: Layer) -> Layer:
    """A larger object behind the target that moves with it."""
    scale = rng.uniform(1.3, 3.0)
    angle = rng.uniform(0, 2 * np.pi)
    at = 48 + 40 * rng.uniform(0.3, scale) * np.array([[np.cos(angle), np.sin(angle)]])
    placed = motion.affine_maps(at, rng.normal(0, 0.3, 1), scale, scale, piece.center)
    return Layer(piece, motion.compose(body.maps, placed), body.gain)


def _distractor_layer(
    rng: np.random.Generator, piece: Cutout, options: Options, paths: _Paths, target: _TargetMotion
) -> Layer:
    """A distractor of about the target's size and aspect ratio, beside it (it may cross it) or on its own path."""
    frames = len(target.center)
    size, aspect, angle = _shape_path(rng, paths)
    own = target.sizes[0] * np.exp(rng.normal(0, 0.2) + np.clip(size, -0.5, 0.5))
    if rng.random() < 0.7:
        turn = rng.uniform(0, 2 * np.pi) + 0.05 * paths.take_one()
        reach = rng.uniform(0.9, 2.2) + rng.uniform(0.2, 1.6) * _swing(rng, frames, 200)
        direction = np.stack([np.cos(turn), np.sin(turn)], 1)
        path = target.center + (reach * np.sqrt(target.sizes * own))[:, None] * direction
    else:
        limit = np.array([options.width, options.height])
        steps = paths.take(2).T * log_uniform(rng, options.slowest, options.fastest) * target.sizes[0]
        path = motion.fold(rng.uniform(0, 1, 2) * limit + steps, -0.1 * limit, 1.1 * limit)
    layer = _layer(piece, path, own, aspect + target.stretch, angle + rng.normal(0, 0.8), _gain(rng, paths))
    return _turning(rng.spawn(1)[0], _bent(rng, layer, options, paths), options)


def _camera(
    rng: np.random.Generator, options: Options, background: np.ndarray, paths: _Paths, center: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Maps [F, 2, 3] from the background to the frame, and from the scene as of the first frame to the frame."""
    frames = len(center)
    follow = rng.choice([0.0, rng.uniform(0, 1), 1.0], p=[0.35, 0.35, 0.3])
    shake = motion.wander(rng, 2, frames, 4, 120).T * rng.choice([0.0, log_uniform(rng, 0.1, 3)])
    # A camera that follows the target moves the scene against the target's motion.
    travel = -follow * 1.5 * (center - center[0]) * rng.choice([1, -1], p=[0.8, 0.2]) + shake
    turn = paths.take_one() * rng.choice([0.0, log_uniform(rng, 0.0005, 0.008)])
    zoom = np.exp(np.clip(paths.take_one() * rng.choice([0, 0.003, 0.01]), -0.4, 0.4))
    zoom = zoom / zoom[0]
    middle = np.array([options.width, options.height]) / 2
    scene_maps = motion.affine_maps(middle + travel, turn - turn[0], zoom, zoom, middle)
    high, wide = background.shape[:2]
    fill = max(options.width / wide, options.height / high) * log_uniform(rng, 0.7, 2.0)
    angle = np.array([rng.normal(0, 0.15) if rng.random() < 0.7 else rng.uniform(0, 2 * np.pi)])
    placed = motion.affine_maps(middle[None], angle, fill, fill, (wide * rng.uniform(0.3, 0.7), high / 2))
    return motion.compose(scene_maps, placed), scene_maps


def _standing(
    rng: np.random.Generator,
    piece: Cutout,
    scene_maps: np.ndarray,
    center: np.ndarray,
    size: float,
    gain: np.ndarray | None = None,
) -> Layer:
    """An object at rest in the scene, which moves only with the camera."""
    aspect = np.clip(rng.normal(0, 0.4, 1), -1, 1)
    still = _layer(piece, np.asarray(center)[None], np.full(1, size), aspect, rng.normal(0, 0.3, 1))
    return Layer(piece, motion.compose(scene_maps, still.maps), gain)


def _surroundings(
    rng: np.random.Generator,
    cast: Cast,
    options: Options,
    paths: _Paths,
    scene_maps: np.ndarray,
    target: _TargetMotion,
) -> tuple[list[Layer], list[Layer]]:
    """The layers behind the target and in front of it."""
    frames, limit = options.num_frames, np.array([options.width, options.height])
    behind: list[Layer] = []
    front: list[Layer] = []
    for piece in cast.clutter:
        gain, center = np.full(frames, rng.uniform(0.5, 1.3)), rng.uniform(-0.5, 1.5, 2) * limit
        behind.append(_standing(rng, piece, scene_maps, center, log_uniform(rng, 12, 130), gain))
    for piece in cast.distractors:
        layer = _distractor_layer(rng, piece, options, paths, target)
        (front if rng.random() < 0.35 else behind).append(layer)
    for piece in cast.occluders:
        # Near a future position of the target, in the coordinates of the first frame.
        frame = int(rng.integers(frames))
        center = target.center[frame] + rng.uniform(-0.7, 0.7, 2) * target.sizes[frame]
        center = motion.apply(motion.invert(scene_maps[frame : frame + 1]), center[None])[0, 0]
        front.append(_standing(rng, piece, scene_maps, center, target.sizes[frame] * rng.uniform(0.4, 1.5)))
    for piece in cast.shadows:  # over everything, at rest in the scene
        front.append(_standing(rng, piece, scene_maps, rng.uniform(0, 1, 2) * limit, log_uniform(rng, 80, 400)))
    return behind, front


def compose(rng: np.random.Generator, cast: Cast, options: Options) -> Scene:
    """Composes the scene of a cast, all F frames at once. All random numbers come from `rng`."""
    frames = options.num_frames
    paths = _Paths(rng, 14 + 8 * len(cast.distractors), frames)
    size, aspect, angle = _shape_path(rng, paths)
    sizes = log_uniform(rng, options.smallest, options.largest) * np.exp(size)
    sizes = np.exp(motion.fold(np.log(sizes), np.log(14.0), np.log(0.36 * min(options.width, options.height))))
    center = _target_path(rng, options, paths, sizes)
    background_maps, scene_maps = _camera(rng, options, cast.background, paths, center)
    angle = angle + (rng.normal(0, 0.3) if rng.random() < 0.7 else rng.uniform(0, 2 * np.pi))
    stretch = rng.normal(0, options.elongation) if options.elongation else 0.0
    body = _bent(rng, _layer(cast.target, center, sizes, aspect + stretch, angle, _gain(rng, paths)), options, paths)
    body = _turning(rng.spawn(1)[0], body, options)

    behind, front = _surroundings(rng, cast, options, paths, scene_maps, _TargetMotion(center, sizes, stretch))
    behind += [_carrier_layer(rng, piece, body) for piece in cast.carriers]
    limbs: list[Layer] = []
    for limb in cast.limbs:  # from the third on, it may hang from the one before it
        parent = limbs[-1] if len(limbs) >= 2 and rng.random() < 0.5 else body
        limbs.append(_limb_layer(rng, limb, parent, is_end=parent is not body))
    under = len(limbs) if rng.random() < 0.5 else 0  # all limbs behind the body, or all in front of it
    own = [*limbs[:under], body, *limbs[under:]]
    target = (len(behind) + under, *(len(behind) + k for k in range(len(own)) if k != under))
    scene = Scene(
        options.width,
        options.height,
        cast.background,
        background_maps,
        (*behind, *own, *front),
        target,
        light=_gain(rng, paths) * rng.uniform(0.75, 1.15),
        sensor_noise=cast.sensor_noise,
        sensor_noise_strength=rng.uniform(0, options.sensor_noise),
        noise_offsets=rng.integers(0, 100, (frames, 2)),
        grade=_grade(rng, options),
        blur=rng.uniform(0.3, options.blur) if options.blur and rng.random() < 0.25 else 0.0,
        quality=int(rng.integers(12, 60)) if rng.random() < options.compression else 0,
    )
    # These come last, so that they do not change the random numbers of everything above.
    if options.switch and rng.random() < options.switch:
        scene = replace(scene, light=scene.light[:, None] * lighting.switched_light(rng, frames))
    if options.exposure and rng.random() < 0.5:
        scene = replace(scene, exposure=rng.uniform(0, options.exposure))
    if options.pixel:
        most = max(options.pixel, 1.0)
        scene = replace(scene, pixel=max(1.0, log_uniform(rng, 1 / most, most)))
    if options.lighting and rng.random() < options.lighting:
        lights = lighting.random_lights(rng, scene_maps, center, sizes)
        gain = lighting.exposure_control(rng, lights, frames, options.width, options.height)
        scene = replace(scene, lights=lights, light=(scene.light.T * gain).T)
    if options.night and rng.random() < options.night:
        grade, noise = lighting.at_night(rng, scene.grade, scene.sensor_noise_strength)
        scene = replace(scene, grade=grade, sensor_noise_strength=noise)
    if options.spray and rng.random() < options.spray:
        scene = replace(scene, clouds=spray.random_clouds(rng, scene_maps, center, sizes))
    return with_absence(rng, scene) if options.absence and rng.random() < options.absence else scene


def _grade(rng: np.random.Generator, options: Options) -> np.ndarray:
    """float32 [3, 4]: the camera's colour matrix; with p = `grade` less saturated, with less contrast, and tinted."""
    matrix = np.eye(3, 4, dtype=np.float32)
    if rng.random() < options.grade:
        keep, contrast = rng.uniform(0.1, 1), rng.uniform(0.6, 1.1)
        grey = np.array([0.299, 0.587, 0.114], np.float32)
        matrix[:, :3] = contrast * rng.uniform(0.9, 1.1, (3, 1)) * (keep * np.eye(3) + (1 - keep) * grey)
        matrix[:, 3] = (1 - contrast) * rng.uniform(0, 200)
    return matrix
