"""Batches on their way to the devices: read, counted, placed with the clips along the mesh axis `data`."""

import dataclasses
import sys

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from tqdm import tqdm

from relo_jax.data.clips.failures import ReadFailures
from relo_jax.train.distributed import assert_same_on_hosts


@dataclasses.dataclass
class Batch:
    """A batch on the device, with what the host knows of it."""

    arrays: dict[str, jax.Array]
    index: np.ndarray  # [B], which clips; of this host
    position_before: dict  # in the data
    position_after: dict


class Feed:
    """Batches on the devices, each with its position in the data: how many batches came before it.

    Args:
      batches: of `relo_jax.data.clips.pipeline.make_dataset`.
      mesh: of `relo_jax.train.mesh.make_mesh`; its axis `data` takes the clips.
      position: where to go on, a Batch's `position_after`; None is the beginning.
      epoch: clips after which an account of them is printed, and at the end, and of the data sets first; None: never.

    Raises:
      UserError: the processes of the run do not see the same data sets.
    """

    def __init__(self, batches, mesh, position=None, epoch=None):
        self._sharding = NamedSharding(mesh, PartitionSpec("data"))
        self._next = position["next_index"] if position else 0
        self._data = batches.source.fingerprint()
        assert_same_on_hosts(
            "data sets", self._data, "copy them anew to the hosts that differ; relo data check says what is missing"
        )
        self._batches, self._iterator = batches, None
        self._batch_size, self._epoch = batches.batch_size, epoch
        if epoch and jax.process_index() == 0:
            for line in batches.source.report():
                tqdm.write(line, file=sys.stderr)
            if position and position.get("data", self._data) != self._data:
                changed = "the data sets changed since the last checkpoint: the clips from here on are not those that "
                tqdm.write(f"{changed}the run would have seen", file=sys.stderr)
        self._account = ReadFailures([part.name for part in batches.source.parts])

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._iterator is not None:
            self._iterator.close()
        if self._epoch and self._account.clips:
            self._report("begun")

    def __iter__(self):
        return self

    def __next__(self):
        """Reads and places a batch; raises UserError when too many clips fail, see `ReadFailures.add`."""
        if self._iterator is None:  # not before: nothing is read for a run that has nothing more to do
            self._iterator = self._batches.starting_at(self._next)
        arrays = dict(next(self._iterator))
        index = arrays.pop("index")
        before, self._next = self._next, self._next + 1
        self._account.add(*(arrays.pop(name) for name in ("dataset", "failed", "note")))
        if self._epoch and self._epochs(self._next) > self._epochs(before):
            self._report("done")
        place = lambda x: jax.make_array_from_process_local_data(self._sharding, x)
        with jax.transfer_guard_host_to_device("allow"):  # over several hosts JAX takes this transfer for an accident
            placed = {name: place(x) for name, x in arrays.items()}
        position = lambda batches: {"next_index": batches, "data": self._data}
        return Batch(placed, index, position(before), position(self._next))

    def _epochs(self, batches):
        return batches * self._batch_size // self._epoch

    def _report(self, state):
        """Prints what this host read since the last report; the epoch is "done" or "begun"."""
        clips = self._next * self._batch_size
        epoch = clips // self._epoch + (state == "begun")
        host = f", host {jax.process_index()}" if jax.process_count() > 1 else ""
        title = f"data, epoch {epoch} {state}, up to clip {clips:,}{host}"
        tqdm.write(self._account.report(title), file=sys.stderr)
