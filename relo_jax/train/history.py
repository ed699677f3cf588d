"""What a run logged: its rows, its curves, and the tracker that it made.

    history = relo_jax.train_and_evaluate(config, "runs/rl")
    history.plot()
    history.tracker()

`relo_jax.History("runs/rl")` reads the same of a run that is finished, or still goes on in another process.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relo_jax import config as config_lib
from relo_jax.checkpoints.run_directory import CHECKPOINTS, CONFIG_FILE, METRICS_FILE, metrics_row, read_config
from relo_jax.checkpoints.training_curves import draw_curves
from relo_jax.errors import UserError, in_one_line
from relo_jax.media.figures import Figure, Target
from relo_jax.model import RELO
from relo_jax.tracking.tracker import Tracker
from relo_jax.train.initialise import first_variables

STAGES = {"warmup": "warm-up", "rl": "RL stage"}
_SHOWN = {  # metric -> its heading, in the table of a notebook
    "loss": "loss", "reward": "reward", "iou": "IoU", "greedy_iou": "greedy IoU", "auc": "AUC",
    "greedy_auc": "greedy AUC", "entropy": "entropy", "value_loss": "value loss", "clips_per_second": "clips/s",
}  # fmt: skip


class History:
    """The metrics of a run.

    Args:
      workdir: run directory.
      held_out: see below; by default none.
      stopped: see below.

    Attributes:
      workdir: run directory.
      rows: as in its `metrics.jsonl`, dicts: `step`, `split` ("train" or "eval") and the metrics. Training rows are
        means over the steps since the row before; those of "eval" are means over held-out clips.
      held_out: metrics of the last held-out evaluation of this call of `train_and_evaluate`; {} if there was none.
      stopped: whether Ctrl-C, SIGTERM or a callback ended that call before all was done.

    Raises:
      UserError: the directory has no run.
    """

    def __init__(self, workdir: Path | str, held_out: dict[str, float] | None = None, stopped: bool = False):
        self.workdir = Path(workdir)
        self.held_out, self.stopped = held_out or {}, stopped
        if not (self.workdir / METRICS_FILE).is_file() and not (self.workdir / CONFIG_FILE).is_file():
            raise UserError(f"{workdir} has no {METRICS_FILE}: give the run directory of relo train")
        self.rows = _read(self.workdir / METRICS_FILE)

    @property
    def stage(self) -> str:
        """ "warmup" or "rl"."""
        return read_config(self.workdir)["stage"]

    @property
    def step(self) -> int:
        """The last step in the rows; 0 without any."""
        return max((row["step"] for row in self.rows), default=0)

    @property
    def total_steps(self) -> int:
        """The steps of the whole run."""
        return read_config(self.workdir)["total_steps"]

    def plot(self, path: Target = None) -> Figure:
        """The curves: reward, IoU, entropy, loss of the value and more, as far as they were logged.

        Args:
          path: file to write too (.png, .svg, .pdf); None: none.

        Raises:
          UserError: there are no rows yet; the file cannot be written.
        """
        if not self.rows:
            raise UserError(f"{self.workdir / METRICS_FILE} has no rows yet: the run logs every config.log_every steps")
        return curves(self.rows, path, STAGES[self.stage])

    def tracker(self, step: int | None = None, **options: Any) -> Tracker:
        """A tracker of a checkpoint of the run.

        Args:
          step: of the checkpoint; None: the last; 0: the weights that the run began with.
          **options: as of `Tracker.from_pretrained`.

        Raises:
          UserError: no such checkpoint (`config.keep_checkpoints`), or no policy, which the warm-up does not train.
        """
        if step is None:
            return Tracker.from_pretrained(self.workdir, **options)
        if step:
            return Tracker.from_pretrained(self.workdir / CHECKPOINTS / str(step), **options)
        return self._first_tracker(**options)

    def _first_tracker(self, *, dtype: str | None = None, **options: Any) -> Tracker:
        config = config_lib.from_dict(read_config(self.workdir))
        if config.stage == "warmup":
            raise UserError(f"{self.workdir} is a warm-up, which trains no policy: it cannot track")
        if dtype is not None:
            config.model.dtype = dtype
        model = RELO.from_config(config.model)
        tracker = Tracker(model, first_variables(config, model), {**config.tracker.to_dict(), **options})
        tracker.checkpoint = f"{self.workdir} before its first step"
        return tracker

    def to_pandas(self) -> Any:
        """The rows as a `pandas.DataFrame`. Raises UserError if pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise UserError("to_pandas needs pandas, which is not installed: pip install pandas") from None
        return pandas.DataFrame(self.rows)

    def __repr__(self) -> str:
        return f"History({str(self.workdir)!r}: {self._state()}, {len(self.rows)} rows)"

    def _state(self) -> str:
        """The stage, and how far it is."""
        stopped = ", stopped early" if self.stopped and self.step < self.total_steps else ""
        return f"{STAGES[self.stage]}, step {self.step:,} of {self.total_steps:,}{stopped}"

    def _repr_html_(self) -> str:
        """A table of the last values."""
        head = f"<b>{html.escape(str(self.workdir))}</b>: {self._state()}"
        if not self.rows:
            return f"<p>{head}; nothing was logged yet</p>"
        last = {row["split"]: row for row in self.rows}
        names = {name: text for name, text in _SHOWN.items() if any(name in row for row in last.values())}
        cells = "".join(f"<th>{text}</th>" for text in names.values())
        lines = [f"<tr><th></th><th>step</th>{cells}</tr>"]
        for split, label in (("train", "training"), ("eval", "held-out")):
            if row := last.get(split):
                values = "".join(f"<td>{_number(row.get(name))}</td>" for name in names)
                lines.append(f"<tr><th>{label}</th><td>{row['step']:,}</td>{values}</tr>")
        return f"<p>{head}</p><table>{''.join(lines)}</table>"


def curves(rows: Sequence[dict], path: Target = None, title: str = "") -> Figure:
    """The curves of rows; see `History.plot`."""
    return draw_curves(path, {title: rows})


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if math.isfinite(value) else "not finite"


def _read(file: Path) -> list[dict]:
    """The rows of a metrics file; [] if there is none. A last line that is being written is left out.

    Raises:
      UserError: another line is broken.
    """
    lines = file.read_text(errors="replace").splitlines(keepends=True) if file.is_file() else []
    rows = [metrics_row(line) for line in lines]
    for number, (line, row) in enumerate(zip(lines, rows, strict=True), start=1):
        if row is None and line.endswith("\n"):
            raise UserError(f"{file}, line {number} is no row of metrics ({in_one_line(line, 60)}): remove it")
    return [row for row in rows if row is not None]
