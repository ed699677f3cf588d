"""A training run from config to checkpoints, for both stages.

    relo train --config b256:warmup --workdir runs/b256-warmup
    relo train --config b256:rl --workdir runs/b256 --config.init_from=runs/b256-warmup

The host does not wait for the device between two log points: it reads and places the next batch while a step runs, and
metrics stay on the device until they are due. A killed run continues from its last checkpoint with the same numbers as
an uninterrupted one, on another number of devices or hosts too. With several processes, each runs this same code with
its share of the clips; process 0 writes config, card and metrics, and all of them write the checkpoints.

Several runs may take their steps together, each with its own directory: those that share a frozen encoder
(`relo_jax.train.shared_encoder`). The lists of this module have an item for each run.

A single process can be stopped at any time: another thread compiles (`relo_jax.interrupts`), and the loop asks now and
then whether the device is done instead of waiting for it where Python could not notice Ctrl-C.
"""

import contextlib
import dataclasses
import functools
import itertools
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from relo_jax import config as config_lib
from relo_jax import interrupts
from relo_jax.bars import tqdm
from relo_jax.checkpoints import model_card
from relo_jax.checkpoints.run_directory import CHECKPOINTS
from relo_jax.data.clips import pipeline
from relo_jax.errors import UserError
from relo_jax.train import distributed, metrics_log, shared_encoder
from relo_jax.train.callbacks import Callback, Report
from relo_jax.train.drawn_feed import open_feed, training_clips
from relo_jax.train.feed import Batch, Feed
from relo_jax.train.history import History
from relo_jax.train.mesh import make_mesh
from relo_jax.train.run import Compiler, Pending, Training, data_index, fetch_finite, mean, opened, titles
from relo_jax.train.shared_encoder import Seeds, seeds
from relo_jax.train.state import TrainState, variables_of

_OF_EACH_HOST = ("data.root", "data.workers", "data.processes")  # fields that may differ between processes
_STEPS_AHEAD = 2  # steps queued on the device: enough to keep it busy, and few batches in its memory
_POLL = 0.002  # seconds between two looks at a device that is at work
_PATIENCE = 1.0  # seconds from Ctrl-C to a line that says what it waits for


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
    return _train([(config, workdir)], callback)[0]


def train_to_end(*trainings: tuple[ConfigDict, Path | str]) -> None:
    """Trains a run to its end; or several at once, for which `shared_encoder.shared` is the same.

    The directory of each is as after `train_and_evaluate` of it alone, with numbers that differ by rounding.

    Args:
      trainings: (config, run directory) of each run; if they continue, all of them after the same step.

    Raises:
      UserError: as of `train_and_evaluate`; a signal stopped the training; the runs have different encoders.
    """
    _train(trainings)
    for config, workdir in trainings:
        if not (Path(workdir) / CHECKPOINTS / str(config.total_steps)).is_dir():
            raise UserError(f"stopped before the end; the same command continues the run in {workdir}")


def _train(trainings: Sequence[tuple[ConfigDict, Path | str]], callback: Callback | None = None) -> list[History]:
    """Trains runs to their end, or until they are stopped; the History of each."""
    for config, _ in trainings:
        config_lib.validate(config)
        common = {name: value for name, value in config_lib.flatten(config).items() if name not in _OF_EACH_HOST}
        distributed.assert_same_on_hosts("config", common, "start all of them with the same command")
    config = trainings[0][0]
    mesh = make_mesh(config)
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(mesh))
        stop = stack.enter_context(distributed.stop_on_signal())
        report = stack.enter_context(Report(callback, stop))
        runs = [stack.enter_context(opened(*training)) for training in trainings]
        stack.enter_context(distributed.together())  # after the managers, which would wait for failed processes
        model, cache = runs[0].model.config, data_index(runs[0].workdir)
        of_seeds = {seeds(run.config): run.config for run in runs}
        # First: a wrong folder is told at once.
        clips = {name: training_clips(own, model, cache) for name, own in of_seeds.items()}
        held_out = pipeline.make_dataset(config, model, train=False, cache=cache)
        compiler = Compiler(mesh, stop)
        try:
            begun = [run.begin(compiler) for run in runs]
        except interrupts.Stopped:
            tqdm.write("stopped before step 1; the same command starts there", file=sys.stderr)
            return [History(run.workdir, stopped=True) for run in runs]
        states = [state for state, _ in begun]
        shared_encoder.check([run.workdir for run in runs], states)
        positions = {seeds(run.config): position for run, (_, position) in zip(runs, begun, strict=True)}
        feeds = {name: open_feed(clips[name], own, mesh, positions[name]) for name, own in of_seeds.items()}
        for feed in feeds.values():
            stack.enter_context(feed)
        for run, state, title in zip(runs, states, titles(runs), strict=True):
            run.write_card(state, feeds[seeds(run.config)].fingerprint, held_out.source.fingerprint())
            run.logger = stack.enter_context(run.open_log(int(state.step), title, bar=run is runs[0]))
        training = Training(runs, feeds, lambda: Feed(held_out, mesh), compiler, stop, report)
        held_out_means, is_done = train(training, states)
    return [History(run.workdir, means, not is_done) for run, means in zip(runs, held_out_means, strict=True)]


def train(training: Training, states: list[TrainState]) -> tuple[list[dict[str, float]], bool]:
    """Does the steps that are left, with log points, checkpoints and held-out evaluations at their times.

    Returns:
      Metrics of the last held-out evaluation of each run, empty if there was none; and whether all was done, rather
      than stopped.
    """
    runs, first_step = training.runs, int(states[0].step)
    held_out: list[dict[str, float]] = [{} for _ in runs]
    try:
        owes = [metrics_log.owes_evaluation(run.workdir, first_step, run.config) for run in runs]
        if any(owes):
            late = [row for row, owing in enumerate(owes) if owing]
            part = training if all(owes) else dataclasses.replace(training, runs=[runs[row] for row in late])
            before = [metrics_log.last_means(runs[row].workdir, first_step) for row in late]
            found = evaluate_held_out(part, [states[row] for row in late], first_step, before)
            held_out = [dict(zip(late, found, strict=True)).get(row, {}) for row in range(len(runs))]
        if first_step == training.config.total_steps:
            return held_out, True
        step_fn = shared_encoder.make_step([run.member for run in runs])
        batches = training.read()
        training.compiler.wait_for(functools.partial(compile_ahead, step_fn, states, arrays_of(batches)))
    except interrupts.Stopped:
        runs[0].logger.stopped(first_step)
        return held_out, False
    return steps(training, states, step_fn, batches, held_out)


def steps(
    training: Training, states: list[TrainState], step_fn: Callable, batches: dict[Seeds, Batch],
    held_out: list[dict[str, float]],
) -> tuple[list[dict[str, float]], bool]:  # fmt: skip
    """The steps of `train`, from the first batches on; `held_out` is what it returns if it does not evaluate."""
    runs, stop, config = training.runs, training.stop, training.config
    first_step, last_step = int(states[0].step), config.total_steps
    pending: list[Pending] = []
    for step in range(first_step + 1, last_step + 1):
        with jax.transfer_guard("disallow"):
            states, metrics = step_fn(states, arrays_of(batches))
            pending.append(Pending(step, {name: batch.without_arrays() for name, batch in batches.items()}, metrics))
            positions = {name: batch.position_after for name, batch in batches.items()}
            batches = training.read() if step < last_step else {}  # read and placed while the device works
            wait_for_old_steps(training, pending)
        for run in runs:
            run.logger.advance()
        stopping = stop.after(step)
        last = step == last_step or stopping
        log_now, save_now, evaluate_now = (
            step % every == 0 for every in (config.log_every, config.checkpoint_every, config.eval_every)
        )
        if not (last or log_now or save_now or evaluate_now):
            continue
        wait(training, pending[-1].metrics)
        rows = fetch_finite(training, pending, states)
        pending.clear()
        means = [mean([of_runs[number] for of_runs in rows]) for number in range(len(runs))]
        for run, values in zip(runs, means, strict=True):
            training.report(run.logger.train(step, values))
        if last or save_now or stop.now():
            training.save(step, states, positions)
        if step == last_step or (evaluate_now and not stopping):
            try:
                held_out = evaluate_held_out(training, states, step, means)
            except interrupts.Stopped:
                if step == last_step:  # what is missing is made up for when the same command continues
                    runs[0].logger.stopped(step)
                    return held_out, False
        if (stopping or stop.now()) and step < last_step:
            training.save(step, states, positions)
            runs[0].logger.stopped(step)
            return held_out, False
    return held_out, True


def evaluate_held_out(
    training: Training, states: list[TrainState], step: int, train_means: list[dict[str, float]]
) -> list[dict[str, float]]:
    """Means of the stage's metrics over the first held-out batches; logs them and writes them to the cards.

    Raises:
      Stopped: the runs are to end, and this evaluation is made up for when they continue.
    """
    variables = [variables_of(state) for state in states]
    rows: list[list[dict[str, jax.Array]]] = []
    with contextlib.ExitStack() as paused:
        for run in training.runs:
            paused.enter_context(run.logger.paused())
        with training.held_out_feed() as feed:
            for batch in itertools.islice(feed, training.config.eval_batches):
                if rows:
                    wait(training, rows[-1])
                else:
                    compiles = functools.partial(compile_ahead, training.eval_fn, variables, batch.arrays)
                    training.compiler.wait_for(compiles)
                if training.stop.now():
                    raise interrupts.Stopped
                rows.append(training.eval_fn(variables, batch.arrays))
        wait(training, rows[-1])
        fetched = jax.device_get(rows)
    found = [mean([of_runs[number] for of_runs in fetched]) for number in range(len(states))]
    for run, before, means in zip(training.runs, train_means, found, strict=True):
        training.report(run.logger.evaluation(step, means))
        if jax.process_index() == 0:
            model_card.write_metrics(run.workdir, step, before, means)
    return found


def compile_ahead(program: Any, *args: Any) -> None:
    """Compiles a jitted function for arguments, which it is then called with."""
    program.lower(*args).compile()


def arrays_of(batches: dict[Seeds, Batch]) -> dict[Seeds, dict[str, jax.Array]]:
    """What of the batches goes into a program."""
    return {name: batch.arrays for name, batch in batches.items()}


def wait_for_old_steps(training: Training, pending: list[Pending]) -> None:
    """Keeps the host at most a few steps ahead of the device, so that batches do not pile up there."""
    if len(pending) > _STEPS_AHEAD:
        wait(training, pending[-1 - _STEPS_AHEAD].metrics)


def wait(training: Training, metrics: list[dict[str, jax.Array]]) -> None:
    """Waits for metrics, so that Ctrl-C is noticed at once; if it takes long, says that it was."""
    says = None
    array = next(iter(metrics[0].values()))  # one program makes all of them
    while not array.is_ready():  # type: ignore[attr-defined]  # not in jax.Array's type
        time.sleep(_POLL)
        if training.stop.now() and says is None:
            says = time.monotonic() + _PATIENCE
        if says is not None and time.monotonic() > says:
            training.runs[0].logger.stopping()
            says = math.inf
