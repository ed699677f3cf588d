"""Scenes as arrays, and their pictures: `relo_jax.data.synthetic.scene` for jit, vmap and any device.

A view is rendered as on the host: background, then layers from back to front, then clouds and lights, then the camera.
What differs: a scene has a fixed number of slots for layers, of which some are empty; of the layers that reach into a
view, it shows the frontmost, `Effects.layers` at most; and motion blur averages a fixed number of samples, where the
host takes two a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import flax.struct
import jax
import jax.numpy as jnp
from jax import Array

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.cutout import INSIDE, PATCH
from relo_jax.data.synthetic.device import affine, camera, lighting, spray, texels

BACKGROUND = 256  # pixels of a side
_LAYERS = 8  # of a view
_SAMPLES = 8  # of motion blur
_PITCH = PATCH + 2


@dataclass(frozen=True)
class Effects:
    """What the scenes of some options may need; the program leaves out the rest.

    Attributes:
      layers: that a view shows, at most. All that can be in front of the target's body are one more, which hardly ever
        are there together.
      samples: of motion blur; 1 without.
      bending, turning: whether objects bend, and whether bodies turn.
      lighting: whether lights move over the frame.
      spray: whether there are clouds.
      optics: whether the camera blurs, or has large pixels.
      noise: whether the camera adds noise.
      compression: whether pictures are compressed.
    """

    layers: int = _LAYERS
    samples: int = _SAMPLES
    bending: bool = True
    turning: bool = True
    lighting: bool = True
    spray: bool = True
    optics: bool = True
    noise: bool = True
    compression: bool = True

    @classmethod
    def of(cls, options: Options) -> Effects:
        """Those of the options."""
        return cls(
            layers=max(_LAYERS, 3 + options.distractors + options.limbs),  # two occluders and a shadow
            samples=_SAMPLES if options.exposure else 1,
            bending=options.bending > 0,
            turning=options.turning > 0,
            lighting=options.lighting > 0,
            spray=options.spray > 0,
            optics=options.blur > 0 or options.pixel > 0,
            noise=options.sensor_noise > 0 or options.night > 0,
            compression=options.compression > 0,
        )


@flax.struct.dataclass
class Layers:
    """The K slots for layers of a scene."""

    pieces: Array  # uint32 [K, TEXELS], the cut-outs, see `texels.pyramid`
    maps: Array  # [F, K, 2, 3], from the patch to the frame
    gain: Array  # [F, K]
    bending: Array  # [F, K], amplitude in pixels of the patch
    field: Array  # int32 [K], number of the bend field
    turn: Array  # [F, K], by which a body has turned, in radians
    turns: Array  # bool [K]
    depth: Array  # [K], larger is nearer
    present: Array  # bool [K]


@flax.struct.dataclass
class Scene:
    """Everything that the frames are rendered from; the fields are those of the host's `Scene`."""

    background: Array  # uint32 [256 * 256]
    background_maps: Array  # [F, 2, 3]
    layers: Layers
    light: Array  # [F, 3]
    noise_strength: Array  # []
    noise_offsets: Array  # int32 [F, 2]
    grade: Array  # [3, 4]
    blur: Array  # []
    quality: Array  # []
    exposure: Array  # []
    pixel: Array  # []
    lights: lighting.Lights
    clouds: spray.Clouds
    width: int = flax.struct.field(pytree_node=False)
    height: int = flax.struct.field(pytree_node=False)


@flax.struct.dataclass
class View:
    """What a picture shows: a frame, and the window of it from (x, y) on with `scale` output pixels a pixel."""

    frame: Array  # int32
    x: Array
    y: Array
    scale: Array


def render(scene: Scene, view: View, size: int, tables: camera.Tables, effects: Effects) -> Array:
    """A view of the scene, uint8 [size, size, 3]. The scene continues outside the frame."""
    middle = jnp.array([scene.width, scene.height], jnp.float32) / 2
    source = affine.apply(affine.invert(scene.background_maps[view.frame]), middle)
    shift = _shutter_motion(scene, scene.background_maps, view, source)
    points = _points(size)
    sums = _samples(points, scene.background_maps[view.frame], view, shift, effects.samples, 1.0, _sampler(scene))
    background = texels.join([_byte(channel) for channel in texels.channels(sums, effects.samples)[:3]])

    def draw(words, slot):
        sums, gain = _layer(scene, slot, view, points, tables, effects)
        return _blend(words, texels.channels(sums, effects.samples), gain), None

    words, _ = jax.lax.scan(draw, background, _visible(scene, view, size, effects.layers))
    image = jnp.stack(texels.split(words, 3), -1)
    if effects.spray:
        image = spray.cover(image, scene.clouds, view)
    if effects.lighting:
        image = lighting.shine(image, scene.lights, view)
    return camera.take(scene, view, image, tables, effects)


def _points(size):
    """The centres of the output pixels, [size, size, 2]."""
    along = jnp.arange(size) + 0.5
    return jnp.stack(jnp.broadcast_arrays(along[None], along[:, None]), -1)


def _sampler(scene):
    """Interpolates the background, which goes on mirrored."""
    last = BACKGROUND - 1

    def mirrored(position):
        inside = jnp.mod(jnp.abs(position), 2 * last)
        return jnp.minimum(jnp.minimum(inside, 2 * last - inside), last - 1e-3)

    return lambda at: texels.interpolate(scene.background, 0, BACKGROUND, *(mirrored(at[..., k]) for k in (0, 1)))


def _samples(points, matrix, view, shift, samples, shrink, sample):
    """The sum of `sample` over positions along the motion, for each pixel.

    Args:
      points: [size, size, 2], in output pixels.
      matrix: [2, 3], from the patch to the frame.
      shift: [2], motion in output pixels.
      shrink: pixels of the patch in a texel.
      sample: interpolates at positions [size, size, 2] in texels.
    """
    frame_to_patch = affine.invert(matrix)
    linear = frame_to_patch[:, :2] / (view.scale * shrink)
    corner = affine.apply(frame_to_patch, jnp.stack([view.x, view.y])) / shrink
    at = affine.times(linear, points) + corner - 0.5
    length = jnp.hypot(shift[0], shift[1])
    taps = 2 * jnp.ceil(length) + 1  # those of the host, which together reach half a tap beyond the ends
    reach = jnp.where(length >= 1, taps / jnp.maximum(taps - 1, 1), 0.0)
    step = affine.times(linear, shift) * (reach / samples)
    even = odd = jnp.uint32(0)
    for k in range(samples):
        low, high = sample(at + (k - (samples - 1) / 2) * step)
        even, odd = even + low, odd + high
    return even, odd


def _shutter_motion(scene, maps, view, point):
    """The motion [2] of a point of the patch, in output pixels, while the shutter is open. maps: [F, 2, 3]."""
    first, last = jnp.maximum(view.frame - 1, 0), jnp.minimum(view.frame + 1, len(maps) - 1)
    move = affine.apply(maps[last] - maps[first], point) / jnp.maximum(last - first, 1)
    jumped = jnp.abs(move).max() >= min(scene.width, scene.height) / 2
    return jnp.where(jumped, 0.0, scene.exposure * view.scale * move)


def _level(matrix):
    """The pyramid level for the frame's resolution: coarser below a scale of 0.62, and again below 0.31."""
    area = jnp.abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])
    return (area < 0.38).astype(jnp.int32) + (area < 0.095)


def _visible(scene, view, size, most):
    """int32 [most]: the slots that the view shows, from back to front; empty ones or ones out of sight come first."""
    layers = scene.layers
    maps = layers.maps[view.frame]
    low = jnp.minimum(PATCH * maps[..., :2], 0).sum(-1) + maps[..., 2]
    high = jnp.maximum(PATCH * maps[..., :2], 0).sum(-1) + maps[..., 2]
    center = jnp.array([PATCH / 2, PATCH / 2])
    shift = jax.vmap(lambda m: _shutter_motion(scene, m, view, center), 1)(layers.maps)
    margin = (jnp.abs(shift) / 2 + 2) / view.scale
    corner = jnp.stack([view.x, view.y])
    reaches = ((low - margin < corner + size / view.scale) & (high + margin > corner)).all(-1)
    order = jnp.argsort(jnp.where(layers.present & reaches, layers.depth, -1.0))
    return order[-most:]


def _layer(scene, slot, view, points, tables, effects):
    """The picture of a layer, as sums of samples (see `_samples`), and its gain.

    An empty slot, or one out of sight, gives a transparent picture.
    """
    layers = scene.layers
    maps = layers.maps[:, slot]
    matrix = maps[view.frame]
    level = _level(matrix)
    size = jnp.array(texels.SIZES)[level]
    shift = _shutter_motion(scene, maps, view, jnp.array([PATCH / 2, PATCH / 2]))
    table, start, pitch = layers.pieces[slot], jnp.array(texels.STARTS)[level], size + 2
    if effects.turning:
        table = jnp.where(layers.turns[slot], _turned(table, level, layers.turn[view.frame, slot]), table)
    if effects.bending:
        amplitude = layers.bending[view.frame, slot] * size / PATCH
        table, start, pitch = _bent(table, level, amplitude, tables.fields[layers.field[slot]]), 0, _PITCH

    def sample(at):
        position = jnp.clip(at + 1, 0, size + 0.998)
        return texels.interpolate(table, start, pitch, position[..., 0], position[..., 1])

    sums = _samples(points, matrix, view, shift, effects.samples, jnp.exp2(level.astype(jnp.float32)), sample)
    visible = jnp.where(layers.present[slot], jnp.uint32(0xFFFFFFFF), jnp.uint32(0))
    return tuple(half & visible for half in sums), layers.gain[view.frame, slot]


def _turned(table, level, angle):
    """A cut-out, words [TEXELS], of whose levels one has turned as a body of revolution; see `cutout.turned`."""
    size, start = jnp.array(texels.SIZES)[level], jnp.array(texels.STARTS)[level]
    along = jnp.arange(_PITCH)  # of texels with their border
    inside = ((along >= 1) & (along <= size))[:, None] & ((along >= 1) & (along <= size))
    at = jnp.where(inside, start + along[:, None] * (size + 2) + along, 0)
    alpha = jnp.where(inside, table[at] >> 24, 0)
    solid = alpha > 127
    first = jnp.where(solid, along, size + 1).min(1)
    last = jnp.where(solid, along, 0).max(1)
    middle, half = ((first + last) / 2)[:, None], (jnp.maximum(last - first, 1) / 2)[:, None]
    longitude = jnp.arcsin(jnp.clip((along - middle) / half, -1, 1))
    x = jnp.clip(middle + INSIDE * half * jnp.sin(longitude + angle), 0, size + 0.998)
    y = jnp.broadcast_to(jnp.minimum(along[:, None], size), x.shape).astype(x.dtype)
    *surface, covered = texels.channels(texels.interpolate(table, start, size + 2, x, y), 1)
    share = alpha.astype(jnp.float32) / 255
    total = jnp.maximum(alpha.sum(), 1)
    colors = []
    for old, new in zip(texels.split(table[at], 3), surface, strict=True):
        mean = jnp.where(inside, old, 0).sum() / total  # of the colour; alpha is multiplied in
        colors.append(jnp.minimum((new + (255 - covered) * mean) * share, alpha).astype(jnp.uint32))
    words = texels.join([*colors, alpha])
    return table.at[jnp.where(inside, at, texels.TEXELS)].set(words, mode="drop")


def _bent(table, level, amplitude, field):
    """One level of a cut-out after bending: words [98 * 98], with the level in the upper left corner.

    Args:
      table: words [TEXELS].
      amplitude: in texels.
      field: [TEXELS, 2], the bend field at the texels.
    """
    size, start = jnp.array(texels.SIZES)[level], jnp.array(texels.STARTS)[level]
    along = jnp.arange(_PITCH)
    inside = (along >= 1) & (along <= size)
    texel = start + along[:, None] * (size + 2) + along[None]
    move = amplitude * field.at[texel].get(mode="clip")
    at = jnp.stack(jnp.broadcast_arrays(along[None], along[:, None]), -1) + move
    at = jnp.clip(at, 0, size + 0.998)
    words = _word(texels.interpolate(table, start, size + 2, at[..., 0], at[..., 1]))
    return jnp.where(inside[:, None] & inside[None], words, jnp.uint32(0)).reshape(-1)


def _word(halves):
    even, odd = halves
    return even | (odd << 8)


def _blend(words, channels, gain):
    """The picture, as words, with a premultiplied layer over it."""
    *color, alpha = (jnp.round(channel) for channel in channels)
    share = (255 - alpha) / 255
    front = (jnp.minimum(jnp.round(channel * gain), 255) for channel in color)
    behind = (jnp.round(channel * share) for channel in texels.split(words, 3))
    return texels.join([_byte(jnp.minimum(a + b, 255)) for a, b in zip(front, behind, strict=True)])


def _byte(channel):
    return jnp.round(channel).astype(jnp.uint32)
