"""The devices of a run as a mesh of named axes, and the placement of arrays on it.

The clips of a batch are split over the axis `data`. Parameters and optimiser state are replicated on every device. With
`config.mesh.shard_params = "fsdp"`, each large array is split over `data` and `model` instead (fully sharded data
parallelism; Rajbhandari et al., 2020, "ZeRO"): a device holds its part and fetches the rest layer by layer. The results
do not change: XLA's partitioner inserts the communication, and every mean is over the global batch.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from relo_jax.errors import UserError

Tree = TypeVar("Tree")
DATA, MODEL = "data", "model"
SMALLEST = 2**16  # elements; smaller arrays are replicated, as fetching them costs more than keeping them


def make_mesh(config: ConfigDict, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh that a config asks for, `data` x `model`.

    Args:
      config: the run's config; reads `mesh`, `batch_size` and `accumulate_steps`.
      devices: those to use; all of the run's by default.

    Raises:
      UserError: the devices do not form this mesh, or the batch does not divide evenly over them.
    """
    devices = jax.devices() if devices is None else devices
    count, model = len(devices), config.mesh.model
    data = count // model if config.mesh.data == -1 else config.mesh.data
    if data * model != count:
        raise UserError(
            f"config.mesh.data={config.mesh.data} times config.mesh.model={model} is not {count}, the number of "
            "devices: data=-1 takes all that model leaves"
        )
    if jax.local_device_count() % model and jax.process_count() > 1:
        raise UserError(
            f"config.mesh.model={model} does not divide the {jax.local_device_count()} devices of one process: "
            "each process needs clips of its own"
        )
    parts = data * config.accumulate_steps
    if config.batch_size % parts:
        times = f" times accumulate_steps={config.accumulate_steps}" if config.accumulate_steps > 1 else ""
        raise UserError(
            f"config.batch_size={config.batch_size} does not divide over {data} devices{times}: "
            f"give a multiple of {parts}"
        )
    return jax.make_mesh((data, model), (DATA, MODEL), axis_types=(AxisType.Auto,) * 2, devices=devices)


def spec(shape: tuple[int, ...], mesh: Mesh | AbstractMesh, shard_params: str) -> PartitionSpec:
    """How an array of the train state is placed: split along its largest divisible axes, or replicated.

    Args:
      shape: of the array.
      mesh: as `make_mesh` returns it, or its abstract mesh.
      shard_params: "none" or "fsdp", as in `config.mesh`.
    """
    axes: list[str | None] = [None] * len(shape)
    if shard_params == "fsdp" and math.prod(shape) >= SMALLEST:
        for name in (DATA, MODEL):
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
