"""Animates a cast on the device: `relo_jax.data.synthetic.compose` in JAX, with the same distributions."""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.device import affine, lighting, spray
from relo_jax.data.synthetic.device.assets import BEND_FIELDS
from relo_jax.data.synthetic.device.cast import Cast, Slots
from relo_jax.data.synthetic.device.paths import Paths
from relo_jax.data.synthetic.device.scene import BACKGROUND, Layers, Scene
from relo_jax.data.synthetic.device.supply import Supply, kept

# Depths of roles; larger is nearer. Distractors are behind or in front of the target, as are its limbs.
_CLUTTER, _FAR, _CARRIER, _UNDER, _BODY, _OVER, _NEAR, _OCCLUDER, _SHADOW = range(9)


# Rates of change of log size, log aspect ratio and angle, a frame.
_SLOWEST, _FASTEST = np.array([0.003, 0.001, 0.003]), np.array([0.025, 0.015, 0.05])


@flax.struct.dataclass
class _Motion:
    """Layers of one role: as `Layers`, without their cut-outs; [F, N, ...] or [N]."""

    maps: Array
    gain: Array
    bending: Array
    field: Array
    depth: Array
    turn: Array
    turns: Array


# The axis of layers.
_AXES = _Motion(maps=1, gain=1, bending=1, field=0, depth=0, turn=1, turns=0)  # type: ignore[arg-type]


@flax.struct.dataclass
class _Target:
    center: Array  # [F, 2]
    sizes: Array  # [F]
    stretch: Array  # log aspect ratio at the start


def compose(key: Array, cast: Cast, options: Options) -> Scene:
    """Composes the scene of a cast, all F frames at once. All random numbers come from the key.

    Every scene is exposed for a while, if the options say so; half of the clips are to be sharp (see `clips.draw`).
    """
    frames, slots = options.num_frames, Slots.of(options)
    supply = Supply(key, 400 + 5 * frames)
    paths = Paths(supply, 10, frames)
    rate = supply.log_uniform(_SLOWEST, _FASTEST, 3)
    size, aspect, angle = _shape_path(supply, paths, rate)
    sizes = supply.log_uniform(options.smallest, options.largest) * jnp.exp(size)
    sizes = jnp.exp(affine.fold(jnp.log(sizes), jnp.log(14.0), jnp.log(0.36 * min(options.width, options.height))))
    center = _target_path(supply, paths, options, sizes)
    center, sizes = kept((center, sizes))
    background_maps, scene_maps = kept(_camera(supply, paths, options, center))
    angle = angle + jnp.where(supply.happens(0.7), supply.normal(0, 0.3), supply.angle())
    stretch = supply.normal(0, 1) * options.elongation
    target = _Target(center, sizes, stretch)
    corners = cast.corners[slots.body][0]
    maps = _layer_maps(corners, center, sizes, aspect + stretch, angle)
    gain, (bending, field) = _gain(supply, paths), _bend(supply, paths, options)
    maps, turn, turns = _turning(jax.random.fold_in(key, 2), kept(maps), corners, options)
    body = _one(_moving(kept(maps), _BODY, gain, bending, field, turn, turns))
    limb_depth = jnp.where(supply.happens(0.5), _UNDER, _OVER)
    keys = jax.random.split(jax.random.fold_in(key, 1), 6)
    many = lambda function, role, k: _many(function, keys[k], cast.corners[role])
    joined = _joined([
        many(lambda key, at: _clutter(key, at, options, scene_maps), slots.clutter, 0),
        many(lambda key, at: _distractor(key, at, options, target), slots.distractors, 1),
        many(lambda key, at: _carrier(key, at, body), slots.carrier, 2),
        body,
        *_limbs(keys[3], cast.corners[slots.limbs], body, limb_depth),
        many(lambda key, at: _occluder(key, at, scene_maps, target), slots.occluders, 4),
        many(lambda key, at: _shadow(key, at, options, scene_maps), slots.shadow, 5),
    ])  # fmt: skip
    layers = Layers(pieces=cast.pieces, present=cast.present, **vars(kept(joined)))
    lit = Supply(jax.random.fold_in(key, 3), 128)
    lights = lighting.random_lights(lit, scene_maps, center, sizes, options.lighting)
    gain = lighting.exposure_control(lit, lights, options.width, options.height) if options.lighting else 1.0
    sprayed = Supply(jax.random.fold_in(key, 4), 128)
    clouds = spray.random_clouds(sprayed, scene_maps, center, sizes, options.spray)
    scene = _filmed(supply, paths, options, cast.background, background_maps, layers, lights, clouds, gain)
    grade, noise = lighting.at_night(lit, scene.grade, scene.noise_strength, options.night)
    return scene.replace(grade=grade, noise_strength=noise)


def _filmed(supply, paths, options, background, background_maps, layers, lights, clouds, gain):
    """The scene under its light and before its camera. gain: [F] of the camera."""
    frames = options.num_frames
    light = jnp.repeat((_gain(supply, paths) * supply.uniform(0.75, 1.15))[:, None], 3, 1)
    light = jnp.where(supply.happens(options.switch), light * lighting.switched_light(supply, frames), light)
    light = light * jnp.broadcast_to(gain, frames)[:, None]
    most = max(options.pixel, 1.0)
    return Scene(
        background=background, background_maps=background_maps, layers=layers, light=light, lights=lights,
        clouds=clouds, noise_strength=supply.uniform(0, options.sensor_noise),
        noise_offsets=supply.integers(0, 100, (frames, 2)),
        grade=_grade(supply, options),
        blur=jnp.where(supply.happens(0.25), supply.uniform(0.3, options.blur), 0) * (options.blur > 0),
        quality=jnp.where(supply.happens(options.compression), supply.integers(12, 60), 0).astype(jnp.float32),
        exposure=supply.uniform(0, options.exposure),
        pixel=jnp.maximum(supply.log_uniform(1 / most, most), 1) * (options.pixel > 0),
        width=options.width, height=options.height,
    )  # fmt: skip


def _many(function, key, corners):
    """Layers of one role by a function of (key, corners) for each."""
    keys = jax.random.split(key, len(corners))
    return jax.vmap(function, out_axes=_AXES)(keys, corners)


def _one(motion):
    """The `_Motion` of one layer, with the axis of layers."""
    return jax.tree.map(jnp.expand_dims, motion, _AXES)


def _moving(maps, depth, gain=1.0, bending=0.0, field=0, turn=0.0, turns=False):
    """A `_Motion` of one layer, without the axis of layers."""
    frames = len(maps)
    whole = lambda x: jnp.broadcast_to(jnp.asarray(x, jnp.float32), frames)
    return _Motion(
        maps=maps, gain=whole(gain), bending=whole(bending), field=jnp.asarray(field, jnp.int32),
        depth=jnp.asarray(depth, jnp.float32), turn=whole(turn), turns=jnp.asarray(turns),
    )  # fmt: skip


def _joined(motions):
    return jax.tree.map(lambda axis, *of_roles: jnp.concatenate(of_roles, axis), _AXES, *motions)


def _extent(corners):
    return jnp.sqrt((corners[1] - corners[0]).prod())


def _layer_maps(corners, center, size, aspect, angle):
    """Maps of a cut-out; size: the square root of its bounding box's area before the rotation."""
    scale, stretch = size / _extent(corners), jnp.exp(aspect / 2)
    return affine.maps(center, angle, scale * stretch, scale / stretch, corners.mean(0))


def _shape_path(supply, paths, rate):
    """Log size, log aspect ratio and angle relative to the start, each [F]."""
    size, aspect, angle = paths.take(3) * rate[:, None]
    turns = jnp.where(supply.happens(0.2), supply.normal(0, 0.03), 0)  # keeps turning
    angle = angle + turns * jnp.arange(len(angle))
    return size - size[0], jnp.clip(aspect - aspect[0], -0.7, 0.7), angle - angle[0]


def _bend(supply, paths, options):
    """Amplitude [F] and field of an object that bends; or, with p = 0.5, of a rigid one."""
    path = jnp.tanh(paths.take_one() * supply.log_uniform(0.02, 0.2)) * supply.uniform(0.3, 1) * options.bending
    return jnp.where(supply.happens(0.5), path, 0), supply.integers(0, BEND_FIELDS)


def _turning(key, maps, corners, options):
    """A body that turns about its upright axis, with p = `turning`: its maps, the angle [F], and whether it does."""
    frames = len(maps)
    if not options.turning:
        return maps, jnp.zeros(frames), jnp.asarray(False)
    supply = Supply(key, 24)
    turns = supply.happens(options.turning)
    turn = affine.wander(supply, 1, frames, 20.0)[0] * supply.log_uniform(0.02, 0.2)
    turn = turn - turn[0]
    turn = jnp.where(supply.happens(0.5), supply.uniform(0.3, 1.5) * jnp.tanh(turn), turn)  # back and forth
    turn = jnp.where(turns, turn, 0)
    width = jnp.hypot(jnp.cos(turn), supply.log_uniform(0.4, 2.0) * jnp.sin(turn))
    middle = corners.mean(0)
    narrowed = affine.maps(jnp.broadcast_to(middle, (frames, 2)), 0.0, width, 1.0, middle)
    return affine.compose(maps, narrowed), turn, turns


def _gain(supply, paths):
    return jnp.exp(jnp.clip(paths.take_one() * supply.log_uniform(0.001, 0.02), -0.5, 0.4))


def _target_path(supply, paths, options, sizes):
    """[F, 2] centres of a target that wanders, drifts and jumps, and turns back at the frame's border."""
    frames, speed, heading = len(sizes), supply.log_uniform(options.slowest, options.fastest), supply.angle()
    drift = supply.uniform(0.4, 1.0) * jnp.stack([jnp.cos(heading), jnp.sin(heading)])
    path = 0.8 * paths.take(2).T + drift * jnp.arange(frames)[:, None]
    shaken = jnp.where(supply.happens(0.3), supply.uniform(0, 0.8), 0)  # by the camera or by its own gait
    path = (path + shaken * paths.gait.T) * speed
    path = path + affine.jumps(supply, frames, supply.uniform(0, options.jump), 0.3, 0.8)
    limit = jnp.array([options.width, options.height], jnp.float32)
    start = supply.uniform(0.15, 0.85, 2) * limit
    margin = jnp.minimum(supply.uniform(-0.1, 0.5) * sizes.max(), 0.3 * limit.min())
    return affine.fold(start + path * jnp.sqrt(sizes[0] * sizes)[:, None], margin, limit - margin)


def _camera(supply, paths, options, center):
    """Maps [F, 2, 3] from the background to the frame, and from the scene as of the first frame to the frame."""
    kind = supply.uniform()
    follow = jnp.where(kind < 0.35, 0, jnp.where(kind < 0.7, supply.uniform(), 1.0))
    shake = paths.shake.T * jnp.where(supply.happens(0.5), supply.log_uniform(0.1, 3), 0)
    sign = jnp.where(supply.happens(0.8), 1, -1)
    travel = -follow * 1.5 * (center - center[0]) * sign + shake  # a camera that follows moves the scene the other way
    rate = jnp.where(supply.happens(0.5), supply.log_uniform(0.0005, 0.008), 0)
    turn = paths.take_one() * rate
    rate = jnp.array([0, 0.003, 0.01])[supply.integers(0, 3)]
    zoom = jnp.exp(jnp.clip(paths.take_one() * rate, -0.4, 0.4))
    zoom = zoom / zoom[0]
    middle = jnp.array([options.width, options.height]) / 2
    scene_maps = affine.maps(middle + travel, turn - turn[0], zoom, zoom, middle)
    fill = max(options.width, options.height) / BACKGROUND * supply.log_uniform(0.7, 2.0)
    angle = jnp.where(supply.happens(0.7), supply.normal(0, 0.15), supply.angle())
    anchor = jnp.stack([BACKGROUND * supply.uniform(0.3, 0.7), jnp.asarray(BACKGROUND / 2)])
    return affine.compose(scene_maps, affine.maps(middle[None], angle, fill, fill, anchor)), scene_maps


def _standing(supply, corners, scene_maps, center, size):
    """Maps of an object at rest in the scene, which moves only with the camera."""
    aspect = jnp.clip(supply.normal(0, 0.4), -1, 1)
    return affine.compose(scene_maps, _layer_maps(corners, center[None], size, aspect, supply.normal(0, 0.3)))


def _clutter(key, corners, options, scene_maps):
    supply = Supply(key, 8)
    center = supply.uniform(-0.5, 1.5, 2) * jnp.array([options.width, options.height])
    size = supply.log_uniform(12, 130)
    return _moving(_standing(supply, corners, scene_maps, center, size), _CLUTTER, supply.uniform(0.5, 1.3))


def _shadow(key, corners, options, scene_maps):
    supply = Supply(key, 8)  # over everything, at rest in the scene
    center = supply.uniform(0, 1, 2) * jnp.array([options.width, options.height])
    return _moving(_standing(supply, corners, scene_maps, center, supply.log_uniform(80, 400)), _SHADOW)


def _occluder(key, corners, scene_maps, target):
    """An object near a future position of the target, in the coordinates of the first frame."""
    supply = Supply(key, 8)
    frame = supply.integers(0, len(scene_maps))
    center = target.center[frame] + supply.uniform(-0.7, 0.7, 2) * target.sizes[frame]
    center = affine.apply(affine.invert(scene_maps[frame]), center)
    size = target.sizes[frame] * supply.uniform(0.4, 1.5)
    return _moving(_standing(supply, corners, scene_maps, center, size), _OCCLUDER)


def _carrier(key, corners, body):
    """A larger object behind the target that moves with it."""
    supply = Supply(key, 8)
    scale, angle = supply.uniform(1.3, 3.0), supply.angle()
    at = 48 + 40 * supply.uniform(0.3, scale) * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    placed = affine.maps(at[None], supply.normal(0, 0.3), scale, scale, corners.mean(0))
    return _moving(affine.compose(body.maps[:, 0], placed), _CARRIER, body.gain[:, 0])


def _swing(supply, frames, slowest):
    """[F]: a sine of a random period between a tenth of `slowest` and `slowest` frames."""
    period = supply.log_uniform(slowest / 10, slowest)
    return jnp.sin(2 * jnp.pi * jnp.arange(frames) / period + supply.angle())


def _limbs(key, corners, body, depth):
    """Limbs that swing about joints on the body. From the third on, one may hang from the end of the one before it."""
    limbs = []
    for k in range(len(corners)):
        supply, frames = Supply(jax.random.fold_in(key, k), 16), len(body.maps)
        angle = supply.angle() + supply.uniform(0.1, 0.9) * _swing(supply, frames, 60)
        parent, joint, scale = body, supply.uniform(24, 72, 2), supply.uniform(0.3, 0.6)
        if k >= 2:
            is_end, previous = supply.happens(0.5), corners[k - 1]
            parent = jax.tree.map(lambda a, b, is_end=is_end: jnp.where(is_end, a, b), limbs[-1], body)
            end = jnp.stack([previous[:, 0].mean(), previous[1, 1] - 8])
            joint, scale = jnp.where(is_end, end, joint), jnp.where(is_end, 2, 1) * scale
        anchor = jnp.stack([corners[k, :, 0].mean(), corners[k, 0, 1] + 8])
        placed = affine.maps(jnp.broadcast_to(joint, (frames, 2)), angle, scale * 0.7, scale, anchor)
        limbs.append(_one(_moving(affine.compose(parent.maps[:, 0], placed), depth, body.gain[:, 0])))
    return limbs


def _distractor(key, corners, options, target):
    """A distractor of about the target's size and aspect ratio, beside it (it may cross it) or on its own path."""
    supply, frames = Supply(key, 240), len(target.center)
    paths = Paths(supply, 8, frames)
    rate = supply.log_uniform(_SLOWEST, _FASTEST, 3)
    size, aspect, angle = _shape_path(supply, paths, rate)
    own = target.sizes[0] * jnp.exp(supply.normal(0, 0.2) + jnp.clip(size, -0.5, 0.5))
    turn = supply.angle() + 0.05 * paths.take_one()
    reach = supply.uniform(0.9, 2.2) + supply.uniform(0.2, 1.6) * _swing(supply, frames, 200)
    direction = jnp.stack([jnp.cos(turn), jnp.sin(turn)], 1)
    beside = target.center + (reach * jnp.sqrt(target.sizes * own))[:, None] * direction
    limit = jnp.array([options.width, options.height])
    speed = supply.log_uniform(options.slowest, options.fastest) * target.sizes[0]
    steps = paths.take(2).T * speed
    alone = affine.fold(supply.uniform(0, 1, 2) * limit + steps, -0.1 * limit, 1.1 * limit)
    center = jnp.where(supply.happens(0.7), beside, alone)
    maps = _layer_maps(corners, center, own, aspect + target.stretch, angle + supply.normal(0, 0.8))
    gain, (bending, field) = _gain(supply, paths), _bend(supply, paths, options)
    maps, turn, turns = _turning(jax.random.fold_in(key, 1), maps, corners, options)
    return _moving(maps, jnp.where(supply.happens(0.35), _NEAR, _FAR), gain, bending, field, turn, turns)


def _grade(supply, options):
    """[3, 4]: the camera's colour matrix; with p = `grade` less saturated, with less contrast, and tinted."""
    keep, contrast = supply.uniform(0.1, 1), supply.uniform(0.6, 1.1)
    grey = jnp.array([0.299, 0.587, 0.114])
    mixed = contrast * supply.uniform(0.9, 1.1, (3, 1)) * (keep * jnp.eye(3) + (1 - keep) * grey)
    offset = jnp.full((3, 1), (1 - contrast) * supply.uniform(0, 200))
    return jnp.where(supply.happens(options.grade), jnp.concatenate([mixed, offset], 1), jnp.eye(3, 4))
