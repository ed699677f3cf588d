"""Runs in progress: their configs, their directories, and the states that they begin with."""

import contextlib
import dataclasses
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
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
from relo_jax.errors import UserError
from relo_jax.model import RELO, count_parameters
from relo_jax.train import checkpoints, distributed, metrics_log, shared_encoder
from relo_jax.train.callbacks import Report
from relo_jax.train.drawn_feed import DrawnFeed, training_clips
from relo_jax.train.feed import Batch, Feed
from relo_jax.train.initialise import first_state
from relo_jax.train.shared_encoder import Member, Seeds, seeds
from relo_jax.train.state import TrainState, variables_of, warmup_steps

Logger = metrics_log.Log | metrics_log.NullLog
_Value = TypeVar("_Value")


@dataclasses.dataclass
class Run:
    """A run whose directory is open. Runs that train together take the same steps."""

    config: ConfigDict
    model: RELO
    workdir: Path
    saved: dict[str, Any]  # config, with every field of the model
    manager: CheckpointManager
    logger: Logger = dataclasses.field(default_factory=metrics_log.NullLog)

    @property
    def member(self) -> Member:
        """What programs are made of."""
        return Member(self.config, self.model)

    def begin(self, compiler: "Compiler") -> tuple[TrainState, dict | None]:
        """`first_state`. Says if a new run is too short for its warm-up of the learning rate.

        Raises:
          Stopped: the run is to end.
        """
        config, start = self.config, lambda: first_state(self.config, self.model, compiler.mesh, self.manager)
        if self.manager.latest_step() is not None:
            return start()  # by this thread: a read that nobody waits for any more would outlive the manager
        given, scaled = config.optimizer.warmup_steps, warmup_steps(config)
        if scaled < given and jax.process_index() == 0:
            tqdm.write(
                f"a run of config.total_steps={config.total_steps} is short: the learning rate rises over its first "
                f"{scaled}, not over config.optimizer.warmup_steps={given}",
                file=sys.stderr,
            )
        return compiler.wait_for(start)

    def write_card(self, state: TrainState, clips: str, held_out: str) -> None:
        """Writes the model card on process 0, if there are steps left; see `model_card.begin_training`."""
        if jax.process_index() == 0 and state.step < self.config.total_steps:
            parameters = count_parameters(variables_of(state))
            model_card.begin_training(self.workdir, self.saved, parameters, clips, held_out, int(state.step))

    def open_log(self, first_step: int, title: str, bar: bool) -> AbstractContextManager[Logger]:
        """The run's log; arguments as of `metrics_log.Log`."""
        of_run = self.config.stage, first_step, self.config.total_steps, self.config.batch_size
        return metrics_log.opened(self.workdir, *of_run, title, bar)

    def save(self, step: int, state: TrainState, position: dict) -> None:
        """Starts saving a checkpoint, see `checkpoints.save`."""
        checkpoints.save(self.manager, self.workdir, step, state, position)


@contextlib.contextmanager
def opened(config: ConfigDict, workdir: Path | str) -> Iterator[Run]:
    """Opens a run's directory for the block; see `checkpoints.opened`."""
    model = RELO.from_config(config.model)
    saved = {**config_lib.to_dict(config), "model": model.config.to_dict()}
    with checkpoints.opened(workdir, saved, config.keep_checkpoints) as manager:
        yield Run(config, model, Path(workdir), saved, manager)


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


def data_index(workdir: Path) -> Path:
    """Where a run keeps the indices of its datasets."""
    return workdir.parent / "data_index"


def titles(runs: Sequence[Run]) -> list[str]:
    """What tells the runs of a training apart: the parts of their directories in which they differ; "" for one."""
    if len(runs) == 1:
        return [""]
    common = os.path.commonpath([run.workdir.absolute() for run in runs])
    return [str(run.workdir.absolute().relative_to(common)) for run in runs]


@dataclasses.dataclass(frozen=True)
class Training:
    """Runs in progress, with what they share."""

    runs: list[Run]
    feeds: dict[Seeds, Feed | DrawnFeed]
    held_out_feed: Callable[[], Feed]  # the same batches each time
    compiler: Compiler
    stop: distributed.Stop
    report: Report

    @property
    def config(self) -> ConfigDict:
        """Of one of the runs, for the fields that all have in common."""
        return self.runs[0].config

    @functools.cached_property
    def eval_fn(self) -> Any:
        """The program of the held-out evaluation."""
        return shared_encoder.make_eval([run.member for run in self.runs])

    def read(self) -> dict[Seeds, Batch]:
        """The next batch of each feed."""
        return {name: next(feed) for name, feed in self.feeds.items()}

    def save(self, step: int, states: list[TrainState], positions: dict[Seeds, dict]) -> None:
        """Starts saving a checkpoint of each run, unless it is saved already."""
        for run, state in zip(self.runs, states, strict=True):
            run.save(step, state, positions[seeds(run.config)])


@dataclasses.dataclass
class Pending:
    """A step whose metrics are still on the device."""

    step: int
    batches: dict[Seeds, Batch]  # without their arrays
    metrics: list[dict[str, jax.Array]]


def fetch_finite(
    training: Training, pending: list[Pending], states: list[TrainState]
) -> list[list[dict[str, np.ndarray]]]:
    """Metrics of the pending steps, on the host: for each step those of each run.

    Raises:
      UserError: a step was not finite; the state before it is saved, and the message names the clips of its batch.
    """
    rows = jax.device_get([item.metrics for item in pending])
    for item, of_runs in zip(pending, rows, strict=True):
        for run, state, row in zip(training.runs, states, of_runs, strict=True):
            if row["finite"]:
                continue
            batch = item.batches[seeds(run.config)]
            run.save(item.step - 1, state, batch.position_before)
            run.manager.wait_until_finished()
            clips = training_clips(run.config, run.model.config, data_index(run.workdir))
            names = [clips.describe(int(index)) for index in batch.index]
            raise UserError(
                f"step {item.step}: loss {row['loss']}, gradient norm {row['grad_norm']}; clips {', '.join(names)}; "
                f"the last good state is checkpoint {item.step - 1} of {run.workdir}"
            )
    return rows


def mean(rows: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """The mean of each metric over the rows."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name != "finite"}
