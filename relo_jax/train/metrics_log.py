"""What a run says while it goes: a progress bar, TensorBoard scalars, and the same scalars as JSON lines.

`metrics.jsonl` holds one object a line, `{"step": 500, "split": "train", "loss": ...}`; a continued run drops the lines
of steps that it is going to do again, so that a curve has one value a step however often the run was killed.
"""

import contextlib
import json
import sys
import time
from pathlib import Path

import jax
import numpy as np
import tensorboardX
import tqdm
from jax.experimental import multihost_utils

from relo_jax.checkpoints.run_directory import METRICS_FILE, read_metrics
from relo_jax.files import atomic_write

_NOT_METRICS = ("step", "split", "clips_per_second")  # of a row


class Log:
    """Progress bar, TensorBoard and JSON lines of one run.

    Args:
      workdir: run directory.
      stage: "warmup" or "rl", for the bar.
      first_step, total_steps: where the run starts or continues, and where it ends.
      batch_size: clips a step.
    """

    def __init__(self, workdir, stage, first_step, total_steps, batch_size):
        self._batch_size = batch_size
        self._last = first_step, time.perf_counter()
        self._compiling = True  # the first step is
        path = Path(workdir) / METRICS_FILE
        _drop_after(path, first_step)
        self._file = open(path, "a")
        self._board = tensorboardX.SummaryWriter(str(Path(workdir) / "tensorboard"), purge_step=first_step + 1)
        self._bar = tqdm.tqdm(
            total=total_steps * batch_size,
            initial=first_step * batch_size,
            desc={"warmup": "warm-up", "rl": "RL stage"}[stage],
            unit="clip",
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 30,
        )

    def advance(self):
        """One more step was given to the device."""
        if self._compiling:
            self._compiling = False
            self._leave_out(time.perf_counter() - self._last[1])
        self._bar.update(self._batch_size)

    @contextlib.contextmanager
    def paused(self):
        """What happens in here counts neither for the speed nor for the time left: an evaluation."""
        start = time.perf_counter()
        yield
        self._leave_out(time.perf_counter() - start)

    def _leave_out(self, seconds):
        self._last = self._last[0], self._last[1] + seconds
        self._bar.start_t += seconds
        self._bar.last_print_t += seconds

    def train(self, step, metrics):
        """Means over the steps since the last call; adds the speed."""
        last_step, last_time = self._last
        self._last = step, time.perf_counter()
        seconds = max(self._last[1] - last_time, 1e-9)
        speed = {"clips_per_second": (step - last_step) * self._batch_size / seconds}
        self._write("train", step, {**metrics, **speed})
        shown = [name for name in ("loss", "iou", "greedy_iou") if name in metrics]
        self._bar.set_postfix({name: f"{metrics[name]:.3f}" for name in shown}, refresh=False)

    def evaluation(self, step, metrics):
        """Means over the held-out batches."""
        self._write("eval", step, metrics)
        text = ", ".join(f"{name} {value:.4f}" for name, value in sorted(metrics.items()))
        self._bar.write(f"step {step}, held-out: {text}", file=sys.stderr)

    def stopped(self, step):
        """A signal ended the run before its time."""
        self._bar.write(f"stopped after step {step}; the same command goes on from there", file=sys.stderr)

    def _write(self, split, step, metrics):
        for name, value in metrics.items():
            self._board.add_scalar(f"{split}/{name}", value, step)
        print(json.dumps({"step": step, "split": split, **metrics}), file=self._file, flush=True)

    def close(self):
        """Flushes everything."""
        self._bar.close()
        self._board.close()
        self._file.close()


class NullLog:
    """The `Log` of all processes but the first: they would say the same."""

    advance = train = evaluation = stopped = close = lambda self, *args: None
    paused = contextlib.nullcontext


@contextlib.contextmanager
def opened(*args, **kwargs):
    """A `Log` that is closed on the way out, also after an error; process 0 alone writes one."""
    log = NullLog() if jax.process_index() else Log(*args, **kwargs)
    try:
        yield log
    finally:
        log.close()


def owes_evaluation(workdir, step, config):
    """Whether a run that goes on after `step` was killed, or stopped, when it should have looked at held-out clips."""
    if not step or step % config.eval_every and step != config.total_steps:
        return False
    # Process 0 keeps the file; all others have to look with it.
    owes = jax.process_index() == 0 and all(row["step"] != step for row in read_metrics(workdir, "eval"))
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(owes)))


def last_means(workdir, step):
    """The training metrics of a step as they were logged, but for the speed; {} where there are none."""
    rows = [row for row in read_metrics(workdir) if row["step"] == step] if jax.process_index() == 0 else []
    return {name: rows[-1][name] for name in rows[-1] if name not in _NOT_METRICS} if rows else {}


def _drop_after(path, step):
    """Removes the rows of later steps, and a line that was cut off when the run was killed."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(ValueError):
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
    with atomic_write(path) as file:
        file.write_text("".join(kept))
