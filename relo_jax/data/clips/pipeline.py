"""From a config to batches: sequences -> clips -> Grain, deterministic by index, and able to start at any batch.

    batches = make_dataset(config, model.config)
    for batch in batches.starting_at(step): ...

Every clip is a function of (seed, index) and draws its frames at random, so no further shuffling is needed. Batch k
consists of clips k B to (k + 1) B - 1, and each host reads those that its devices need. The number of batches is
therefore the whole position of a run in its data, whatever the number of hosts, threads or worker processes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path

import cv2
import grain
import numpy as np
from ml_collections import ConfigDict

from relo_jax.bars import tqdm
from relo_jax.config.data_options import CLIP_FIELDS, ClipOptions, Options
from relo_jax.config.model_config import ModelConfig
from relo_jax.data.clips.source import ClipSource, MixturePart, Sequences
from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.folder import read_folder
from relo_jax.data.datasets.index import DEFAULT_CACHE, IndexedDataset, open_dataset
from relo_jax.data.datasets.layout import ENVIRONMENT, DatasetLayout
from relo_jax.data.records.read import is_built, open_built
from relo_jax.data.synthetic.photos import read_photos
from relo_jax.data.synthetic.procedural import Procedural
from relo_jax.errors import UserError

HELDOUT_SEED = 7_919  # held-out clips do not depend on `data.seed`, so that runs can be compared


@dataclass(frozen=True)
class Batches:
    """Endless batches of a clip source: dicts of numpy arrays with a leading axis of clips, for this host.

    Attributes:
      source: the clips.
      batch_size: B, over all hosts.
      threads: that read clips, in this process or in each worker process.
      processes: worker processes, which make whole batches; 0 for none.
    """

    source: ClipSource
    batch_size: int
    threads: int = 2
    processes: int = 0

    @property
    def read_ahead(self) -> int:
        """An upper limit on the batches that are read in advance."""
        if self.processes:
            return self.processes * (self.threads + 4)  # those of a worker's threads, and Grain's own buffers
        return 1 + -(-max(2 * self.threads, self.batch_size) // self.batch_size)

    def describe(self, index: int) -> str:
        """The name of the sequence of clip `index`."""
        return self.source.describe(index)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self.starting_at(0)

    def starting_at(self, batch: int, rows: Sequence[int] | None = None) -> grain.DatasetIterator:
        """Iterates over batches (dicts of arrays) from number `batch` on.

        Starts threads and processes, which the iterator's `close()` ends.

        Args:
          batch: number of the first.
          rows: the clips of each batch to read, see `relo_jax.train.mesh.rows_of_host`; None: all.
        """
        rows = tuple(range(self.batch_size) if rows is None else rows)
        share = len(rows)
        dataset = grain.MapDataset.source(HostShard(self.source, self.batch_size, batch, rows))
        if not self.processes:
            _disable_opencv_threads()
            ahead = max(2 * self.threads, share) if self.threads else 0
            dataset = dataset.to_iter_dataset(grain.ReadOptions(num_threads=self.threads, prefetch_buffer_size=ahead))
            return iter(dataset.batch(share, drop_remainder=True))
        # Workers make whole batches: to stack single clips in this process is slower than to draw them in many.
        mark_flags_as_parsed()
        reading = grain.ReadOptions(num_threads=self.threads, prefetch_buffer_size=self.threads)
        dataset = dataset.batch(share, drop_remainder=True).to_iter_dataset(reading)
        workers = grain.MultiprocessingOptions(self.processes, per_worker_buffer_size=1)
        iterator = iter(dataset.mp_prefetch(workers, worker_init_fn=_begin_worker))
        with _children_ignore_signals():
            iterator.get_state()  # creates the workers; `start_prefetch` does nothing without them
            iterator.start_prefetch()
        return iterator


@dataclass(frozen=True)
class HostShard:
    """The clips of one host: its rows of every batch from number `batch` on.

    A clip therefore has the same row of the batch with any number of hosts, and the same random numbers in the model.
    """

    source: ClipSource
    batch_size: int
    batch: int
    rows: tuple[int, ...]

    def __len__(self) -> int:
        return (len(self.source) // self.batch_size - self.batch) * len(self.rows)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        batch, row = divmod(int(index), len(self.rows))
        return self.source[(self.batch + batch) * self.batch_size + self.rows[row]]


def make_dataset(
    config: ConfigDict,
    model: ModelConfig,
    stage: str | None = None,
    *,
    train: bool = True,
    cache: str | Path = DEFAULT_CACHE,
) -> Batches:
    """The batches of a run's config, of `config.batch_size` clips over all hosts. Arguments as of `clip_source`.

    Raises:
      UserError: see `clip_source`.
    """
    source = clip_source(config, model, stage, train=train, cache=cache)
    # Threads read the few held-out clips: a second set of worker processes has hung in busy runs.
    return batches(source, config.batch_size, config.data.workers, config.data.processes if train else 0)


def batches(source: ClipSource, batch_size: int, threads: int, processes: int = 0) -> Batches:
    """Batches of a clip source, `batch_size` over all hosts."""
    return Batches(source, batch_size, threads, processes)


def clip_source(
    config: ConfigDict,
    model: ModelConfig,
    stage: str | None = None,
    *,
    train: bool = True,
    cache: str | Path = DEFAULT_CACHE,
) -> ClipSource:
    """The clips of `config.data`.

    Args:
      config: of a run.
      model: sets the number of templates and the crop sizes.
      stage: "warmup" or "rl", sets the length of clips; None: `config.stage`.
      train: False for held-out clips.
      cache: folder for the indices of datasets.

    Raises:
      UserError: see `parts`.
    """
    options, data = clip_options(config, model, stage or config.stage), config.data
    return ClipSource(parts(data, train=train, cache=cache), options, data.seed if train else HELDOUT_SEED)


def clip_options(config: ConfigDict, model: ModelConfig, stage: str) -> ClipOptions:
    """Which crops the clips of a stage have, and how they vary."""
    return ClipOptions(
        templates=model.templates,
        frames=config.warmup.search_frames if stage == "warmup" else config.rl.clip_length,
        template_size=model.template_size,
        search_size=model.search_size,
        closed_loop=stage == "rl" and config.rl.rollout == "closed_loop",
        **{name: config.data[name] for name in CLIP_FIELDS},
    )


def parts(data: ConfigDict, *, train: bool = True, cache: str | Path = DEFAULT_CACHE) -> list[MixturePart]:
    """The datasets of `config.data` with their weights; with `train=False`, their held-out sequences.

    Held-out clips come from the datasets that publish held-out sequences with boxes and whose files are here; a line on
    stderr names each of the others. If there is no such dataset, held-out clips come from the training sequences.

    Raises:
      UserError: a dataset is missing, or has no training sequences.
    """
    names = data.name.split("+")
    weights = data.weights or (1.0,) * len(names)
    if train:
        return [MixturePart(n, sequences(n, data, True, cache), w) for n, w in zip(names, weights, strict=True)]
    held_out = []
    for name, weight in zip(names, weights, strict=True):
        try:
            if weight:  # if the other datasets have no held-out sequences, weights that are all 0 would remain
                held_out.append(MixturePart(name, sequences(name, data, False, cache), weight))
        except NoHeldOut as error:
            tqdm.write(f"held-out clips without {name}: {error}", file=sys.stderr)
    if not held_out:
        tqdm.write("no held-out sequences: held-out clips come from the training sequences", file=sys.stderr)
    return held_out or parts(data, train=True, cache=cache)


class NoHeldOut(UserError):
    """A dataset has no held-out sequences, or their files are missing."""


def sequences(name: str, data: ConfigDict, train: bool = True, cache: str | Path = DEFAULT_CACHE) -> Sequences:
    """The sequences of one dataset.

    Args:
      name: as in `config.data.name`, possibly with a split: "got10k/train".
      data: `config.data`.
      train: False for held-out sequences.
      cache: folder for the indices of datasets.

    Raises:
      NoHeldOut: `train` is False, and there are no held-out sequences.
      UserError: the dataset is missing or is for evaluation only.
    """
    split, seed = ("train", data.seed) if train else ("heldout", 0)
    if name == "procedural":
        return Procedural(seed, split, Options(**data.procedural))
    if name == "photos":
        return read_photos(data.root, seed, split, Options(**data.procedural))
    if name == "folder":
        # No frame is kept: frames are drawn at random, so they would fill the memory and rarely be used again.
        return read_folder(data.root, one_based=data.one_based, cache=0).split(train)
    name, _, chosen = name.partition("/")
    layout = layouts.dataset_layout(name, data.coco_smallest_side)
    if train:
        train_split = chosen or layout.train
        if train_split is None:
            raise UserError(
                f"{layout.title} is for evaluation only; to train on it anyway: {name}/{next(iter(layout.splits))}"
            )
        return _open(layout, train_split, data.root, cache)
    if layout.heldout is None:
        raise NoHeldOut(f"{layout.title} publishes none with boxes")
    try:
        return _open(layout, layout.heldout, data.root, cache)
    except UserError as error:
        raise NoHeldOut(str(error)) from None


def _open(layout: DatasetLayout, split: str, root: str | None, cache: str | Path) -> IndexedDataset:
    """Opens the records that `relo data build` wrote, if there are any, or the dataset's folders."""
    root = root or os.environ.get(ENVIRONMENT)
    if root and is_built(root, layout.name):
        return open_built(root, layout.name, split, cache, layout.smallest_side)
    return open_dataset(layout, split, root, cache)


def mark_flags_as_parsed() -> None:
    """Tells absl that there are no flags: Grain's worker processes read absl flags, which only absl's `run` parses."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS(sys.argv[:1])


@contextlib.contextmanager
def _children_ignore_signals() -> Iterator[None]:
    """Blocks SIGINT and SIGTERM for threads and processes that start in the block.

    Terminals and batch systems send these signals to all processes, but only the training process should react. A
    worker that ignored them by its own code would do so only after its imports, seconds later. Workers still end with
    the training process: Grain kills them, or `_begin_worker` notices that their parent is gone.
    """
    resource_tracker.ensure_running()  # if it started in the block, it would unblock the signals again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(*_) -> None:
    """Makes a worker process end with the process that started it, even if that was killed."""
    _disable_opencv_threads()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)


def _disable_opencv_threads() -> None:
    """OpenCV's threads would compete with the training for cores."""
    cv2.setNumThreads(0)
