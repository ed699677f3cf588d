"""The results of a rehearsal: a converted checkpoint, evaluations, the table beside the paper's, and the packs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from relo_jax.config import published
from relo_jax.data.datasets import layouts
from relo_jax.eval.benchmarks import published_names
from relo_jax.eval.reproduce import JSON_FILE
from relo_jax.eval.runner import SUMMARY_FILE
from relo_jax.study.rehearsal.data import BENCHMARKS
from relo_jax.study.rehearsal.plan import Plan
from relo_jax.study.rehearsal.processes import StepFailed

_ENDINGS = (".txt", "_score.txt", "_time.txt")
Run = Callable[[list], object]  # runs the arguments of `relo`, and notes them


def convert_command(plan: Plan, file: Path, out: Path) -> list:
    """The arguments of `relo convert`. A network with other fields than the variant's cannot be known by its shapes."""
    fields = plan.model_fields()
    if not fields:
        return ["convert", file, out]
    return ["convert", file, out, "--variant", plan.variant, *(word for f in fields for word in ("--set", f))]


def evaluate_command(checkpoint: Path, dataset: str, data: Path, out: Path, options: list) -> list:
    """The arguments of `relo eval` for one benchmark."""
    where = ["--data-root", data, "--out", out / dataset]
    return ["eval", "--checkpoint", checkpoint, "--dataset", dataset, *where, *options]


def reproduce(plan: Plan, checkpoint: Path, data: Path, out: Path, options: list, run: Run) -> str:
    """The paper's table by `relo reproduce`, and by `relo eval` the benchmarks that the paper's table lacks.

    Args:
      plan: of the rehearsal.
      checkpoint: of its variant.
      data: folder of the datasets.
      out: folder of the results.
      options: more arguments of both commands.
      run: runs a command.

    Raises:
      StepFailed: a command failed, or the table lacks a benchmark.
    """
    rows = published.RESULTS.get(plan.variant, {})
    if rows:
        where = ["--data-root", data, "--out", out]
        run(["reproduce", "--variant", plan.variant, "--checkpoint", checkpoint, *where, *options])
        found = json.loads((out / JSON_FILE).read_text())["datasets"]
        lost = [name for name in rows if found.get(name, {}).get("state") not in ("measured", "server")]
        if lost:
            raise StepFailed(f"{out / JSON_FILE} has no result of {', '.join(lost)}")
    for dataset in BENCHMARKS:
        if dataset not in rows:
            run(evaluate_command(checkpoint, dataset, data, out, options))
    table = f"{len(rows)} benchmarks beside the paper's" if rows else f"no results are published for {plan.variant}"
    return f"{table}; {frames_in(out)} frames"


def frames_in(out: Path) -> int:
    """Frames of all evaluated benchmarks below a folder."""
    return sum(_frames(summary) for summary in _summaries(out))


def speed_in(out: Path) -> float:
    """Frames per second over all evaluated benchmarks below a folder."""
    pairs = [(_frames(s), s["frames_per_second"]) for s in _summaries(out) if s.get("frames_per_second")]
    return sum(frames for frames, _ in pairs) / sum(frames / rate for frames, rate in pairs)


def _summaries(out: Path) -> Iterable[dict]:
    return [json.loads(file.read_text()) for file in sorted(out.glob(f"*/{SUMMARY_FILE}"))]


def _frames(summary: dict) -> int:
    return sum(sequence["frames"] for sequence in summary["sequences"].values())


def pack(server: str, results: Path, data: Path, folder: Path, run: Run) -> str:
    """Packs a test split for its server.

    A miniature has a few sequences of the official list, so `relo pack` must refuse them first. Then the others get
    copies of the tracked ones' files, and the pack must be made.

    Args:
      server: "got10k" or "trackingnet".
      results: folder of the evaluation.
      data: folder of the miniatures, against which the tracked sequences are checked.
      folder: for the filled results and the zip.
      run: runs a command.

    Raises:
      StepFailed: an incomplete pack was made, or the complete one was not.
    """
    title, names = layouts.dataset_layout(server).title, published_names(layouts.dataset_layout(server), "test")
    tracked = [name for name in names if (results / f"{name}.txt").is_file()]
    if not tracked:
        raise StepFailed(f"{results} has no result of {title}'s test split")
    folder.mkdir(parents=True)
    out = folder / f"{server}.zip"
    argv = ["pack", server, results, "--out", out, "--data-root", data]
    try:
        run(argv)
    except StepFailed as error:
        expected = f"{len(names) - len(tracked)} files of {title}'s test split missing or wrong"
        if expected not in str(error):
            raise
    else:
        raise StepFailed(f"a pack with {len(tracked)} of {len(names)} sequences was not refused")
    filled = folder / server
    filled.mkdir()
    for number, name in enumerate(names):
        source = name if name in tracked else tracked[number % len(tracked)]
        for ending in _ENDINGS:
            shutil.copyfile(results / f"{source}{ending}", filled / f"{name}{ending}")
    argv[2] = filled
    run(argv)
    if not out.is_file():
        raise StepFailed(f"{out} was not written")
    return f"{len(tracked)} of {len(names)} sequences refused, {len(names)} packed (copies of those)"
