"""`relo profile data`: where the time of a training clip goes, and whether training waits for it.

    relo profile data --config b256:rl --config.data.name=lasot --config.data.root=/data

Three measurements of the clips that `relo train` would read with the same config. Stages: each stage by itself, in one
thread. Pipeline: clips per second with the config's threads and processes, without training. Training: the time of a
step whose batch is ready, and of a step fed by the pipeline; the difference is waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
from ml_collections import ConfigDict

from relo_jax import config as config_lib
from relo_jax import tables
from relo_jax.data.clips import pipeline, read
from relo_jax.data.clips.plan import clip_rng, plan_clip
from relo_jax.data.clips.source import ClipSource
from relo_jax.errors import UserError
from relo_jax.media.images import FrameError
from relo_jax.model import RELO, init_variables
from relo_jax.train import rl, warmup
from relo_jax.train.feed import Feed
from relo_jax.train.mesh import make_mesh
from relo_jax.train.state import create_state, optimizer

_WARM_UP_STEPS = 2


def stages(source: ClipSource, clips: int, batch_size: int) -> dict[str, float]:
    """Seconds per clip of each stage, in one thread. Clips that cannot be read are left out.

    plan: what the clip shows. read: the files. decode, crop: to crops; draw: both, and reading, of sequences that draw
    their own crops. augment: grey, brightness, flips. batch: one array of many clips. transfer: to the device.
    """
    seconds = dict.fromkeys(("plan", "read", "decode", "crop", "draw", "augment"), 0.0)
    done: list[dict] = []

    def timed(stage, function, *args, **options):
        start = time.perf_counter()
        result = function(*args, **options)
        seconds[stage] += time.perf_counter() - start
        return result

    def plan_of(index):
        rng = clip_rng(source.seed, index)
        sequence = source.pick(rng, index)[1]
        return sequence, plan_clip(rng, sequence, source.options)

    def read_all(sequence, plan):
        return {frame: sequence.read_encoded(frame) for frame in np.unique(plan.frames).tolist()}

    def cut_all(pictures, plan):
        return [read.cut_crop(pictures[frame], plan, k) for k, frame in enumerate(plan.frames.tolist())]

    def decode_all(plan, files, sequence):
        reduced = source.options.reduced_decode
        return {t: read.decode_frame(plan, t, data, sequence.where(t), reduced=reduced) for t, data in files.items()}

    for index in range(clips):
        sequence, plan = timed("plan", plan_of, index)
        try:
            if sequence.read_encoded is None or sequence.read_crop is not None:
                cropped = timed("draw", read.crops_from_sequence, sequence, plan)
            else:
                files = timed("read", read_all, sequence, plan)
                cropped = timed("crop", cut_all, timed("decode", decode_all, plan, files, sequence), plan)
        except FrameError:
            continue
        done.append(timed("augment", read.augment_crops, plan, cropped))
    if not done:
        raise UserError(f"none of the first {clips} clips could be read: see relo data check")
    seconds["batch"] = seconds["transfer"] = 0.0
    rows = [done[k % len(done)] for k in range(batch_size)]
    batch = timed("batch", lambda: {name: np.stack([row[name] for row in rows]) for name in rows[0]})
    timed("transfer", lambda: jax.block_until_ready(jax.device_put(batch)))
    counts = {"batch": batch_size, "transfer": batch_size}
    return {name: total / counts.get(name, len(done)) for name, total in seconds.items() if total}


def pipeline_rate(batches: pipeline.Batches, clips: int) -> float:
    """Clips per second of the pipeline when each batch is taken as soon as it is ready."""
    iterator = batches.starting_at(0)
    try:
        for _ in range(batches.read_ahead):  # read while threads and processes started
            next(iterator)
        start, count = time.perf_counter(), max(1, clips // batches.batch_size)
        for _ in range(count):
            next(iterator)
        return count * batches.batch_size / (time.perf_counter() - start)
    finally:
        iterator.close()


def training(config: ConfigDict, model: RELO, batches: pipeline.Batches, steps: int) -> dict[str, float]:
    """`waiting` of the config's own training step, from fresh weights."""
    mesh = make_mesh(config)
    with jax.set_mesh(mesh), Feed(batches, mesh) as feed:
        init_key, step_key = jax.random.split(jax.random.key(config.seed))
        state = create_state(config, init_variables(model, init_key), step_key)[0]
        update = {"warmup": warmup, "rl": rl}[config.stage].make_step(model, config, optimizer(config))

        def step(batch):
            nonlocal state
            state, metrics = update(state, batch.arrays)
            return metrics["loss"]

        return waiting(step, feed, steps, batches.read_ahead)


def waiting(step: Callable, feed: Iterator, steps: int, read_ahead: int) -> dict[str, float]:
    """Milliseconds of a step whose batch is ready, and of a step fed by the pipeline; the share of waiting in it.

    step: gives a batch to the device and returns an array of its result. read_ahead: batches that the feed may hold.
    """
    batch = next(feed)
    for number in range(_WARM_UP_STEPS + steps):
        if number == _WARM_UP_STEPS:
            start = time.perf_counter()
        jax.block_until_ready(step(batch))
    alone = (time.perf_counter() - start) / steps
    for _ in range(read_ahead):  # batches that were read in the meantime would hide the speed of reading
        batch = next(feed)
    start = time.perf_counter()
    for _ in range(steps):
        result = step(batch)
        batch = next(feed)
        jax.block_until_ready(result)
    fed = (time.perf_counter() - start) / steps
    return {"step_ms": 1e3 * alone, "fed_step_ms": 1e3 * fed, "waiting_share": max(0.0, 1 - alone / fed)}


def measure(config: ConfigDict, clips: int = 64, steps: int = 10) -> dict:
    """All three measurements of a config's training: a JSON-able dict.

    Args:
      config: of a training run.
      clips: number of clips to measure the stages and the pipeline with.
      steps: number of training steps to measure with; 0 measures none.

    Raises:
      UserError: a bad config or no data.
    """
    config_lib.validate(config)
    model = RELO.from_config(config.model)
    batches = pipeline.make_dataset(config, model.config)
    seconds = stages(batches.source, clips, config.batch_size)
    rate = pipeline_rate(batches, clips)
    return {
        "stage_ms_a_clip": {name: 1e3 * value for name, value in seconds.items()},
        "pipeline_clips_per_second": rate,
        "training": training(config, model, batches, steps) if steps else None,
    }


def table(row: dict) -> str:
    """The figures of `measure` as text."""
    stage_ms, rate, steps = row["stage_ms_a_clip"], row["pipeline_clips_per_second"], row["training"]
    total = sum(stage_ms.values())
    rows = [
        [name, f"{ms:.3f}", f"{1e3 / ms:.1f}", f"{ms / total:.1%}"] for name, ms in [*stage_ms.items(), ("all", total)]
    ]
    lines = [tables.terminal([["stage", "ms a clip", "clips/s", "share"], *rows], "lrrr")]
    lines.append(f"\npipeline: {rate:.1f} clips/s")
    if steps:
        lines.append(
            f"training: a step takes {steps['step_ms']:.1f} ms with its batch at hand, "
            f"{steps['fed_step_ms']:.1f} ms with the pipeline: {steps['waiting_share']:.1%} of it is waiting"
        )
    return "\n".join(lines)
