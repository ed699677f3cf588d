"""The story of a training run, for both stages: config, model, data, step, and what happens around them.

    relo train --config configs/relo_b256.py:warmup --workdir runs/b256-warmup
    relo train --config configs/relo_b256.py:rl --workdir runs/b256 --config.init_from=runs/b256-warmup

The device is never waited for between two log points: the next batch is read and placed while a step runs, and metrics
stay on the device until they are due. A run that was killed continues from its last checkpoint with the same numbers
as if it had not been, also on another number of devices or hosts. Of several processes each runs this same story with
its share of the clips; process 0 writes config, card and metrics, all of them the checkpoints.
"""

import contextlib
import dataclasses
import itertools
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from relo_jax import config as config_lib
from relo_jax.checkpoints import model_card
from relo_jax.checkpoints.run_directory import CHECKPOINTS
from relo_jax.data.clips import pipeline
from relo_jax.errors import UserError
from relo_jax.model import RELO
from relo_jax.train import checkpoints, distributed, metrics_log, rl, warmup
from relo_jax.train.feed import Feed
from relo_jax.train.initialise import first_state
from relo_jax.train.mesh import make_mesh
from relo_jax.train.state import optimizer, variables_of

_STAGES = {"warmup": warmup, "rl": rl}
_OF_EACH_HOST = ("data.root", "data.workers", "data.processes")  # fields that may differ between processes
_STEPS_AHEAD = 2  # steps given to the device before the oldest must be done: enough to keep it busy, few batches held


def train_and_evaluate(config, workdir):
    """Trains one stage, or continues it, and leaves checkpoints, metrics and config in `workdir`.

    Args:
      config: ConfigDict with the fields of `relo_jax.config.base()`.
      workdir: run directory; with checkpoints of the same config in it, the run continues from the last.

    Returns:
      Metrics of the last held-out evaluation (empty when there was none: nothing to do, or stopped by a signal). One
      that a killed or stopped run did not come to is made up for first.

    Raises:
      UserError: bad config, data or checkpoint; a loss that is not finite; a full disk.
    """
    config_lib.validate(config)
    model = RELO.from_config(config.model)
    run_config = {**config_lib.to_dict(config), "model": model.config.to_dict()}
    common = {name: value for name, value in config_lib.flatten(config).items() if name not in _OF_EACH_HOST}
    distributed.assert_same_on_hosts("config", common, "start all of them with the same command")
    mesh = make_mesh(config)
    stage = _STAGES[config.stage]
    held_out, pending = {}, []
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(mesh))
        asked_to_stop = stack.enter_context(distributed.stop_on_signal())
        manager = stack.enter_context(checkpoints.opened(workdir, run_config, config.keep_checkpoints))
        stack.enter_context(distributed.together())  # after the manager, whose end would wait for processes that failed
        state, position = first_state(config, model, mesh, manager)
        first_step, last_step = int(state.step), config.total_steps
        step_fn = stage.make_step(model, config, optimizer(config))
        eval_fn = stage.make_eval(model, config)
        cache = Path(workdir).parent / "data_index"
        clips = pipeline.make_dataset(config, model, cache=cache)
        held_out_clips = pipeline.make_dataset(config, model, train=False, cache=cache)
        feed = stack.enter_context(Feed(clips, mesh, position, config.data.epoch))
        if jax.process_index() == 0 and first_step < last_step:
            fingerprints = clips.source.fingerprint(), held_out_clips.source.fingerprint()
            parameters = model_card.count_parameters(variables_of(state))
            model_card.begin_training(workdir, run_config, parameters, *fingerprints, first_step)
        logger = stack.enter_context(
            metrics_log.opened(workdir, config.stage, first_step, last_step, config.batch_size)
        )

        def evaluate_held_out(step, train):
            """Metrics on the held-out clips, logged and written."""
            with logger.paused():
                found = evaluate(eval_fn, state, Feed(held_out_clips, mesh), config.eval_batches)
            logger.evaluation(step, found)
            if jax.process_index() == 0:
                model_card.write_metrics(workdir, step, train, found)
            return found

        if metrics_log.owes_evaluation(workdir, first_step, config):
            held_out = evaluate_held_out(first_step, metrics_log.last_means(workdir, first_step))
        batch = next(feed) if first_step < last_step else None
        for step in range(first_step + 1, last_step + 1):
            with jax.transfer_guard("disallow"):
                state, metrics = step_fn(state, batch.arrays)
                pending.append(Pending(step, batch.index, batch.position_before, metrics))
                position = batch.position_after
                batch = next(feed) if step < last_step else None  # read and placed while the device works
                wait_for_old_steps(pending)
            logger.advance()
            stopping = asked_to_stop(step)
            last = step == last_step or stopping
            log_now, save_now, evaluate_now = (
                step % every == 0 for every in (config.log_every, config.checkpoint_every, config.eval_every)
            )
            if not (last or log_now or save_now or evaluate_now):
                continue
            rows = fetch_finite(pending, state, config, model, manager, workdir)
            pending.clear()
            logger.train(step, mean(rows))
            if last or save_now:
                checkpoints.save(manager, workdir, step, state, position)
            if step == last_step or (evaluate_now and not stopping):
                held_out = evaluate_held_out(step, mean(rows))
            if stopping and step < last_step:
                logger.stopped(step)
                break
    return held_out


@dataclasses.dataclass
class Pending:
    """A step whose metrics were not looked at yet."""

    step: int
    index: np.ndarray  # [B], clips of its batch
    position: dict  # of the data before its batch
    metrics: dict[str, jax.Array]


def wait_for_old_steps(pending):
    """Keeps the host at most a few steps ahead of the device, so that batches do not pile up there."""
    if len(pending) > _STEPS_AHEAD:
        jax.block_until_ready(pending[-1 - _STEPS_AHEAD].metrics["loss"])


def fetch_finite(pending, state, config, model, manager, workdir):
    """Metrics of the pending steps, on the host.

    Raises:
      UserError: a step was not finite; the state before it is saved, and the clips of its batch are named.
    """
    rows = jax.device_get([item.metrics for item in pending])
    for item, row in zip(pending, rows, strict=True):
        if not row["finite"]:
            checkpoints.save(manager, workdir, item.step - 1, state, item.position)
            manager.wait_until_finished()
            source = pipeline.clip_source(config, model, config.stage, cache=Path(workdir).parent / "data_index")
            names = [source.describe(int(index)) for index in np.sort(of_all_hosts(item.index))]
            raise UserError(
                f"step {item.step}: loss {row['loss']}, gradient norm {row['grad_norm']}; clips {', '.join(names)}; "
                f"the last good state is checkpoint {item.step - 1} of {workdir}"
            )
    return rows


def of_all_hosts(values):
    """`[B / hosts]` -> `[B]`."""
    return np.ravel(multihost_utils.process_allgather(values)) if jax.process_count() > 1 else values


def mean(rows):
    """The mean of each metric, as Python floats."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name != "finite"}


def evaluate(eval_fn, state, feed, batches):
    """Means of the stage's metrics over the first held-out batches, the same ones each time."""
    variables = variables_of(state)
    with feed:
        rows = [eval_fn(variables, batch.arrays) for batch in itertools.islice(feed, batches)]
    return mean(jax.device_get(rows))


def train_to_end(config, workdir):
    """One stage, to its end. Raises UserError when a signal ended it before."""
    train_and_evaluate(config, workdir)
    if not (Path(workdir) / CHECKPOINTS / str(config.total_steps)).is_dir():
        raise UserError(f"stopped before the end; the same command continues the run in {workdir}")
