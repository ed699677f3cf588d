"""Moves batches to the devices: reads them, counts failures, and splits clips and frames over the mesh."""

import dataclasses
import sys
from typing import Self

import grain
import jax
import numpy as np
from jax.sharding import Mesh

from relo_jax.bars import tqdm
from relo_jax.data.clips.failures import ReadFailures
from relo_jax.data.clips.pipeline import Batches
from relo_jax.train.distributed import assert_same_on_hosts
from relo_jax.train.mesh import batch_sharding, rows_of_host


@dataclasses.dataclass
class Batch:
    """A batch on the devices, with its clips and its position in the data."""

    arrays: dict[str, jax.Array]
    index: np.ndarray  # [B], the clips
    position_before: dict
    position_after: dict

    def without_arrays(self) -> Self:
        """The same without what takes memory on the devices."""
        return dataclasses.replace(self, arrays={})


class Feed:
    """Iterates over batches on the devices, each with its position: the number of batches before it.

    Args:
      batches: as `relo_jax.data.clips.pipeline.make_dataset` returns them.
      mesh: see `relo_jax.train.mesh.make_mesh`.
      position: where to continue, the `position_after` of a Batch; None starts at the beginning.
      epoch: number of clips after which a report of the clips read is printed, as it is at the end; the data sets are
        reported at the beginning. None prints nothing.

    Raises:
      UserError: the processes of the run do not have the same data sets.
    """

    def __init__(self, batches: Batches, mesh: Mesh, position: dict | None = None, epoch: int | None = None):
        self._mesh, self._rows = mesh, rows_of_host(mesh, batches.batch_size)
        self._next = position["next_index"] if position else 0
        self.fingerprint = batches.source.fingerprint()
        assert_same_on_hosts(
            "data sets",
            self.fingerprint,
            "copy them anew to the hosts that differ; relo data check says what is missing",
        )
        self._batches = batches
        self._iterator: grain.DatasetIterator | None = None
        self._batch_size, self._epoch = batches.batch_size, epoch
        if epoch and jax.process_index() == 0:
            for line in batches.source.report():
                tqdm.write(line, file=sys.stderr)
            if position and position.get("data", self.fingerprint) != self.fingerprint:
                warning = "the data sets changed since the last checkpoint: from here on the run reads other clips"
                tqdm.write(warning, file=sys.stderr)
        self._failures = ReadFailures([part.name for part in batches.source.parts])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error) -> None:
        if self._iterator is not None:
            self._iterator.close()
        if self._epoch and self._failures.clips:
            self._report("begun")

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        """Reads and places a batch. Raises UserError if too many clips failed, see `ReadFailures.add`."""
        if self._iterator is None:  # not earlier: a finished run reads nothing
            self._iterator = self._batches.starting_at(self._next, self._rows)
        arrays = dict(next(self._iterator))
        del arrays["index"]
        before, self._next = self._next, self._next + 1
        self._failures.add(*(arrays.pop(name) for name in ("dataset", "failed", "note")))
        if self._epoch and self._epochs(self._next) > self._epochs(before):
            self._report("done")
        with jax.transfer_guard_host_to_device("allow"):  # with several hosts the guard would forbid this transfer
            placed = {name: self._place(name, x) for name, x in arrays.items()}
        position = lambda batches: {"next_index": batches, "data": self.fingerprint}
        index = before * self._batch_size + np.arange(self._batch_size)
        return Batch(placed, index, position(before), position(self._next))

    def _place(self, name, local):
        """The array of all hosts' clips, of which `local` has those of this host, each with all of its frames."""

        def part(index):
            rows = range(self._batch_size)[index[0]]
            first = int(np.searchsorted(self._rows, rows[0]))  # the clips of a device are neighbours
            return local[(slice(first, first + len(rows)), *index[1:])]

        shape = (self._batch_size, *local.shape[1:])
        return jax.make_array_from_callback(shape, batch_sharding(name, self._mesh), part)

    def _epochs(self, batches):
        return batches * self._batch_size // self._epoch

    def _report(self, state):
        """Prints the clips that this host read since the last report; `state` is "done" or "begun", of the epoch."""
        clips = self._next * self._batch_size
        epoch = clips // self._epoch + (state == "begun")
        host = f", host {jax.process_index()}" if jax.process_count() > 1 else ""
        title = f"data, epoch {epoch} {state}, up to clip {clips:,}{host}"
        tqdm.write(self._failures.report(title), file=sys.stderr)
