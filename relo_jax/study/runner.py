"""`relo study NAME`: trains the arms of a study with several seeds, evaluates and compares them.

The same command continues an interrupted study. The results are in `WORKDIR/NAME/`, the trainings, which several
studies may share, in `WORKDIR/arms/`.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
HELD_OUT = "held-out"  # title of the sequences of every study


def run_study(
    name: str,
    seeds: int = 3,
    workdir: Path | str = "runs/study",
    data_root: Path | str | None = None,
    scale: float = 1.0,
    one_by_one: bool = False,
    *,
    sequences: int = SEQUENCES,
    frames: int = FRAMES,
) -> dict:
    """Runs the unfinished parts of a study, writes `study.json`, `table.md` and `curves.png`, and prints the table.

    Args:
      name: one of `studies.STUDIES`.
      seeds: number of trainings of each arm, with the seeds 0, 1, ...
      workdir: folder of all studies.
      data_root: folder of real sequences to evaluate on as a second set; None for none.
      scale: factor on all numbers of training steps.
      one_by_one: whether runs that could be one program train one after the other, which takes less memory.
      sequences, frames: number and length of the held-out procedural sequences.

    Returns:
      The content of `study.json`.

    Raises:
      UserError: no such study, a bad number, an arm trained with another config, or the study was interrupted.
    """
    study = studies.find(name)
    if seeds < 1:
        raise UserError(f"--seeds is {seeds}: give at least 1")
    if not 0 < scale < float("inf"):
        raise UserError(f"--scale is {scale}: give a number above 0")
    if sequences < 1:
        raise UserError(f"--sequences is {sequences}: give at least 1")
    benchmarks = sets_of(study, sequences, frames, data_root)
    start, folder = time.perf_counter(), Path(workdir) / name
    runs = run_all(study, seeds, scale, benchmarks, workdir, one_by_one)
    content = {
        "study": name,
        "question": study.question,
        "command": command(name, seeds, workdir, data_root, scale, sequences),
        "seeds": seeds,
        "scale": scale,
        **outcome.summary(study, runs),
        "began_with": {arm: arms.began_with(arm, 0, workdir) for arm in study.arms},
        "code": provenance.revision(),
        "seconds": round(time.perf_counter() - start, 1),  # of this session
        **provenance.circumstances(),
    }
    text = outcome.table(name, study, content, scale)
    write(folder, content, text)
    print(f"\n{text}\nwritten to {folder}: {TABLE_FILE}, {RESULT_FILE}, {figure.CURVES_FILE}")
    return content


def write(folder: Path, content: dict, text: str) -> None:
    """Writes a study's numbers, its table and its curves."""
    folder.mkdir(parents=True, exist_ok=True)
    tables.write_json(folder / RESULT_FILE, content)
    with atomic_write(folder / TABLE_FILE) as file:
        file.write_text(f"{text}\n`{content['command']}`, {content['machine']}, {content['date']}\n")
    figure.write_curves(folder / figure.CURVES_FILE, content["curves"])


def sets_of(study: studies.Study, sequences: int, frames: int, data_root: Path | str | None) -> list[Benchmark]:
    """What the arms of a study are evaluated on: drawn sequences, then those of a folder if there is one.

    Raises:
      UserError: the folder has no sequences, or its name is that of drawn ones.
    """
    drawn: dict[str, Mapping[str, Any]] = {HELD_OUT: {}, **study.also}
    sets = [held_out(sequences, frames, title, options) for title, options in drawn.items()]
    if data_root is not None:
        sets.append(open_benchmark("folder", data_root))
        if sets[-1].title in drawn:
            raise UserError(
                f"--data-root {data_root}: this is also the name of the procedural sequences: rename the folder"
            )
    return sets


def held_out(sequences: int, frames: int, title: str, options: Mapping[str, Any]) -> Benchmark:
    """The demo's held-out procedural sequences, with some fields of `data.procedural` changed."""
    return Benchmark(None, None, title, tuple(held_out_sequences(sequences, frames, **options)))


def run_all(
    study: studies.Study, seeds: int, scale: float, benchmarks: list[Benchmark], workdir: Path | str,
    one_by_one: bool = False,
) -> dict[str, list[arms.Run]]:  # fmt: skip
    """Runs every arm with every seed, seed by seed; returns arm -> its runs. What can be trained at once is."""
    todo = [(arm, seed) for seed in range(seeds) for arm in study.arms]
    for arm, seed in todo:  # refuses a bad arm before anything is trained
        arms.checked_stages(arm, seed, scale, workdir)
    waiting = {key for key in todo if not arms.is_evaluated(arms.folder_of(workdir, *key), benchmarks)}
    runs: dict[str, list[arms.Run]] = {arm: [] for arm in study.arms}
    untrained = [key for key in todo if arms.next_stage(*key, scale, workdir) is not None]
    training, evaluation = Pace(len(untrained)), Pace(len(waiting))
    start = time.perf_counter()
    for number, (arm, seed) in enumerate(todo, start=1):
        gone = (began := time.perf_counter()) - start
        left = f", about {_clock(training.left() + evaluation.left())} left" if evaluation.done else ""
        print(f"[{number} of {len(todo)}] {arm}, seed {seed} ({_clock(gone)} gone{left})", flush=True)
        trained = arms.train(arm, seed, scale, workdir, () if one_by_one else todo[number:])
        training.add(len(trained), (now := time.perf_counter()) - began)
        runs[arm].append(arms.evaluate(arm, seed, scale, benchmarks, workdir))
        evaluation.add((arm, seed) in waiting, time.perf_counter() - now)
    return runs


@dataclass
class Pace:
    """How long the rest of some work takes, at the pace so far."""

    total: int
    done: int = 0
    seconds: float = 0.0

    def add(self, count: int, seconds: float) -> None:
        """Counts what was done; nothing else takes time that matters."""
        if count:
            self.done, self.seconds = self.done + count, self.seconds + seconds

    def left(self) -> float:
        """Seconds."""
        return self.seconds / self.done * (self.total - self.done) if self.done else 0.0


def command(
    name: str, seeds: int, workdir: Path | str, data_root: Path | str | None, scale: float, sequences: int = SEQUENCES
) -> str:
    """The command line of a study."""
    words = ["relo", "study", name, "--seeds", str(seeds), "--workdir", str(workdir)]
    words += ["--data-root", str(data_root)] if data_root is not None else []
    words += ["--sequences", str(sequences)] if sequences != SEQUENCES else []
    return shlex.join(words + (["--scale", f"{scale:g}"] if scale != 1 else []))


def _clock(seconds: float) -> str:
    return tqdm.tqdm.format_interval(seconds)
