"""Scenes of the host as scenes of the device, for tests that compare the two."""

import jax.numpy as jnp
import numpy as np

from relo_jax.data.synthetic import spray, textures
from relo_jax.data.synthetic.device import assets, camera, texels
from relo_jax.data.synthetic.device.lighting import MOST, Lights
from relo_jax.data.synthetic.device.scene import Layers, Scene
from relo_jax.data.synthetic.device.spray import MOST as MOST_CLOUDS
from relo_jax.data.synthetic.device.spray import Clouds
from relo_jax.data.synthetic.lighting import KINDS, WAVES, Light
from relo_jax.data.synthetic.scene import Scene as HostScene
from relo_jax.data.synthetic.spray import Cloud


def tables(noise: np.ndarray | None = None) -> camera.Tables:
    """The tables that rendering needs."""
    noise = textures.bank(0, 8).noise if noise is None else noise
    return camera.Tables(jnp.asarray(noise), jnp.asarray(assets.bend_fields()))


def on_device(scene: HostScene) -> Scene:
    """The host's scene as arrays."""
    frames = len(scene)
    of_frames = lambda x, missing: np.full(frames, missing) if x is None else x
    layers = Layers(
        pieces=jnp.stack([texels.pyramid(jnp.asarray(k.cutout.levels[0], jnp.float32)) for k in scene.layers]),
        maps=jnp.asarray(np.stack([k.maps for k in scene.layers], 1), jnp.float32),
        gain=jnp.asarray(np.stack([of_frames(k.gain, 1.0) for k in scene.layers], 1), jnp.float32),
        bending=jnp.asarray(np.stack([of_frames(k.bending, 0.0) for k in scene.layers], 1), jnp.float32),
        field=jnp.asarray([k.field for k in scene.layers]),
        turn=jnp.asarray(np.stack([of_frames(k.turn, 0.0) for k in scene.layers], 1), jnp.float32),
        turns=jnp.asarray([k.turn is not None for k in scene.layers]),
        depth=jnp.arange(len(scene.layers), dtype=jnp.float32),
        present=jnp.ones(len(scene.layers), bool),
    )
    light = np.broadcast_to(scene.light.reshape(frames, -1), (frames, 3))
    number = lambda x: jnp.asarray(x, jnp.float32)
    return Scene(
        background=jnp.asarray(texels.pack(scene.background).reshape(-1)),
        background_maps=number(scene.background_maps), layers=layers, light=number(light),
        noise_strength=number(scene.sensor_noise_strength), noise_offsets=jnp.asarray(scene.noise_offsets),
        grade=number(scene.grade), blur=number(scene.blur), quality=number(scene.quality),
        exposure=number(scene.exposure), pixel=number(scene.pixel), lights=lights(scene), clouds=clouds(scene),
        width=scene.width, height=scene.height,
    )  # fmt: skip


def lights(scene: HostScene) -> Lights:
    """The lights of the host's scene; slots without one have the colour 1."""
    missing = Light("edge", np.repeat(np.eye(2, 3)[None], len(scene), 0), np.ones(3), 1.0, np.zeros((WAVES, 3)))
    every = (*scene.lights, *(missing for _ in range(MOST - len(scene.lights))))
    stack = lambda name, axis=0: jnp.asarray(np.stack([getattr(k, name) for k in every], axis), jnp.float32)
    kind = jnp.asarray([KINDS.index(k.kind) for k in every])
    return Lights(kind, stack("maps", 1), stack("color"), stack("softness"), stack("waves"))


def clouds(scene: HostScene) -> Clouds:
    """The clouds of the host's scene; slots without one have the opacity 0."""
    still = np.repeat(np.eye(2, 3)[None], len(scene), 0)
    missing = Cloud(still, np.zeros(len(scene)), np.ones(3), 0.5, 1.0, np.zeros((spray.WAVES, 4)))
    every = (*scene.clouds, *(missing for _ in range(MOST_CLOUDS - len(scene.clouds))))
    stack = lambda name, axis=0: jnp.asarray(np.stack([getattr(k, name) for k in every], axis), jnp.float32)
    return Clouds(
        stack("maps", 1), stack("opacity", 1), stack("color"), stack("roughness"), stack("softness"), stack("waves")
    )
