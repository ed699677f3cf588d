"""The training of a rehearsal: a warm-up that is killed and continued, and the RL stage from it."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

from relo_jax.checkpoints.run_directory import CHECKPOINTS, METRICS_FILE
from relo_jax.study.rehearsal import processes
from relo_jax.study.rehearsal.plan import KEEP, Plan
from relo_jax.study.rehearsal.processes import StepFailed
from relo_jax.study.rehearsal.weights import CLASSIFIER

BEFORE_FILE = "warmup_before_the_kill.jsonl"
SPEED = "clips_per_second"
TOLERANCE = 1e-3  # relative, of a repeated step; accelerators add in any order


def command(plan: Plan, stage: str, clips: int, data: Path, init_from: Path) -> list:
    """The arguments of `relo train` for a stage: its real config with fewer steps and clips."""
    steps = plan.steps if stage == "warmup" else plan.steps // 2
    fields = {
        "init_from": init_from, "data.name": plan.data_name(stage), "data.root": data, "batch_size": clips,
        "total_steps": steps, "log_every": 1, "checkpoint_every": plan.kill_after, "eval_every": steps,
        "eval_batches": 1, "keep_checkpoints": KEEP,
    }  # fmt: skip
    if stage == "warmup":
        fields["init_ignore"] = CLASSIFIER
    config = plan.config(stage)
    if config.optimizer.warmup_steps >= steps:
        fields["optimizer.warmup_steps"] = 0
    if clips % max(config.group_size, 1):
        fields["group_size"] = math.gcd(config.group_size, clips)
    workdir = plan.workdir / stage
    ours = [f"--config.{name}={value}" for name, value in fields.items()]
    return ["train", "--config", plan.config_name(stage), "--workdir", workdir, *plan.fields, *ours]


def kill_warmup(plan: Plan, argv: list, log: Path) -> str:
    """Kills the warm-up after its first checkpoint, in or after the step that follows; keeps the rows that it wrote."""
    workdir, step = plan.workdir / "warmup", plan.kill_after

    def condition() -> bool:
        done = (workdir / CHECKPOINTS / str(step)).is_dir()
        return done and any(row["step"] > step for row in rows_of(workdir / METRICS_FILE))

    processes.kill_when(condition, argv, plan.workdir, log)
    rows = rows_of(workdir / METRICS_FILE)
    (plan.workdir / BEFORE_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"killed in step {rows[-1]['step'] + 1} of {plan.steps}, with checkpoint {step}"


def continue_warmup(plan: Plan, argv: list, log: Path) -> str:
    """Runs the same command again, to the end, and compares the steps that both processes did."""
    processes.relo(argv, plan.workdir, log)
    return compare(rows_of(plan.workdir / BEFORE_FILE), rows_of(plan.workdir / "warmup" / METRICS_FILE), plan)


def compare(before: list[dict], after: list[dict], plan: Plan) -> str:
    """How far the steps agree that were done before the kill and again after it.

    Raises:
      StepFailed: a step is missing or double, or was repeated with other numbers.
    """
    steps = [row["step"] for row in after]
    if steps != list(range(1, plan.steps + 1)):
        raise StepFailed(f"the metrics have the steps {steps}, not each from 1 to {plan.steps} once")
    largest, repeated = 0.0, [row for row in before if row["step"] > plan.kill_after]
    for row in before:
        again = after[row["step"] - 1]
        for name in row.keys() - {SPEED}:
            difference = _difference(row[name], again[name])
            if not difference <= TOLERANCE:
                raise StepFailed(f"step {row['step']}: {name} was {row[name]} before the kill and {again[name]} after")
            largest = max(largest, difference)
    first, last = repeated[0]["step"], repeated[-1]["step"]
    which = f"step {first}" if first == last else f"steps {first} to {last}"
    how = f"equal to within {largest:.0e}" if largest else "with the same numbers"
    return f"{which} repeated {how}"


def _difference(one: object, other: object) -> float:
    """Relative difference of two numbers; of anything else 0 or infinite."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) / max(abs(one), abs(other), 1e-6)
    return 0.0 if one == other else float("inf")


def train(plan: Plan, argv: list, log: Path) -> str:
    """Trains a stage to its end."""
    processes.relo(argv, plan.workdir, log)
    return f"{plan.steps // 2} steps"


def rate(workdir: Path) -> float:
    """Clips per second of a run: the median over its steps without the first, which waits for the compiler."""
    rows = rows_of(workdir / METRICS_FILE)
    return statistics.median([row[SPEED] for row in rows[1:]] or [rows[0][SPEED]])


def checkpoint_bytes(workdir: Path) -> int:
    """Size of the newest checkpoint of a run."""
    newest = max((workdir / CHECKPOINTS).iterdir(), key=lambda path: int(path.name) if path.name.isdigit() else -1)
    return size_of(newest)


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def rows_of(file: Path) -> list[dict]:
    """The complete training rows of a file of metrics that may be growing; [] if there is none."""
    if not file.exists():
        return []
    lines = file.read_text().split("\n")[:-1]  # a line without its end is not complete
    return [row for row in map(json.loads, lines) if row.get("split", "train") == "train"]
