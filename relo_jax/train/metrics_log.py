"""The output of a run in progress: a progress bar, TensorBoard scalars, and the same scalars as JSON lines.

`metrics.jsonl` has one object per line, `{"step": 500, "split": "train", "loss": ...}`. A continued run drops the lines
of steps that it repeats, so that a curve has one value per step however often the run was killed.
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import tensorboardX
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from relo_jax.bars import redraw_interval, tqdm
from relo_jax.checkpoints.run_directory import METRICS_FILE, metrics_row, read_metrics
from relo_jax.files import atomic_write

_NOT_METRICS = ("step", "split", "clips_per_second")  # fields of a row


class Log:
    """Progress bar, TensorBoard and JSON lines of one run.

    Args:
      workdir: run directory.
      stage: "warmup" or "rl", shown in the bar.
      first_step, total_steps: number of steps done before, and of all.
      batch_size: clips per step.
      title: names the run in its lines, if it is one of several that train together.
      bar: whether to show the bar, which one of them has.
    """

    def __init__(
        self, workdir: Path | str, stage: str, first_step: int, total_steps: int, batch_size: int, title: str = "",
        bar: bool = True,
    ):  # fmt: skip
        self._batch_size, self._title = batch_size, title
        self._last = first_step, time.perf_counter()
        self._compiling = True  # in the first step
        path = Path(workdir) / METRICS_FILE
        _drop_after(path, first_step)
        self._file = open(path, "a")
        self._board = tensorboardX.SummaryWriter(str(Path(workdir) / "tensorboard"), purge_step=first_step + 1)
        self._bar = tqdm(
            total=total_steps * batch_size,
            initial=first_step * batch_size,
            desc={"warmup": "warm-up", "rl": "RL stage"}[stage],
            unit="clip",
            dynamic_ncols=True,
            mininterval=redraw_interval(),
            disable=not bar,
        )

    def advance(self) -> None:
        """Advances the bar by one step."""
        if self._compiling:
            self._compiling = False
            self._exclude(time.perf_counter() - self._last[1])
        self._bar.update(self._batch_size)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes the time of the block, an evaluation, from the speed and the time left."""
        start = time.perf_counter()
        yield
        self._exclude(time.perf_counter() - start)

    def _exclude(self, seconds):
        self._last = self._last[0], self._last[1] + seconds
        if not self._bar.disable:
            self._bar.start_t += seconds
            self._bar.last_print_t += seconds

    def train(self, step: int, metrics: dict[str, float]) -> dict:
        """Logs the means over the steps since the last call, and the speed. Returns the row."""
        last_step, last_time = self._last
        self._last = step, time.perf_counter()
        seconds = max(self._last[1] - last_time, 1e-9)
        speed = {"clips_per_second": (step - last_step) * self._batch_size / seconds}
        row = self._write("train", step, {**metrics, **speed})
        shown = [name for name in ("loss", "iou", "greedy_iou") if name in metrics and not self._title]
        self._bar.set_postfix({name: f"{metrics[name]:.3f}" for name in shown}, refresh=False)
        return row

    def evaluation(self, step: int, metrics: dict[str, float]) -> dict:
        """Logs the means over the held-out batches. Returns the row."""
        row = self._write("eval", step, metrics)
        text = ", ".join(f"{name} {value:.4f}" for name, value in sorted(metrics.items()))
        which = f"{self._title}, " if self._title else ""
        self._bar.write(f"{which}step {step}, held-out: {text}", file=sys.stderr)
        return row

    def stopping(self) -> None:
        """Says that the run stops when it has done the steps that it has begun."""
        self._bar.write("stopping after the step under way; Ctrl-C again does not wait for it", file=sys.stderr)

    def stopped(self, step: int) -> None:
        """Says that the run was stopped."""
        where = f"after step {step}; the same command continues" if step else "before step 1; the same command starts"
        self._bar.write(f"stopped {where} there", file=sys.stderr)

    def _write(self, split, step, metrics):
        for name, value in metrics.items():
            self._board.add_scalar(f"{split}/{name}", value, step)
        row = {"step": step, "split": split, **metrics}
        print(json.dumps(row), file=self._file, flush=True)
        return row

    def close(self) -> None:
        """Flushes and closes all outputs."""
        self._bar.close()
        self._board.close()
        self._file.close()


class NullLog:
    """The log of all processes but the first, which would only repeat it."""

    advance = train = evaluation = stopping = stopped = close = lambda self, *args: None
    paused = contextlib.nullcontext


@contextlib.contextmanager
def opened(*args, **kwargs) -> Iterator[Log | NullLog]:
    """A `Log` on process 0 and a `NullLog` on the others, closed at the end of the block."""
    log = NullLog() if jax.process_index() else Log(*args, **kwargs)
    try:
        yield log
    finally:
        log.close()


def owes_evaluation(workdir: Path | str, step: int, config: ConfigDict) -> bool:
    """Whether a run that continues after `step` was killed or stopped before the held-out evaluation due there."""
    if not step or step % config.eval_every and step != config.total_steps:
        return False
    # Process 0 has the file, but all processes evaluate.
    owes = jax.process_index() == 0 and all(row["step"] != step for row in read_metrics(workdir, "eval"))
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(owes)))


def last_means(workdir: Path | str, step: int) -> dict[str, float]:
    """The logged training metrics of a step, without the speed; {} if there are none."""
    rows = [row for row in read_metrics(workdir) if row["step"] == step] if jax.process_index() == 0 else []
    return {name: rows[-1][name] for name in rows[-1] if name not in _NOT_METRICS} if rows else {}


def _drop_after(path, step):
    """Removes the rows of later steps, and a last line that a killed run left incomplete."""
    if not path.exists():
        return
    lines = path.read_text(errors="replace").splitlines()
    kept = [f"{line}\n" for line in lines if (row := metrics_row(line)) is not None and row["step"] <= step]
    with atomic_write(path) as file:
        file.write_text("".join(kept))
