"""The data of a rehearsal: miniature datasets, their check, and the speed of the loader."""

from __future__ import annotations

import json
from pathlib import Path

from relo_jax import config as relo_config
from relo_jax.config import published
from relo_jax.data import miniature
from relo_jax.data.datasets import check, layouts
from relo_jax.data.datasets.layout import MISSING_PART
from relo_jax.errors import UserError
from relo_jax.study.rehearsal import processes
from relo_jax.study.rehearsal.plan import Plan
from relo_jax.study.rehearsal.processes import StepFailed

TRAINING_SETS = tuple(relo_config.PAPER_DATA.split("+"))
BENCHMARKS = published.DATASETS
DATASETS = tuple(dict.fromkeys((*TRAINING_SETS, *BENCHMARKS)))
_LOADER_CLIPS = 64
# Arguments that make the benchmarks shorter; UAV123 has the frames around the one that two sequences share.
_SHORT: dict[str, dict] = {
    "lasot_ext": {"frames": 12}, "tnl2k": {"frames": 12}, "nfs": {"frames": 12}, "uav123": {"frames": range(570, 586)},
}  # fmt: skip
_INCOMPLETE = ("sequences missing", MISSING_PART)  # problems that every miniature has


def write_miniatures(root: Path) -> str:
    """Writes all datasets in miniature, each below its official folder; returns how many there are."""
    for name in DATASETS:
        folder = root / layouts.dataset_layout(name).folders[0]
        miniature.MAKERS[name](folder, **_SHORT.get(name, {}))
    return f"{len(TRAINING_SETS)} training sets, {len(BENCHMARKS)} benchmarks"


def check_miniatures(root: Path, cache: Path) -> str:
    """Checks all miniatures, every frame of them, as `relo data check` does.

    Raises:
      StepFailed: a problem other than that a miniature is not the whole dataset.
    """
    sequences = frames = 0
    for name in DATASETS:
        try:
            findings, _ = check.check(layouts.dataset_layout(name), [], root, cache, "all")
        except UserError as error:
            raise StepFailed(str(error)) from None
        for found in findings:
            bad = [kind for kind in found.kinds if found.fatal(kind) and kind not in _INCOMPLETE]
            if bad:
                raise StepFailed(f"{found.dataset.layout.title} {found.dataset.split}: {found.examples[bad[0]][0]}")
            sequences, frames = sequences + len(found.dataset), frames + found.scanned
    return f"{sequences} sequences, all {frames:,} frames decoded"


def check_own(root: Path, cache: Path) -> str:
    """Checks the user's own datasets: a sample of each sequence.

    Raises:
      StepFailed: a training set is not there, or a dataset has a fatal problem.
    """
    problems, absent, good = [], [], 0
    for name in DATASETS:
        layout = layouts.dataset_layout(name)
        try:
            findings, _ = check.check(layout, [], root, cache, "sample")
        except UserError as error:
            absent.append(layout.title)
            if name in TRAINING_SETS:
                problems.append(str(error))
            continue
        fatal = [_fatal(found, kind) for found in findings for kind in found.kinds if found.fatal(kind)]
        problems += fatal
        good += not fatal
    if problems:
        more = f" (and {len(problems) - 1} more problems: see relo data check)" if len(problems) > 1 else ""
        raise StepFailed(problems[0] + more)
    return f"{good} datasets without a fatal problem" + (f"; not here: {', '.join(absent)}" if absent else "")


def _fatal(found: check.Findings, kind: str) -> str:
    """A line on the problems of a kind."""
    where, first = f"{found.dataset.layout.title} {found.dataset.split}", found.examples[kind][0]
    if kind == _INCOMPLETE[0]:
        return f"{where}: {first.detail}"
    return f"{where}: {found.counts[kind]} x {kind}, such as {first}"


def loader(plan: Plan, root: Path, batch_size: int, log: Path) -> tuple[list, float]:
    """Runs `relo profile data` for the warm-up's clips of a root; returns the command and clips per second."""
    report = log.with_suffix(".json")
    argv = [
        "profile", "data", "--config", plan.config_name("warmup"), "--clips", _LOADER_CLIPS, "--steps", 0,
        "--json", report, f"--config.data.root={root}", f"--config.data.name={plan.data_name('warmup')}",
        f"--config.batch_size={batch_size}", *plan.fields, "--config.group_size=0",
    ]  # fmt: skip
    processes.relo(argv, plan.workdir, log)
    return argv, json.loads(report.read_text())["pipeline_clips_per_second"]
