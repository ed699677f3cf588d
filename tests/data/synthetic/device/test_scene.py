"""The device's pictures are the host's, effect by effect."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.device.cast import Slots
from relo_jax.data.synthetic.device.scene import Effects, View, render
from relo_jax.data.synthetic.procedural import Procedural
from relo_jax.data.synthetic.scene import render as render_on_host
from tests.data.synthetic.device import hosts

SIZE, FRAME, CORNER = 32, 20, (60.0, 40.0)
CLEAN = dict(exposure=0.0, pixel=0.0, quality=0, blur=0.0, sensor_noise_strength=0.0, lights=(), clouds=())
# Largest mean and 99th percentile of the differences, in grey levels. Compression rounds, so that a hair's breadth can
# become a step; the host interpolates twice where things are smeared.
EFFECTS = {
    "nothing": ({}, 0.2, 2),
    "blur": ({"blur": 1.0}, 0.2, 2),
    "pixel": ({"pixel": 6.0}, 0.4, 2),
    "noise": ({"sensor_noise_strength": 0.15}, 0.2, 2),
    "compression": ({"quality": 30}, 1.6, 24),
    "exposure": ({"exposure": 0.7}, 2.0, 16),
    "lights": ({"lights": "those of the scene"}, 0.3, 2),
    "clouds": ({"clouds": "those of the scene"}, 0.3, 2),
    "clouds in light": ({"lights": "those of the scene", "clouds": "those of the scene"}, 0.3, 2),
    "turning": ({"turn": np.linspace(0, 2.5, 40)}, 0.3, 3),
}


@pytest.fixture(scope="module")
def scene():
    options = Options(num_frames=40, bank_size=8, switch=1.0, bending=8.0, lighting=1.0, spray=1.0)
    return Procedural(0, "train", options).scene(2)


@pytest.fixture(scope="module")
def draw(scene):
    tables = hosts.tables(scene.sensor_noise)
    view = View(np.int32(FRAME), *np.float32([*CORNER, 0.3]))
    return jax.jit(lambda scene: render(scene, view, SIZE, tables, Effects()))


@pytest.mark.parametrize("effect", EFFECTS)
def test_a_picture_is_the_hosts(scene, draw, effect):
    changed, mean, most = EFFECTS[effect]
    changed = dict(changed)
    changed |= {name: getattr(scene, name) for name in ("lights", "clouds") if name in changed}
    if "turn" in changed:
        turn = changed.pop("turn")
        changed["layers"] = tuple(replace(layer, turn=turn) for layer in scene.layers)
    scene = replace(scene, **CLEAN | changed)
    expected = render_on_host(scene, FRAME, *CORNER, 0.3, SIZE, SIZE)
    difference = np.abs(np.asarray(draw(hosts.on_device(scene))).astype(int) - expected)
    assert difference.mean() < mean and np.percentile(difference, 99) <= most
    assert expected.std() > 10


@pytest.mark.parametrize(
    ("option", "effect"),
    [
        ("bending", "bending"), ("turning", "turning"), ("lighting", "lighting"), ("spray", "spray"),
        ("blur", "optics"), ("pixel", "optics"), ("sensor_noise", "noise"), ("night", "noise"),
        ("compression", "compression"),
    ],
)  # fmt: skip
def test_a_program_leaves_out_only_what_the_options_never_show(option, effect):
    nothing = Options(bending=0, sensor_noise=0, blur=0, compression=0)
    assert not getattr(Effects.of(nothing), effect)
    assert getattr(Effects.of(replace(nothing, **{option: 0.1})), effect)


@pytest.mark.parametrize("options", [Options(), Options(limbs=5), Options(distractors=9), Options(limbs=0)])
def test_a_view_has_room_for_the_targets_body_and_all_but_one_of_what_may_be_in_front_of_it(options):
    slots = Slots.of(options)
    roles = (slots.distractors, slots.body, slots.limbs, slots.occluders, slots.shadow)
    assert Effects.of(options).layers >= sum(role.stop - role.start for role in roles) - 1
