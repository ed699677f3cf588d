"""A training run from config to checkpoints, for both stages.

    relo train --config configs/relo_b256.py:warmup --workdir runs/b256-warmup
    relo train --config configs/relo_b256.py:rl --workdir runs/b256 --config.init_from=runs/b256-warmup

The host does not wait for the device between two log points: it reads and places the next batch while a step runs, and
metrics stay on the device until they are due. A killed run continues from its last checkpoint with the same numbers as
an uninterrupted one, on another number of devices or hosts too. With several processes, each runs this same code with
its share of the clips; process 0 writes config, card and metrics, and all of them write the checkpoints.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict
from orbax.checkpoint import CheckpointManager

from relo_jax import config as config_lib
from relo_jax.checkpoints import model_card
from relo_jax.checkpoints.run_directory import CHECKPOINTS
from relo_jax.data.clips import pipeline
from relo_jax.errors import UserError
from relo_jax.model import RELO, count_parameters
from relo_jax.train import checkpoints, distributed, metrics_log, rl, warmup
from relo_jax.train.feed import Feed
from relo_jax.train.initialise import first_state
from relo_jax.train.mesh import make_mesh
from relo_jax.train.state import TrainState, optimizer, variables_of

_STAGES = {"warmup": warmup, "rl": rl}
_OF_EACH_HOST = ("data.root", "data.workers", "data.processes")  # fields that may differ between processes
_STEPS_AHEAD = 2  # steps queued on the device: enough to keep it busy, and few batches in its memory


def train_and_evaluate(config: ConfigDict, workdir: Path | str) -> dict[str, float]:
    """Trains one stage, or continues it, and leaves checkpoints, metrics and config in `workdir`.

    Args:
      config: with the fields of `relo_jax.config.base()`.
      workdir: run directory; with checkpoints of the same config in it, the run continues from the last.

    Returns:
      Metrics of the last held-out evaluation. They are empty if there was none: the run was finished already, or a
      signal stopped it. An evaluation that a killed or stopped run missed is made up for first.

    Raises:
      UserError: bad config, data or checkpoint; a loss that is not finite; a full disk.
    """
    config_lib.validate(config)
    model = RELO.from_config(config.model)
    run_config = {**config_lib.to_dict(config), "model": model.config.to_dict()}
    common = {name: value for name, value in config_lib.flatten(config).items() if name not in _OF_EACH_HOST}
    distributed.assert_same_on_hosts("config", common, "start all of them with the same command")
    mesh = make_mesh(config)
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(mesh))
        should_stop = stack.enter_context(distributed.stop_on_signal())
        manager = stack.enter_context(checkpoints.opened(workdir, run_config, config.keep_checkpoints))
        stack.enter_context(distributed.together())  # after the manager, which would wait for failed processes
        state, position = first_state(config, model, mesh, manager)
        first_step = int(state.step)
        cache = Path(workdir).parent / "data_index"
        clips = pipeline.make_dataset(config, model.config, cache=cache)
        held_out = pipeline.make_dataset(config, model.config, train=False, cache=cache)
        feed = stack.enter_context(Feed(clips, mesh, position, config.data.epoch))
        if jax.process_index() == 0 and first_step < config.total_steps:
            fingerprints = clips.source.fingerprint(), held_out.source.fingerprint()
            parameters = count_parameters(variables_of(state))
            model_card.begin_training(workdir, run_config, parameters, *fingerprints, first_step)
        logger = metrics_log.opened(workdir, config.stage, first_step, config.total_steps, config.batch_size)
        run = Run(
            config, model, workdir, manager, stack.enter_context(logger), lambda: Feed(held_out, mesh),
            _STAGES[config.stage].make_eval(model, config),
        )  # fmt: skip
        return train(run, state, feed, should_stop)


def train_to_end(config: ConfigDict, workdir: Path | str) -> None:
    """`train_and_evaluate` one stage to its end. Raises UserError if a signal stopped it earlier."""
    train_and_evaluate(config, workdir)
    if not (Path(workdir) / CHECKPOINTS / str(config.total_steps)).is_dir():
        raise UserError(f"stopped before the end; the same command continues the run in {workdir}")


@dataclasses.dataclass(frozen=True)
class Run:
    """A training run in progress: its config and what it writes to."""

    config: ConfigDict
    model: RELO
    workdir: Path | str
    manager: CheckpointManager
    logger: metrics_log.Log | metrics_log.NullLog
    held_out_feed: Callable[[], Feed]  # the same batches each time
    eval_fn: Callable  # of the stage


def train(run: Run, state: TrainState, feed: Feed, should_stop: Callable[[int], bool]) -> dict[str, float]:
    """Does the steps that are left, with log points, checkpoints and held-out evaluations at their times.

    Returns:
      Metrics of the last held-out evaluation; empty if there was none.
    """
    config, pending, held_out = run.config, [], {}
    first_step, last_step = int(state.step), config.total_steps
    step_fn = _STAGES[config.stage].make_step(run.model, config, optimizer(config))
    if metrics_log.owes_evaluation(run.workdir, first_step, config):
        held_out = evaluate_held_out(run, state, first_step, metrics_log.last_means(run.workdir, first_step))
    batch = next(feed) if first_step < last_step else None
    for step in range(first_step + 1, last_step + 1):
        assert batch is not None
        with jax.transfer_guard("disallow"):
            state, metrics = step_fn(state, batch.arrays)
            pending.append(Pending(step, batch.index, batch.position_before, metrics))
            position = batch.position_after
            batch = next(feed) if step < last_step else None  # read and placed while the device works
            wait_for_old_steps(pending)
        run.logger.advance()
        stopping = should_stop(step)
        last = step == last_step or stopping
        log_now, save_now, evaluate_now = (
            step % every == 0 for every in (config.log_every, config.checkpoint_every, config.eval_every)
        )
        if not (last or log_now or save_now or evaluate_now):
            continue
        means = mean(fetch_finite(run, pending, state))
        pending.clear()
        run.logger.train(step, means)
        if last or save_now:
            checkpoints.save(run.manager, run.workdir, step, state, position)
        if step == last_step or (evaluate_now and not stopping):
            held_out = evaluate_held_out(run, state, step, means)
        if stopping and step < last_step:
            run.logger.stopped(step)
            break
    return held_out


def evaluate_held_out(run: Run, state: TrainState, step: int, train_means: dict[str, float]) -> dict[str, float]:
    """Means of the stage's metrics over the first held-out batches; logs them and writes them to the card."""
    variables = variables_of(state)
    with run.logger.paused():
        with run.held_out_feed() as feed:
            rows = [run.eval_fn(variables, batch.arrays) for batch in itertools.islice(feed, run.config.eval_batches)]
        means = mean(jax.device_get(rows))
    run.logger.evaluation(step, means)
    if jax.process_index() == 0:
        model_card.write_metrics(run.workdir, step, train_means, means)
    return means


@dataclasses.dataclass
class Pending:
    """A step whose metrics are still on the device."""

    step: int
    index: np.ndarray  # [B], the clips of its batch
    position: dict  # in the data, before its batch
    metrics: dict[str, jax.Array]


def wait_for_old_steps(pending: list[Pending]) -> None:
    """Keeps the host at most a few steps ahead of the device, so that batches do not pile up there."""
    if len(pending) > _STEPS_AHEAD:
        jax.block_until_ready(pending[-1 - _STEPS_AHEAD].metrics["loss"])


def fetch_finite(run: Run, pending: list[Pending], state: TrainState) -> list[dict[str, np.ndarray]]:
    """Metrics of the pending steps, on the host.

    Raises:
      UserError: a step was not finite; the state before it is saved, and the message names the clips of its batch.
    """
    rows = jax.device_get([item.metrics for item in pending])
    for item, row in zip(pending, rows, strict=True):
        if not row["finite"]:
            checkpoints.save(run.manager, run.workdir, item.step - 1, state, item.position)
            run.manager.wait_until_finished()
            cache = Path(run.workdir).parent / "data_index"
            source = pipeline.clip_source(run.config, run.model.config, run.config.stage, cache=cache)
            names = [source.describe(int(index)) for index in item.index]
            raise UserError(
                f"step {item.step}: loss {row['loss']}, gradient norm {row['grad_norm']}; clips {', '.join(names)}; "
                f"the last good state is checkpoint {item.step - 1} of {run.workdir}"
            )
    return rows


def mean(rows: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """The mean of each metric over the rows."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name != "finite"}
