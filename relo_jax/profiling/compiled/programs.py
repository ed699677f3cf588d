"""What is compiled: the update of a training run, a frame of tracking, a frame of many videos. From shapes alone."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, SingleDeviceSharding
from ml_collections import ConfigDict

from relo_jax.data.clips.plan import CANVAS_FACTOR
from relo_jax.geometry.crop import SEARCH_FACTOR
from relo_jax.model import RELO, init_variables, platform
from relo_jax.model.folding import fold
from relo_jax.model.inference import FOLDED
from relo_jax.model.precision import cast_kernels
from relo_jax.profiling.flops import matmul_flops
from relo_jax.tracking import programs as tracking
from relo_jax.tracking.patches import bucket_side
from relo_jax.train import rl, warmup
from relo_jax.train.mesh import batch_sharding, make_mesh, shardings
from relo_jax.train.state import create_state, optimizer

_STAGES = {"warmup": warmup, "rl": rl}
Shapes = Any  # a tree of jax.ShapeDtypeStruct


@dataclasses.dataclass(frozen=True)
class Program:
    """A jitted function and the arguments to compile it for.

    Attributes:
      function: of `jax.jit`.
      arguments: shapes with their shardings, and static values.
      mesh: to be set while it is traced; None: one device.
      devices: their number.
      model_flops: of the matrix products and convolutions that the Python code asks for, over all devices.
    """

    function: Any
    arguments: tuple
    mesh: Mesh | None
    devices: int
    model_flops: int


def update(config: ConfigDict, devices: Sequence[jax.Device]) -> Program:
    """The update of a training run, placed as `relo train` places it.

    Args:
      config: of the run, valid.
      devices: to compile for.

    Raises:
      UserError: the batch does not divide over the devices, and what else `make_mesh` and `create_state` refuse.
    """
    model = RELO.from_config(config.model)
    mesh = make_mesh(config, devices)
    key = jax.random.key(config.seed)
    with jax.set_mesh(mesh):
        start = lambda: create_state(config, init_variables(model, key), key)[0]
        state = jax.eval_shape(start)
        state = jax.tree.map(_placed, state, shardings(state, mesh, config.mesh.shard_params))
        clips = {name: _placed(x, batch_sharding(name, mesh)) for name, x in batch(config, model).items()}
        step = _STAGES[config.stage].make_step(model, config, optimizer(config))
        return Program(step, (state, clips), mesh, len(devices), matmul_flops(step, state, clips))


def batch(config: ConfigDict, model: RELO) -> Shapes:
    """The shapes of a training batch, as `relo_jax.data.clips.read` describes them."""
    size, template, templates = model.config.search_size, model.config.template_size, model.config.templates
    frames = config.rl.clip_length if config.stage == "rl" else config.warmup.search_frames
    each = lambda dtype, *shape: jax.ShapeDtypeStruct((config.batch_size, *shape), dtype)
    arrays = {
        "template_images": each(np.uint8, templates, template, template, 3),
        "template_boxes_xywh": each(np.float32, templates, 4),
    }
    if config.stage == "rl" and config.rl.rollout == "closed_loop":
        canvas = int(size * CANVAS_FACTOR / SEARCH_FACTOR)
        return arrays | {
            "canvas_images": each(np.uint8, frames, canvas, canvas, 3),
            "canvas_windows": each(np.float32, frames, 3),
            "frame_sizes": each(np.float32, frames, 2),
            "flips": each(np.bool_, frames),
            "target_boxes_xywh": each(np.float32, frames, 4),
            "start_box_xywh": each(np.float32, 4),
        }
    return arrays | {
        "search_images": each(np.uint8, frames, size, size, 3),
        "search_boxes_xywh": each(np.float32, frames, 4),
    }


def frame(model: RELO, device: jax.Device, height: int = 480, width: int = 640) -> Program:
    """One frame of one video, cut and tracked on the device: what `Tracker.update` runs.

    Call it, like `crops`, while the target is named (`targets.tracing_for`): the form of the network depends on it.

    Args:
      model: the network.
      device: to compile for.
      height, width: of the frame.
    """
    pixels = jax.ShapeDtypeStruct((bucket_side(height * width), 3), np.uint8)
    arrays = pixels, jax.ShapeDtypeStruct((1, len(tracking.PLACE)), np.int32)
    return _tracking(model, device, tracking.track_frame, 1, (*arrays, None))


def crops(model: RELO, device: jax.Device, videos: int) -> Program:
    """One frame of many videos whose search regions are cut: the network, its boxes and the next regions.

    Args:
      model: the network.
      device: to compile for.
      videos: B.
    """
    size = model.config.search_size
    shapes = ((videos, size, size, 3), np.uint8), ((videos,), np.int32), ((videos, 2), np.int32)
    return _tracking(model, device, tracking.track_crop, videos, tuple(jax.ShapeDtypeStruct(*one) for one in shapes))


def _tracking(model: RELO, device: jax.Device, function: Callable, videos: int, arrays: tuple) -> Program:
    """A program of `tracking.programs` with its weights and the state of its targets."""
    variables = _tracking_variables(model)
    side = model.config.template_size
    view = ((side, side, 3), np.uint8), ((4,), np.float32), ((4,), np.float32), ((3,), np.int32)  # of `first_view`
    views = tuple(jax.ShapeDtypeStruct((videos, *shape), dtype) for shape, dtype in view)
    begin = functools.partial(tracking.begin, model, window_power=1.0)
    target = jax.eval_shape(begin, variables, *views)
    where = SingleDeviceSharding(device)
    arguments = jax.tree.map(lambda x: _placed(x, where), (variables, target, *arrays))
    counted = matmul_flops(functools.partial(function, model), *arguments)
    return Program(function, (model, *arguments), None, 1, counted)


def _tracking_variables(model: RELO) -> Shapes:
    """The shapes of `for_tracking`'s variables."""
    variables = jax.eval_shape(lambda: init_variables(model, jax.random.key(0)))
    if not platform.choices().folded:
        return jax.eval_shape(functools.partial(cast_kernels, model), variables)
    zeros = jax.tree.map(lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape), variables)
    return {FOLDED: jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), fold(model.config, zeros))}


def _placed(x: Any, where: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)
