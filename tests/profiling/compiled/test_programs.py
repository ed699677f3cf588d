"""The programs that are compiled for other devices are those that run: the same shapes, placed in the same way."""

import dataclasses

import jax
import numpy as np
import pytest

from relo_jax import config as relo_config
from relo_jax.data.clips import pipeline
from relo_jax.errors import UserError
from relo_jax.model import RELO, platform
from relo_jax.model.inference import FOLDED
from relo_jax.model.platform import compiling_for
from relo_jax.profiling.compiled import programs
from tests.model.small import SMALL


@pytest.fixture
def config():
    config = relo_config.paper("rl")
    config.model.update({"variant": "tiny", **SMALL})
    config.batch_size, config.rl.clip_length, config.data.name = 8, 3, "procedural"
    return config


@pytest.mark.parametrize(("stage", "rollout"), [("warmup", ""), ("rl", "teacher_forced"), ("rl", "closed_loop")])
def test_a_batch_has_the_shapes_of_the_pipelines(stage, rollout, config):
    config.stage, config.batch_size = stage, 2
    if rollout:
        config.rl.rollout = rollout
    model = RELO.from_config(config.model)
    made = dict(next(iter(pipeline.make_dataset(config, model.config).starting_at(0))))
    about = {name: made.pop(name) for name in ("index", "dataset", "failed", "note")}
    assert len(about["index"]) == 2
    shapes = lambda tree: {name: (x.shape, np.dtype(x.dtype)) for name, x in tree.items()}
    assert shapes(programs.batch(config, model)) == shapes(made)


def test_the_update_is_that_of_the_run(config):
    """Clips are split over the devices, parameters are not, and it lowers for the devices of this machine."""
    program = programs.update(config, jax.devices())
    state, clips = program.arguments
    assert program.devices == 8 and dict(program.mesh.shape) == {"data": 8, "frames": 1} and program.model_flops > 1e6
    assert clips["search_images"].sharding.shard_shape(clips["search_images"].shape)[0] == 1
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state.params))
    with jax.set_mesh(program.mesh):
        lowered = program.function.trace(*program.arguments).lower()
    assert "mhlo.num_partitions = 8" in lowered.as_text()[:500]
    config.batch_size, config.rl.clip_length = 4, 8
    clips = programs.update(config, jax.devices()).arguments[1]
    shards = {name: x.sharding.shard_shape(x.shape)[:2] for name, x in clips.items()}
    assert shards["search_images"] == shards["search_boxes_xywh"] == (1, 4), "two devices share the frames of a clip"
    assert shards["template_images"][0] == 1
    config.batch_size, config.rl.path = 12, "frame"
    with pytest.raises(UserError, match="does not divide over 8 devices"):
        programs.update(config, jax.devices())


def test_tracking_has_the_form_of_its_platform(monkeypatch):
    model, device = RELO.from_variant("tiny", **SMALL), jax.devices()[0]
    stacked = dataclasses.replace(platform.BY_PLATFORM["cpu"], folded=False)
    monkeypatch.setitem(platform.BY_PLATFORM, "cpu", stacked)
    here = programs.crops(model, device, 1)
    with compiling_for("gpu"):
        many, frame = programs.crops(model, device, 5), programs.frame(model, device)
    assert FOLDED in many.arguments[1] and FOLDED not in here.arguments[1]
    assert many.arguments[2].box_xywh.shape == (5, 4) and frame.arguments[2].box_xywh.shape == (1, 4)
    assert many.model_flops == pytest.approx(5 * here.model_flops, rel=0.05) and frame.model_flops > here.model_flops
