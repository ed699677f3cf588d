"""From a config to batches: sequences -> clips -> Grain, deterministic by index, at any position in no time.

    batches = make_dataset(config, model)
    for batch in batches.starting_at(step): ...

Every clip is a function of (seed, index) and draws its frames at random, so running through the indices in order is
already a shuffled pass. Batch k is clips k B to (k + 1) B - 1, of which every host reads its share; so the number of
batches seen is the whole position of a run, whatever the number of hosts, threads or worker processes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path

import cv2
import grain
import jax
from tqdm import tqdm

from relo_jax.config.data_options import CLIP_FIELDS, ClipOptions, Options
from relo_jax.data.clips.source import ClipSource, MixturePart
from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.folder import read_folder
from relo_jax.data.datasets.index import DEFAULT_CACHE, open_dataset
from relo_jax.data.datasets.layout import ENVIRONMENT
from relo_jax.data.records.read import is_built, open_built
from relo_jax.data.synthetic.photos import read_photos
from relo_jax.data.synthetic.procedural import Procedural
from relo_jax.errors import UserError

HELDOUT_SEED = 7_919  # of held-out clips: the same ones whatever `data.seed` is, so that runs can be compared


@dataclass(frozen=True)
class Batches:
    """Endless batches of a clip source: dicts of numpy arrays with a leading axis B / hosts, this host's share.

    threads read clips; with processes > 0 so many worker processes do, with their own threads, a batch each.
    """

    source: ClipSource
    batch_size: int
    threads: int = 2
    processes: int = 0

    @property
    def read_ahead(self) -> int:
        """How many batches may lie ready, beside the one that is taken."""
        if self.processes:
            return self.processes * (self.threads + 4)  # of a worker its threads', and what Grain hands over
        return 1 + -(-max(2 * self.threads, self.batch_size) // self.batch_size)

    def __iter__(self) -> Iterator[dict]:
        return self.starting_at(0)

    def starting_at(self, batch: int) -> Iterator[dict]:
        """The batches from number `batch` on; threads and processes begin with them, and end at its `close()`."""
        hosts, host = jax.process_count(), jax.process_index()
        share = self.batch_size // hosts
        dataset = grain.MapDataset.source(HostShard(self.source, self.batch_size, batch, host, hosts))
        if not self.processes:
            _no_threads_of_opencv()
            ahead = max(2 * self.threads, share) if self.threads else 0
            dataset = dataset.to_iter_dataset(grain.ReadOptions(num_threads=self.threads, prefetch_buffer_size=ahead))
            return iter(dataset.batch(share, drop_remainder=True))
        # Workers make whole batches: stacking their clips here, one by one, took longer than many of them draw.
        mark_flags_as_parsed()
        reading = grain.ReadOptions(num_threads=self.threads, prefetch_buffer_size=self.threads)
        dataset = dataset.batch(share, drop_remainder=True).to_iter_dataset(reading)
        workers = grain.MultiprocessingOptions(self.processes, per_worker_buffer_size=1)
        iterator = iter(dataset.mp_prefetch(workers, worker_init_fn=_begin_worker))
        with _no_signals_for_what_begins():
            iterator.get_state()  # makes the workers, which the next line would otherwise not find
            iterator.start_prefetch()
        return iterator


@dataclass(frozen=True)
class HostShard:
    """One host's clips: of every batch, from number `batch` on, the block of rows that it places on its devices.

    So a clip has the same row of the batch on any number of hosts, and with it the same random numbers of the model.
    """

    source: ClipSource
    batch_size: int
    batch: int
    host: int
    hosts: int

    def __len__(self) -> int:
        return (len(self.source) // self.batch_size - self.batch) * (self.batch_size // self.hosts)

    def __getitem__(self, index: int) -> dict:
        share = self.batch_size // self.hosts
        batch, row = divmod(int(index), share)
        return self.source[(self.batch + batch) * self.batch_size + self.host * share + row]


def make_dataset(
    config, model, stage: str | None = None, *, train: bool = True, cache: str | Path = DEFAULT_CACHE
) -> Batches:
    """Batches of `config.batch_size` clips over all hosts; `cache` is where indices of datasets are kept.

    Raises:
      UserError: see `clip_source`; a batch that does not divide over the hosts.
    """
    source = clip_source(config, model, stage, train=train, cache=cache)
    # Held-out clips are few: threads read them, since a second set of workers in a run that is busy was seen to hang.
    return batches(source, config.batch_size, config.data.workers, config.data.processes if train else 0)


def batches(source: ClipSource, batch_size: int, threads: int, processes: int = 0) -> Batches:
    """Batches of a clip source, `batch_size` over all hosts.

    Raises:
      UserError: a batch that does not divide over the hosts.
    """
    if batch_size % jax.process_count():
        raise UserError(f"config.batch_size={batch_size} does not divide over {jax.process_count()} processes")
    return Batches(source, batch_size, threads, processes)


def clip_source(
    config, model, stage: str | None = None, *, train: bool = True, cache: str | Path = DEFAULT_CACHE
) -> ClipSource:
    """The clips of `config.data` for `model`'s crop sizes; `stage` ("warmup" or "rl") sets the clip's length.

    Raises:
      UserError: a missing data root, folder without sequences, ... naming it.
    """
    stage = stage or config.stage
    data = config.data
    options = ClipOptions(
        templates=model.config.templates,
        frames=config.warmup.search_frames if stage == "warmup" else config.rl.clip_length,
        template_size=model.config.template_size,
        search_size=model.config.search_size,
        closed_loop=stage == "rl" and config.rl.rollout == "closed_loop",
        **{name: data[name] for name in CLIP_FIELDS},
    )
    return ClipSource(parts(data, train=train, cache=cache), options, data.seed if train else HELDOUT_SEED)


def parts(data, *, train: bool = True, cache: str | Path = DEFAULT_CACHE) -> list[MixturePart]:
    """The datasets that `config.data` names, with their weights; their held-out sequences for `train=False`.

    Held-out clips come from those that have official held-out sequences with boxes, and have them here; which do not
    is said on stderr. Where none has, they are drawn from the training sequences.

    Raises:
      UserError: a dataset that is not there, or has nothing to train on.
    """
    names = data.name.split("+")
    weights = data.weights or (1.0,) * len(names)
    if train:
        return [MixturePart(n, sequences(n, data, True, cache), w) for n, w in zip(names, weights, strict=True)]
    found = []
    for name, weight in zip(names, weights, strict=True):
        try:
            if weight:  # with the others gone, nothing would be left to draw
                found.append(MixturePart(name, sequences(name, data, False, cache), weight))
        except NoHeldOut as error:
            tqdm.write(f"held-out clips without {name}: {error}", file=sys.stderr)
    if not found:
        tqdm.write("no held-out sequences: held-out clips are drawn from those of training", file=sys.stderr)
    return found or parts(data, train=True, cache=cache)


class NoHeldOut(UserError):
    """A dataset has no held-out sequences, or they are not here."""


def sequences(name: str, data, train: bool = True, cache: str | Path = DEFAULT_CACHE):
    """The sequences of one dataset, by its name in `config.data.name`, which may have a split: "got10k/train".

    Raises:
      NoHeldOut: `train=False`, and the dataset has none here.
      UserError: it is not there.
    """
    split, seed = ("train", data.seed) if train else ("heldout", 0)
    if name == "procedural":
        return Procedural(seed, split, Options(**data.procedural))
    if name == "photos":
        return read_photos(data.root, seed, split, Options(**data.procedural))
    if name == "folder":
        # Frames are drawn at random: kept ones would fill the memory and hardly ever be asked for again.
        return read_folder(data.root, one_based=data.one_based, cache=0).split(train)
    name, _, split = name.partition("/")
    source = layouts.dataset_layout(name)
    if train:
        split = split or source.train
        if split is None:
            raise UserError(f"{source.title} is for evaluation only: {name}/{next(iter(source.splits))} trains on it")
        return _open(source, split, data.root, cache)
    if source.heldout is None:
        raise NoHeldOut(f"{source.title} has none with boxes")
    try:
        return _open(source, source.heldout, data.root, cache)
    except UserError as error:
        raise NoHeldOut(str(error)) from None


def _open(source, split: str, root: str, cache: str | Path):
    """From records, where the dataset was built there by `relo data build`; else from its folders."""
    root = root or os.environ.get(ENVIRONMENT)
    if is_built(root, source.name):
        return open_built(root, source.name, split, cache)
    return open_dataset(source, split, root, cache)


def mark_flags_as_parsed() -> None:
    """Grain's worker processes read absl flags; a program that is not run by absl has to say that there are none."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS(sys.argv[:1])


@contextlib.contextmanager
def _no_signals_for_what_begins() -> Iterator[None]:
    """Threads and processes that begin here are never ended by Ctrl-C or SIGTERM.

    A terminal and a batch system send them to all processes, and the one that trains says what becomes of it. A worker
    that was left to ignore them would begin to do so when it has imported what it needs, seconds later. It still ends
    with the one that trains: Grain stops it by SIGKILL, and `_begin_worker` where that process is gone.
    """
    resource_tracker.ensure_running()  # beginning in there, it would let the signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(*_) -> None:
    """A worker process ends with the one that started it, also where that was killed and could not tell it to."""
    _no_threads_of_opencv()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _no_threads_of_opencv() -> None:
    """OpenCV's own threads would take the cores that the training runs on."""
    cv2.setNumThreads(0)
