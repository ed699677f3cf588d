"""`relo study NAME`: trains the arms of a study with several seeds, evaluates each, and says what differs.

A study that was killed goes on with the same command. What a study leaves is in `WORKDIR/NAME/`, what its arms leave,
which other studies may share, in `WORKDIR/arms/`.
"""

import shlex
import time
from pathlib import Path

import tqdm

from relo_jax.checkpoints import provenance
from relo_jax.errors import UserError
from relo_jax.eval.benchmarks import Benchmark, open_benchmark
from relo_jax.eval.report import tables
from relo_jax.files import atomic_write
from relo_jax.study import arm as arms
from relo_jax.study import figure, outcome, studies
from relo_jax.study.held_out import FRAMES, SEQUENCES, held_out_sequences

RESULT_FILE, TABLE_FILE = "study.json", "table.md"


def run_study(name, seeds=3, workdir="runs/study", data_root=None, scale=1.0, *, sequences=SEQUENCES, frames=FRAMES):
    """Runs what of a study was not run yet, writes `study.json`, `table.md` and `curves.png`, prints the table.

    Args:
      name: one of `studies.STUDIES`.
      seeds: trainings of each arm, with the seeds 0, 1, ...
      workdir: folder of all studies.
      data_root: folder of real sequences to evaluate on, too; None for none.
      scale: factor on all numbers of training steps.
      sequences, frames: of the held-out procedural evaluation, how many and how long.

    Returns:
      what `study.json` holds: dict.

    Raises:
      UserError: no such study, a bad number, an arm trained with another config, or the study was interrupted.
    """
    study = studies.find(name)
    if seeds < 1:
        raise UserError(f"--seeds is {seeds}: give at least 1")
    if not 0 < scale < float("inf"):
        raise UserError(f"--scale is {scale}: give a number above 0")
    benchmarks = [held_out(sequences, frames)]
    if data_root is not None:
        benchmarks.append(open_benchmark("folder", data_root))
        if benchmarks[1].title == benchmarks[0].title:
            raise UserError(f"--data-root {data_root}: the procedural sequences go by that name: rename the folder")
    start, folder = time.perf_counter(), Path(workdir) / name
    runs = run_all(study, seeds, scale, benchmarks, workdir)
    found = {
        "study": name,
        "question": study.question,
        "command": command(name, seeds, workdir, data_root, scale),
        "seeds": seeds,
        "scale": scale,
        **outcome.summary(study, runs),
        "began_with": {arm: arms.began_with(arm, 0, workdir) for arm in study.arms},
        "code": provenance.revision(),
        "seconds": round(time.perf_counter() - start, 1),  # of this session: what was there before cost nothing
        **provenance.circumstances(),
    }
    text = outcome.table(name, study, found, scale)
    folder.mkdir(parents=True, exist_ok=True)
    tables.write_json(folder / RESULT_FILE, found)
    with atomic_write(folder / TABLE_FILE) as file:
        file.write_text(f"{text}\n`{found['command']}`, {found['machine']}, {found['date']}\n")
    figure.write_curves(folder / figure.CURVES_FILE, found["curves"])
    print(f"\n{text}\nwritten to {folder}: {TABLE_FILE}, {RESULT_FILE}, {figure.CURVES_FILE}")
    return found


def held_out(sequences, frames):
    """The demo's evaluation: procedural sequences with seeds and textures that no training has."""
    return Benchmark(None, None, "held-out", tuple(held_out_sequences(sequences, frames)))


def run_all(study, seeds, scale, benchmarks, workdir):
    """Every arm with every seed: arm -> list of `arm.Run`. Seed by seed, so that all arms are there early."""
    todo = [(arm, seed) for seed in range(seeds) for arm in study.arms]
    for arm, seed in todo:  # what is refused is refused before anything is trained
        arms.checked_stages(arm, seed, scale, workdir)
    waiting = {key for key in todo if not arms.is_evaluated(arms.folder_of(workdir, *key), benchmarks)}
    runs, spent, start = {arm: [] for arm in study.arms}, [], time.perf_counter()
    for number, (arm, seed) in enumerate(todo, start=1):
        gone = (began := time.perf_counter()) - start
        pace = sum(spent) / len(spent) if spent else 0
        left = f", about {_clock(pace * (len(waiting) - len(spent)))} left" if spent else ""
        print(f"[{number} of {len(todo)}] {arm}, seed {seed} ({_clock(gone)} gone{left})", flush=True)
        runs[arm].append(arms.run(arm, seed, scale, benchmarks, workdir))
        if (arm, seed) in waiting:
            spent.append(time.perf_counter() - began)
    return runs


def command(name, seeds, workdir, data_root, scale):
    """The command line that does this."""
    words = ["relo", "study", name, "--seeds", str(seeds), "--workdir", str(workdir)]
    words += ["--data-root", str(data_root)] if data_root is not None else []
    return shlex.join(words + (["--scale", f"{scale:g}"] if scale != 1 else []))


def _clock(seconds):
    return tqdm.tqdm.format_interval(seconds)
