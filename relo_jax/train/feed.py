"""Batches on their way to the devices: read, placed with the clips along the mesh axis `data`."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from relo_jax.errors import UserError


def make_mesh(batch_size):
    """All devices along `data`; `model` is there for parameters too large for one device and has size 1.

    Raises:
      UserError: the batch cannot be split evenly.
    """
    devices = jax.device_count()
    if batch_size % devices:
        raise UserError(f"config.batch_size={batch_size} does not divide over {devices} devices: give a multiple")
    return jax.make_mesh((devices, 1), ("data", "model"), axis_types=(AxisType.Auto, AxisType.Auto))


@dataclasses.dataclass
class Batch:
    """A batch on the device, with what the host knows of it."""

    arrays: dict[str, jax.Array]
    index: np.ndarray  # [B], which clips
    position_before: Any  # of the data iterator
    position_after: Any


class Feed:
    """Batches of a Grain dataset on the devices, each with its position in the data.

    Args:
      dataset: of `relo_jax.data.pipeline.make_dataset`.
      mesh: of `make_mesh`.
      position: where to go on, a Batch's `position_after`; None is the beginning.
    """

    def __init__(self, dataset, mesh, position=None):
        self._sharding = NamedSharding(mesh, PartitionSpec("data"))
        self._iterator = iter(dataset)
        if position is not None:
            self._iterator.set_state(position)
        self._position = self._iterator.get_state()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._iterator.close()

    def __iter__(self):
        return self

    def __next__(self):
        arrays = dict(next(self._iterator))
        index = arrays.pop("index")
        before, self._position = self._position, self._iterator.get_state()
        place = lambda x: jax.make_array_from_process_local_data(self._sharding, x)
        return Batch({name: place(x) for name, x in arrays.items()}, index, before, self._position)
