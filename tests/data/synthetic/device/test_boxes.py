"""Boxes of targets on the device enclose what is drawn of them."""

import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.device import shapes, texels
from relo_jax.data.synthetic.device.boxes import target_boxes
from relo_jax.data.synthetic.device.cast import Slots
from relo_jax.data.synthetic.device.scene import Effects, Layers, Scene, View, render
from tests.data.synthetic.device import hosts

SLOTS = Slots.of(Options(clutter=0, distractors=0))
SIDE, TURN = 64, 0.5
# Centre and scale of the target in each frame: inside, over two borders and a corner, almost gone, outside, small.
PLACES = [(32, 32, 0.5), (2, 30, 0.5), (30, 62, 0.4), (60, 3, 0.6), (-18, 32, 0.5), (-90, 32, 0.5), (32, 32, 0.04)]


def white_star():
    """A white star as a scene's target, with one occluder over it in the first frame, and its outline."""
    corners = shapes.on_ray(jnp.arange(16) * np.pi / 8, jnp.where(jnp.arange(16) % 2, 0.5, 1.0))
    polygons = jnp.broadcast_to(shapes.in_patch(shapes.along_edges(corners)), (shapes.PARTS, shapes.POINTS, 2))
    alpha = 255 * shapes.coverage(polygons[:1])[0]
    star = texels.pyramid(jnp.stack([alpha] * 4, -1))
    full = texels.pyramid(jnp.full((96, 96, 4), 255.0))
    frames, cos, sin = len(PLACES), np.cos(TURN), np.sin(TURN)
    linear = np.array([[cos, -sin], [sin, cos]]) * np.array([k[2] for k in PLACES])[:, None, None]
    center = np.array([k[:2] for k in PLACES])[..., None]
    maps = np.concatenate([linear, center - linear @ np.full((2, 1), 48.0)], 2)
    maps = np.repeat(maps[:, None], SLOTS.count, 1)
    maps[1:, SLOTS.occluders.start, :, 2] += 1000
    present = np.zeros(SLOTS.count, bool)
    present[[SLOTS.body.start, SLOTS.occluders.start]] = True
    one, none = jnp.ones((frames, SLOTS.count)), jnp.zeros((frames, SLOTS.count))
    pieces = jnp.stack([full if k == SLOTS.occluders.start else star for k in range(SLOTS.count)])
    layers = Layers(pieces, jnp.asarray(maps), one, none, jnp.zeros(SLOTS.count, int), none,
                    jnp.zeros(SLOTS.count, bool), jnp.arange(SLOTS.count) * 1.0, jnp.asarray(present))  # fmt: skip
    zero = jnp.zeros(())
    scene = Scene(
        background=jnp.zeros(256 * 256, jnp.uint32), background_maps=jnp.tile(jnp.eye(2, 3), (frames, 1, 1)),
        layers=layers, light=jnp.ones((frames, 3)), noise_strength=zero, noise_offsets=jnp.zeros((frames, 2), int),
        grade=jnp.eye(3, 4), blur=zero, quality=zero, exposure=zero, pixel=zero, lights=None, clouds=None,
        width=SIDE, height=SIDE,
    )  # fmt: skip
    return scene, jnp.broadcast_to(polygons.reshape(-1, 2), (3, 240, 2))


def test_a_box_encloses_what_is_drawn_of_the_target_inside_the_frame():
    scene, outlines = white_star()
    tables = hosts.tables()
    boxes, visible = jax.jit(lambda scene: target_boxes(scene, outlines, SLOTS, tables.fields))(scene)
    assert np.isfinite(boxes).all()
    assert visible.tolist() == [False, True, True, False, False, False, False]
    hidden = scene.layers.present.at[SLOTS.occluders.start].set(False)
    scene = scene.replace(layers=scene.layers.replace(present=hidden))
    plain = Effects.of(Options(bending=0, blur=0, sensor_noise=0, compression=0))
    draw = jax.jit(lambda scene, frame: render(scene, View(frame, 0.0, 0.0, 4.0), 4 * SIDE, tables, plain))
    for frame in range(4):
        rows, columns = np.nonzero(np.asarray(draw(scene, frame))[..., 0] > 100)
        drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 4
        x, y, w, h = np.asarray(boxes[frame])
        np.testing.assert_allclose([x, y, x + w, y + h], drawn, atol=1.2)  # the tips of the rays are thin
