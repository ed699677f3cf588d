"""Batches that the devices draw themselves, for `config.data.renderer = "device"`: no loader, nothing to transfer.

Drawing is a program of its own, which the devices run before each step. A device draws its own clips; those that share
the frames of a clip draw their own frames of it.
"""

import sys
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from relo_jax.bars import tqdm
from relo_jax.config.model_config import ModelConfig
from relo_jax.data.clips import pipeline
from relo_jax.data.clips.drawn import DrawnClips, drawn_clips
from relo_jax.model.split import DATA, FRAMES
from relo_jax.train.feed import Batch, Feed
from relo_jax.train.mesh import batch_sharding


def training_clips(config: ConfigDict, model: ModelConfig, cache: Path) -> pipeline.Batches | DrawnClips:
    """The training clips of a run, read or drawn.

    Args:
      config, model: of the run.
      cache: folder for the indices of datasets.

    Raises:
      UserError: see `relo_jax.data.clips.pipeline.make_dataset`.
    """
    if config.data.renderer == "device":
        return drawn_clips(config, model)
    return pipeline.make_dataset(config, model, cache=cache)


def open_feed(
    clips: pipeline.Batches | DrawnClips, config: ConfigDict, mesh: Mesh, position: dict | None
) -> "Feed | DrawnFeed":
    """The batches of a run from a position on, see the two feeds."""
    if isinstance(clips, DrawnClips):
        return DrawnFeed(clips, config.batch_size, mesh, position)
    return Feed(clips, mesh, position, config.data.epoch)


class DrawnFeed:
    """Iterates over batches on the devices, each with its position, as `relo_jax.train.feed.Feed` does.

    Args:
      clips: see `relo_jax.data.clips.drawn.drawn_clips`.
      batch_size: B, over all hosts.
      mesh: see `relo_jax.train.mesh.make_mesh`.
      position: where to continue, the `position_after` of a Batch; None starts at the beginning.
    """

    def __init__(self, clips: DrawnClips, batch_size: int, mesh: Mesh, position: dict | None = None):
        self._clips, self._batch_size, self._mesh = clips, batch_size, mesh
        self._next = position["next_index"] if position else 0
        self.fingerprint = clips.fingerprint()
        if position and position.get("data", self.fingerprint) != self.fingerprint and jax.process_index() == 0:
            warning = "config.data changed since the last checkpoint: from here on the run draws other clips"
            tqdm.write(warning, file=sys.stderr)
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._draw: Any = None
        self._assets: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error) -> None:
        self._draw = self._assets = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        """Draws a batch; the first call compiles the program, and makes textures and cut-outs."""
        with jax.transfer_guard_host_to_device("allow"):  # with several hosts the guard would forbid these transfers
            if self._draw is None:  # not earlier: a finished run draws nothing
                self._draw = jax.jit(self._program())
                self._assets = jax.tree.map(self._everywhere, self._clips.assets())
            arrays = self._draw(self._everywhere(np.int32(self._next)), self._assets)
        before, self._next = self._next, self._next + 1
        position = lambda batches: {"next_index": batches, "data": self.fingerprint}
        index = before * self._batch_size + np.arange(self._batch_size)
        return Batch(arrays, index, position(before), position(self._next))

    def _everywhere(self, array):
        return jax.make_array_from_callback(array.shape, self._replicated, lambda index: array[index])

    def _program(self):
        """The function that draws a batch, from its number and the assets."""
        data, frames = self._mesh.shape[DATA], self._mesh.shape[FRAMES]
        count = self._batch_size // data

        def of_device(batch, assets):
            first = (batch * data + jax.lax.axis_index(DATA)) * count
            return self._clips.draw(first, count, assets, (jax.lax.axis_index(FRAMES), frames))

        placed = {name: batch_sharding(name, self._mesh).spec for name in self._clips.fields}
        whole = PartitionSpec()
        return jax.shard_map(of_device, mesh=self._mesh, in_specs=(whole, whole), out_specs=placed, check_vma=False)
