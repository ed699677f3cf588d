"""A training run from config to checkpoints, for both stages.

    relo train --config b256:warmup --workdir runs/b256-warmup
    relo train --config b256:rl --workdir runs/b256 --config.init_from=runs/b256-warmup

The host does not wait for the device between two log points: it reads and places the next batch while a step runs, and
metrics stay on the device until they are due. A killed run continues from its last checkpoint with the same numbers as
an uninterrupted one, on another number of devices or hosts too. With several processes, each runs this same code with
its share of the clips; process 0 writes config, card and metrics, and all of them write the checkpoints.

A single process can be stopped at any time: another thread compiles (`relo_jax.interrupts`), and the loop asks now and
then whether the device is done instead of waiting for it where Python could not notice Ctrl-C.
"""

import contextlib
import dataclasses
import functools
import itertools
import math
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from orbax.checkpoint import CheckpointManager

from relo_jax import config as config_lib
from relo_jax import interrupts
from relo_jax.bars import compiling, tqdm
from relo_jax.checkpoints import model_card
from relo_jax.checkpoints.run_directory import CHECKPOINTS
from relo_jax.data.clips import pipeline
from relo_jax.errors import UserError
from relo_jax.model import RELO, count_parameters
from relo_jax.train import checkpoints, distributed, metrics_log, rl, warmup
from relo_jax.train.callbacks import Callback, Report
from relo_jax.train.drawn_feed import DrawnFeed, open_feed, training_clips
from relo_jax.train.feed import Batch, Feed
from relo_jax.train.history import History
from relo_jax.train.initialise import first_state
from relo_jax.train.mesh import make_mesh
from relo_jax.train.state import Step, TrainState, optimizer, variables_of, warmup_steps

_STAGES = {"warmup": warmup, "rl": rl}
_OF_EACH_HOST = ("data.root", "data.workers", "data.processes")  # fields that may differ between processes
_STEPS_AHEAD = 2  # steps queued on the device: enough to keep it busy, and few batches in its memory
_POLL = 0.002  # seconds between two looks at a device that is at work
_PATIENCE = 1.0  # seconds from Ctrl-C to a line that says what it waits for
_Value = TypeVar("_Value")


def train_and_evaluate(config: ConfigDict, workdir: Path | str, callback: Callback | None = None) -> History:
    """Trains one stage, or continues it, and leaves checkpoints, metrics and config in `workdir`.

    Ctrl-C, a notebook's stop button, SIGTERM and a callback end it early: after the step under way, whose state is
    saved, or at once while a program is compiled. The same call then continues the run. Ctrl-C once more raises
    KeyboardInterrupt at once, and the run continues from its last checkpoint.

    Args:
      config: with the fields of `relo_jax.config.base()`.
      workdir: run directory; with checkpoints of the same config in it, the run continues from the last.
      callback: called with a copy of each row right after it was logged, see `History.rows`: every `config.log_every`
        steps, after each held-out evaluation and at the end; by process 0 only. If it raises `StopTraining`, the run
        ends as by Ctrl-C; if it raises anything else, that is raised again when the run has ended. If it has a method
        `close`, that is called at the end. `LiveCurves` is one.

    Returns:
      The run's History. Its `held_out` are the metrics of the last held-out evaluation; they are empty if there was
      none: the run was finished already, or was stopped. An evaluation that a killed or stopped run missed is made up
      for first.

    Raises:
      UserError: bad config, data or checkpoint; a loss that is not finite; a full disk.
      KeyboardInterrupt: Ctrl-C twice.
    """
    config_lib.validate(config)
    model = RELO.from_config(config.model)
    run_config = {**config_lib.to_dict(config), "model": model.config.to_dict()}
    common = {name: value for name, value in config_lib.flatten(config).items() if name not in _OF_EACH_HOST}
    distributed.assert_same_on_hosts("config", common, "start all of them with the same command")
    mesh = make_mesh(config)
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(mesh))
        stop = stack.enter_context(distributed.stop_on_signal())
        report = stack.enter_context(Report(callback, stop))
        manager = stack.enter_context(checkpoints.opened(workdir, run_config, config.keep_checkpoints))
        stack.enter_context(distributed.together())  # after the manager, which would wait for failed processes
        cache = Path(workdir).parent / "data_index"
        clips = training_clips(config, model.config, cache)  # first: a wrong folder is told at once
        held_out = pipeline.make_dataset(config, model.config, train=False, cache=cache)
        compiler = Compiler(mesh, stop)
        try:
            state, position = begin(config, model, manager, compiler)
        except interrupts.Stopped:
            tqdm.write("stopped before step 1; the same command starts there", file=sys.stderr)
            return History(workdir, stopped=True)
        first_step = int(state.step)
        feed = open_feed(clips, config, mesh, position)
        stack.enter_context(feed)
        if jax.process_index() == 0 and first_step < config.total_steps:
            fingerprints = feed.fingerprint, held_out.source.fingerprint()
            parameters = count_parameters(variables_of(state))
            model_card.begin_training(workdir, run_config, parameters, *fingerprints, first_step)
        logger = metrics_log.opened(workdir, config.stage, first_step, config.total_steps, config.batch_size)
        run = Run(
            config, model, workdir, manager, compiler, stop, report, stack.enter_context(logger),
            lambda: Feed(held_out, mesh), _STAGES[config.stage].make_eval(model, config),
        )  # fmt: skip
        means = train(run, state, feed)
    return History(workdir, means, stop.now())


def begin(
    config: ConfigDict, model: RELO, manager: CheckpointManager, compiler: "Compiler"
) -> tuple[TrainState, dict | None]:
    """`first_state`. Says if a new run is too short for its warm-up of the learning rate.

    Raises:
      Stopped: the run is to end.
    """
    if manager.latest_step() is not None:
        # By this thread: a read that nobody waits for any more would outlive the manager.
        return first_state(config, model, compiler.mesh, manager)
    given, scaled = config.optimizer.warmup_steps, warmup_steps(config)
    if scaled < given and jax.process_index() == 0:
        tqdm.write(
            f"config.optimizer.warmup_steps={given} leaves none of config.total_steps={config.total_steps}: the "
            f"learning rate warms up over the first {scaled}",
            file=sys.stderr,
        )
    return compiler.wait_for(lambda: first_state(config, model, compiler.mesh, manager))


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
    compiler: "Compiler"
    stop: distributed.Stop
    report: Report
    logger: metrics_log.Log | metrics_log.NullLog
    held_out_feed: Callable[[], Feed]  # the same batches each time
    eval_fn: Callable  # of the stage


def train(run: Run, state: TrainState, feed: Feed | DrawnFeed) -> dict[str, float]:
    """Does the steps that are left, with log points, checkpoints and held-out evaluations at their times.

    Returns:
      Metrics of the last held-out evaluation; empty if there was none.
    """
    first_step, last_step = int(state.step), run.config.total_steps
    held_out: dict[str, float] = {}
    try:
        if metrics_log.owes_evaluation(run.workdir, first_step, run.config):
            held_out = evaluate_held_out(run, state, first_step, metrics_log.last_means(run.workdir, first_step))
        if first_step == last_step:
            return held_out
        step_fn = _STAGES[run.config.stage].make_step(run.model, run.config, optimizer(run.config))
        batch = next(feed)
        run.compiler.wait_for(functools.partial(compile_ahead, step_fn, state, batch.arrays))
    except interrupts.Stopped:
        run.logger.stopped(first_step)
        return held_out
    return steps(run, state, step_fn, batch, feed) or held_out


def steps(run: Run, state: TrainState, step_fn: Step, batch: Batch | None, feed: Feed | DrawnFeed) -> dict[str, float]:
    """The steps of `train`, from the first batch on."""
    config, pending, held_out = run.config, [], {}
    first_step, last_step = int(state.step), config.total_steps
    for step in range(first_step + 1, last_step + 1):
        assert batch is not None
        with jax.transfer_guard("disallow"):
            state, metrics = step_fn(state, batch.arrays)
            pending.append(Pending(step, batch.index, batch.position_before, metrics))
            position = batch.position_after
            batch = next(feed) if step < last_step else None  # read and placed while the device works
            wait_for_old_steps(run, pending)
        run.logger.advance()
        stopping = run.stop.after(step)
        last = step == last_step or stopping
        log_now, save_now, evaluate_now = (
            step % every == 0 for every in (config.log_every, config.checkpoint_every, config.eval_every)
        )
        if not (last or log_now or save_now or evaluate_now):
            continue
        means = mean(fetch_finite(run, pending, state))
        pending.clear()
        run.report(run.logger.train(step, means))
        if last or save_now or run.stop.now():
            checkpoints.save(run.manager, run.workdir, step, state, position)
        if step == last_step or (evaluate_now and not stopping):
            with contextlib.suppress(interrupts.Stopped):
                held_out = evaluate_held_out(run, state, step, means)
        if (stopping or run.stop.now()) and step < last_step:
            checkpoints.save(run.manager, run.workdir, step, state, position)
            run.logger.stopped(step)
            break
    return held_out


def evaluate_held_out(run: Run, state: TrainState, step: int, train_means: dict[str, float]) -> dict[str, float]:
    """Means of the stage's metrics over the first held-out batches; logs them and writes them to the card.

    Raises:
      Stopped: the run is to end, and this evaluation is made up for when it continues.
    """
    variables = variables_of(state)
    rows: list[dict[str, jax.Array]] = []
    with run.logger.paused():
        with run.held_out_feed() as feed:
            for batch in itertools.islice(feed, run.config.eval_batches):
                if rows:
                    wait(run, rows[-1])
                else:
                    run.compiler.wait_for(functools.partial(compile_ahead, run.eval_fn, variables, batch.arrays))
                if run.stop.now():
                    raise interrupts.Stopped
                rows.append(run.eval_fn(variables, batch.arrays))
        wait(run, rows[-1])
        means = mean(jax.device_get(rows))
    run.report(run.logger.evaluation(step, means))
    if jax.process_index() == 0:
        model_card.write_metrics(run.workdir, step, train_means, means)
    return means


@dataclasses.dataclass(frozen=True)
class Compiler:
    """Compiles the programs of a run, and says so once."""

    mesh: Mesh
    stop: distributed.Stop
    said: threading.Event = dataclasses.field(default_factory=threading.Event)

    def wait_for(self, work: Callable[[], _Value]) -> _Value:
        """The value of `work`, which compiles. Raises Stopped if the run is to end first."""

        def with_mesh() -> _Value:
            with jax.set_mesh(self.mesh):  # which is a thread's own
                return work()

        with compiling("the training", self.said):
            return interrupts.wait_for(with_mesh, self.stop.now)


def compile_ahead(program: Any, *args: Any) -> None:
    """Compiles a jitted function for arguments, which it is then called with."""
    program.lower(*args).compile()


@dataclasses.dataclass
class Pending:
    """A step whose metrics are still on the device."""

    step: int
    index: np.ndarray  # [B], the clips of its batch
    position: dict  # in the data, before its batch
    metrics: dict[str, jax.Array]


def wait_for_old_steps(run: Run, pending: list[Pending]) -> None:
    """Keeps the host at most a few steps ahead of the device, so that batches do not pile up there."""
    if len(pending) > _STEPS_AHEAD:
        wait(run, pending[-1 - _STEPS_AHEAD].metrics)


def wait(run: Run, metrics: dict[str, jax.Array]) -> None:
    """Waits for metrics, so that Ctrl-C is noticed at once; if it takes long, says that it was."""
    says = None
    array = next(iter(metrics.values()))
    while not array.is_ready():  # type: ignore[attr-defined]  # not in jax.Array's type
        time.sleep(_POLL)
        if run.stop.now() and says is None:
            says = time.monotonic() + _PATIENCE
        if says is not None and time.monotonic() > says:
            run.logger.stopping()
            says = math.inf


def fetch_finite(run: Run, pending: list[Pending], state: TrainState) -> list[dict[str, np.ndarray]]:
    """Metrics of the pending steps, on the host.

    Raises:
      UserError: a step was not finite; the state before it is saved, and the message names the clips of its batch.
    """
    wait(run, pending[-1].metrics)
    rows = jax.device_get([item.metrics for item in pending])
    for item, row in zip(pending, rows, strict=True):
        if not row["finite"]:
            checkpoints.save(run.manager, run.workdir, item.step - 1, state, item.position)
            run.manager.wait_until_finished()
            cache = Path(run.workdir).parent / "data_index"
            clips = training_clips(run.config, run.model.config, cache)
            names = [clips.describe(int(index)) for index in item.index]
            raise UserError(
                f"step {item.step}: loss {row['loss']}, gradient norm {row['grad_norm']}; clips {', '.join(names)}; "
                f"the last good state is checkpoint {item.step - 1} of {run.workdir}"
            )
    return rows


def mean(rows: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """The mean of each metric over the rows."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name != "finite"}
