"""From a config to batches: sequences -> clips -> Grain, deterministic by index and resumable.

    dataset = make_dataset(config, model)
    iterator = iter(dataset); batch = next(iterator); state = iterator.get_state(); iterator.set_state(state)

Every clip is a function of (seed, index) and draws its frames at random, so running through the indices in order is
already a shuffled pass; hosts take every process_count-th index. Clips are drawn by threads in order.
"""

from __future__ import annotations

import cv2
import grain
import jax

from relo_jax.data.clips import ClipOptions, ClipSource
from relo_jax.data.compose import Options
from relo_jax.data.folder import read_folder
from relo_jax.data.photos import read_photos
from relo_jax.data.procedural import Procedural
from relo_jax.errors import UserError

HELDOUT_SEED = 7_919  # added to the data seed, so that held-out clips repeat no random numbers of training


def clip_source(config, model, stage: str | None = None, *, train: bool = True) -> ClipSource:
    """The clips of `config.data` for `model`'s crop sizes; `stage` ("warmup" or "rl") sets the clip's length.

    Raises:
      UserError: a missing data root, folder without sequences, ... naming it.
    """
    stage = stage or config.stage
    data = config.data
    options = ClipOptions(
        templates=model.templates,
        frames=config.warmup.search_frames if stage == "warmup" else config.rl.clip_length,
        template_size=model.template_size,
        search_size=model.search_size,
        max_gap=data.max_gap,
        scale_jitter=data.scale_jitter,
        shift_jitter=data.shift_jitter,
        grey=data.grey,
        flip=data.flip,
        frame_flip=data.frame_flip,
        brightness=data.brightness,
    )
    return ClipSource(sequences(data, train=train), options, data.seed + (0 if train else HELDOUT_SEED))


def sequences(data, *, train: bool = True):
    """The sequences that `config.data` names; held-out ones for `train=False`."""
    split = "train" if train else "heldout"
    if data.name == "procedural":
        return Procedural(data.seed, split, Options(**data.procedural))
    if data.name == "photos":
        return read_photos(data.root, data.seed, split, Options(**data.procedural))
    if data.name == "folder":
        # Frames are drawn at random: kept ones would fill the memory and hardly ever be asked for again.
        return read_folder(data.root, one_based=data.one_based, cache=0).split(train)
    raise UserError(f"config.data.name {data.name!r}: known are procedural, photos, folder")


def make_dataset(config, model, stage: str | None = None, *, train: bool = True) -> grain.IterDataset:
    """Batches of this process's share of `config.batch_size` clips, as dicts of numpy arrays with a leading axis B."""
    source = clip_source(config, model, stage, train=train)
    return batches(source, config.batch_size, config.data.workers)


def batches(source: ClipSource, batch_size: int, workers: int) -> grain.IterDataset:
    """Endless batches of a clip source, `batch_size` over all processes, read by `workers` threads.

    Raises:
      UserError: a batch that does not divide over the processes.
    """
    count = jax.process_count()
    if batch_size % count:
        raise UserError(f"config.batch_size={batch_size} does not divide over {count} processes")
    # OpenCV's own threads would take the cores that the training runs on.
    cv2.setNumThreads(0)
    dataset = grain.MapDataset.source(source)[jax.process_index() :: count].repeat()
    dataset = dataset.batch(batch_size // count, drop_remainder=True)
    options = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=max(2 * workers, 1) if workers else 0)
    return dataset.to_iter_dataset(options)
