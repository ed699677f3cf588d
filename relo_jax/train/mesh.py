"""The devices of a run as a mesh of named axes, and the placement of arrays on it.

The clips of a batch are split over the axis `data`, and the frames of a clip over `frames` (`relo_jax.model.split`): 16
clips of 8 frames fill 128 devices. Parameters and optimiser state are replicated on every device. With
`config.mesh.shard_params = "fsdp"`, each large array is split over both axes instead (fully sharded data parallelism;
Rajbhandari et al., 2020, "ZeRO"): a device holds its part and fetches the rest layer by layer. The results do not
change: XLA's partitioner inserts the communication, and every mean is over the global batch.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from relo_jax.errors import UserError
from relo_jax.model.split import DATA, FRAMES

Tree = TypeVar("Tree")
SMALLEST = 2**16  # elements; smaller arrays are replicated, as fetching them costs more than keeping them
_BY_FRAME = ("search_images", "search_boxes_xywh")  # arrays [B, T, ...] of a batch


def make_mesh(config: ConfigDict, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh that a config asks for, `data` x `frames`. The frames of a clip are on as few hosts as possible.

    Args:
      config: the run's config; reads `mesh`, the size of batches and clips, and how clips are encoded.
      devices: those to use; all of the run's by default.

    Raises:
      UserError: the devices do not form this mesh, or clips or frames do not divide evenly over them.
    """
    devices = jax.devices() if devices is None else devices
    shape = _shape(config, len(devices))
    names, types = (DATA, FRAMES), (AxisType.Auto, AxisType.Auto)
    if shape[1] == 1:  # in the order that suits the network between the devices
        return jax.make_mesh(shape, names, axis_types=types, devices=devices)
    by_host = sorted(devices, key=lambda device: device.process_index)
    return Mesh(np.array(by_host).reshape(shape), names, axis_types=types)


def _shape(config, count):
    """The sizes of `data` and `frames`. Raises UserError."""
    data, frames = config.mesh.data, config.mesh.frames
    clips, parts = config.batch_size, config.accumulate_steps
    field = "warmup.search_frames" if config.stage == "warmup" else "rl.clip_length"
    length = config.warmup.search_frames if config.stage == "warmup" else config.rl.clip_length
    reason = _whole_clips(config)
    fits = lambda data, frames: clips % (data * parts) == 0 and (frames == 1 if reason else length % frames == 0)
    if data == frames == -1:
        shapes = ((d, count // d) for d in range(count, 0, -1) if count % d == 0)
        data, frames = next((shape for shape in shapes if fits(*shape)), (count, 1))
    data, frames = (count // frames if data == -1 else data), (max(1, count // data) if frames == -1 else frames)
    if data * frames != count:
        raise UserError(
            f"config.mesh.data={config.mesh.data} times config.mesh.frames={config.mesh.frames} is not {count}, the "
            "number of devices: -1 takes all that the other leaves"
        )
    if clips % (data * parts):
        times = f" times accumulate_steps={parts}" if parts > 1 else ""
        smallest = parts * (data if config.mesh.data != -1 or reason else count // math.gcd(count, length))
        raise UserError(
            f"config.batch_size={clips} does not divide over {data} devices{times}: give a multiple of {smallest}"
        )
    if reason and frames > 1:
        raise UserError(f"config.mesh.frames={frames} splits the frames of a clip, but {reason}: set it to 1")
    if length % frames:
        raise UserError(
            f"config.mesh.frames={frames} does not divide config.{field}={length}, the frames of a clip: give "
            f"{' or '.join(str(n) for n in range(1, length + 1) if length % n == 0)}"
        )
    return data, frames


def _whole_clips(config):
    """Why the frames of a clip go one after the other, so that a device must have all of them; "" if they do not."""
    frozen = config.rl.train == "heads" if config.stage == "rl" else config.warmup.train == "center"
    if config.model.propagation == "deep_to_shallow":
        return "config.model.propagation=deep_to_shallow computes them one after the other"
    if config.stage == "rl" and config.rl.rollout == "closed_loop":
        return "config.rl.rollout=closed_loop computes them one after the other"
    if frozen and config.rl.path == "frame":
        return "config.rl.path=frame computes them one after the other"
    return ""


def batch_sharding(name: str, mesh: Mesh) -> NamedSharding:
    """How an array of a batch is placed: split by clips, and by frames if it has them."""
    return NamedSharding(mesh, PartitionSpec(DATA, FRAMES) if name in _BY_FRAME else PartitionSpec(DATA))


def place(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """A whole batch of this process on its devices."""
    return {name: jax.device_put(x, batch_sharding(name, mesh)) for name, x in batch.items()}


def rows_of_host(mesh: Mesh, batch_size: int) -> list[int]:
    """The clips of a batch that the devices of this process need, as sorted rows of it.

    Hosts that share the frames of a clip have the same clip, and use their own frames of it.
    """
    at = [row for row, of_clip in enumerate(mesh.devices) if any(_is_here(device) for device in np.ravel(of_clip))]
    return np.arange(batch_size).reshape(len(mesh.devices), -1)[at].ravel().tolist()


def _is_here(device):
    return device.process_index == jax.process_index()


def spec(shape: tuple[int, ...], mesh: Mesh | AbstractMesh, shard_params: str) -> PartitionSpec:
    """How an array of the train state is placed: split along its largest divisible axes, or replicated.

    Args:
      shape: of the array.
      mesh: as `make_mesh` returns it, or its abstract mesh.
      shard_params: "none" or "fsdp", as in `config.mesh`.
    """
    axes: list[str | None] = [None] * len(shape)
    if shard_params == "fsdp" and math.prod(shape) >= SMALLEST:
        for name in (DATA, FRAMES):
            size = mesh.shape[name]
            free = [axis for axis, length in enumerate(shape) if axes[axis] is None and length % size == 0]
            if size > 1 and free:
                axes[max(free, key=lambda axis: shape[axis])] = name
    return PartitionSpec(*axes)


def shardings(tree: Tree, mesh: Mesh, shard_params: str) -> Tree:
    """A NamedSharding for each array (or anything with a shape) of a tree, by `spec`."""
    return jax.tree.map(lambda x: NamedSharding(mesh, spec(x.shape, mesh, shard_params)), tree)


def constrain(tree: Tree, shard_params: str) -> Tree:
    """Inside `jit`: keeps the arrays of a tree where `spec` places them. Does nothing if no mesh is set."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return tree
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, spec(x.shape, mesh, shard_params)), tree)


def split_batch(batch: Tree, count: int, group: int = 1) -> Tree:
    """`[B, ...]` -> `[count, B / count, ...]`. Each part has clips of every device, so no data move.

    Args:
      group: clips that stay together; if a device has less than `count` groups, data do move.
    """

    def split(x):
        parts = x.reshape(x.shape[0] // (count * group), count, group, *x.shape[1:]).swapaxes(0, 1)
        return parts.reshape(count, -1, *x.shape[1:])

    return jax.tree.map(split, batch)


def join_batch(parts: Tree) -> Tree:
    """The inverse of `split_batch`."""
    return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), parts)
