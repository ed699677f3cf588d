"""Evaluates a tracker on a benchmark: result files, a table, JSON and plots. Finished sequences are not run again.

    evaluation = relo_jax.evaluate(open_benchmark("lasot", "/data"), "relo_b256.pth.tar", "results/b256/lasot")
    print(evaluation.table())

One pass over every sequence from its first box (metrics.py), many sequences at a time (lockstep.py), each written when
it ends (results/write.py), by the rules of its benchmark (benchmarks.py) and with the options that the authors
published for it (relo_jax/config/published.py). A sequence that fails is reported with the reason.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np

from relo_jax.bars import progress
from relo_jax.checkpoints import load as checkpoints
from relo_jax.checkpoints import model_card, run_directory
from relo_jax.checkpoints.load import Loaded
from relo_jax.config import published
from relo_jax.data.datasets import layouts
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError, did_you_mean
from relo_jax.eval import metrics
from relo_jax.eval.benchmarks import Benchmark, default_split, open_benchmark
from relo_jax.eval.evaluation import Evaluation
from relo_jax.eval.exported import ExportedLockstep
from relo_jax.eval.lockstep import Lockstep, batch_for
from relo_jax.eval.report import plots
from relo_jax.eval.results.write import ResultFolder, check_names, fingerprint
from relo_jax.eval.tracker_results import TrackerResults, as_whole_numbers, measure, never_moves
from relo_jax.export.backend import Exported
from relo_jax.files import atomic_write
from relo_jax.tracking.options import checked_options

SUMMARY_FILE, CONFIG_FILE = "summary.json", "config.json"


def evaluate(
    sequences: Benchmark | Iterable[Sequence] | Path | str,
    tracker: Loaded | Exported | Path | str = "starter",
    out_dir: Path | str = "results",
    *,
    batch: int = 8,
    options: dict | None = None,
    rules: str | None = None,
    name: str | None = None,
    card: dict | None = None,
    config: dict | None = None,
) -> Evaluation:
    """Evaluates a tracker and writes results and plots into a folder, continuing an earlier evaluation there.

    The folder gets `<name>.txt`, `<name>_score.txt` and `<name>_time.txt` for each sequence (see results/write.py),
    `run.json`, `card.json`, `summary.json`, `success.png` and `precision.png`. The metrics are always those of the
    boxes in the files.

    Args:
      sequences: the benchmark, or any sequences; also a dataset's name or a folder, see `open_benchmark`.
      tracker: what `relo_jax.checkpoint.load` takes, or what it returns; or `Exported` graphs of a checkpoint.
      out_dir: the folder; one with results of other weights or options is refused.
      batch: maximal number of sequences at a time, see `lockstep.batch_for`.
      options: options of `Tracker` to replace; see `published.tracker_options` for the others.
      rules: how frames without a target count, a name of `metrics.RULES`; None: the benchmark's.
      name: of the tracker in the plots; by default from `tracker`.
      card: of the checkpoint, see `model_card.of_checkpoint`; by default from `tracker`.
      config: of this evaluation, to be written beside the results (by_config.py).

    Raises:
      UserError: bad checkpoint, option, rules or sequence names; a folder with another tracker's results; a full disk.
    """
    benchmark = _as_benchmark(sequences)
    rules = rules or benchmark.rules
    _check_arguments(benchmark, rules, batch)
    loaded: Loaded | Exported
    if isinstance(tracker, Loaded | Exported):
        loaded, name = tracker, name or "RELO"
        card = card or {"kind": "in memory", "variant": loaded.model.config.variant}
    else:
        loaded, name = checkpoints.load_tracker(tracker), name or checkpoint_name(tracker)
    values, source = chosen_options(loaded, benchmark, options)
    folder = ResultFolder(Path(out_dir), _made_by(loaded, values))
    if config is not None:
        write_config(folder.path, config)
    boxes = {s.name: folder.read(s) for s in benchmark}
    waiting = [s for s in benchmark if boxes[s.name] is None]
    if waiting:
        batch = batch_for(list(benchmark), batch)  # as if none were done: other batches round differently
        data = {"fingerprint": benchmark.fingerprint(), "sequences": len(benchmark), "frames": sum(map(len, benchmark))}
        card = card or model_card.of_checkpoint(cast(str, tracker))
        evaluated = {"benchmark": benchmark.title, "data": data, "rules": rules, "batch": batch, **_computed(loaded)}
        model_card.add_evaluation(folder.path, card, loaded.config, **evaluated)
    failed = _track(benchmark, waiting, loaded, values, batch, folder, boxes)
    evaluation = _measured(benchmark, TrackerResults(name, folder.path), failed, rules, folder, boxes)
    about = {"tracker": name, **_computed(loaded), "rules": rules}
    _write_summary(folder.path, evaluation, {**about, "options": values, "options_from": source})
    return evaluation


def _as_benchmark(sequences: Benchmark | Iterable[Sequence] | Path | str) -> Benchmark:
    if isinstance(sequences, (str, Path)):
        return open_benchmark(sequences)
    return sequences if isinstance(sequences, Benchmark) else Benchmark(None, None, "sequences", tuple(sequences))


def _check_arguments(benchmark: Benchmark, rules: str, batch: int) -> None:
    """Raises UserError for arguments of `evaluate` that make no sense."""
    if not len(benchmark):
        raise UserError("no sequences to evaluate")
    if rules not in metrics.RULES:
        raise UserError(f"there are no rules {rules!r}{did_you_mean(rules, metrics.RULES)}")
    if batch < 1:
        raise UserError(f"batch is {batch}: give at least 1 sequence at a time")
    check_names(benchmark)


def chosen_options(
    loaded: Loaded | Exported, benchmark: Benchmark, given: dict | None = None
) -> tuple[dict, dict[str, str]]:
    """All options of the tracker on a benchmark, and the origin of those that are not defaults.

    Graphs that are there have a window power, which stays unless another is given, for which there is no graph.
    """
    model = loaded.model.config
    values, source = published.tracker_options(loaded.config, model.variant, benchmark.name, given, model.templates)
    if isinstance(loaded, Exported) and loaded.baked is not None and "window_power" not in (given or {}):
        values["window_power"], source["window_power"] = loaded.baked, "part of the graphs"
    return checked_options(values, loaded.model), source


def _made_by(loaded: Loaded | Exported, options: dict) -> dict:
    """What determines the boxes, JSON-able."""
    if isinstance(loaded, Exported):
        return loaded.fingerprint(options)
    return fingerprint(loaded.model, loaded.variables, options)


def _computed(loaded: Loaded | Exported) -> dict[str, str]:
    """What computed the boxes, and in which precision."""
    if isinstance(loaded, Exported):
        return {"backend": loaded.backend, "precision": loaded.precision}
    return {"dtype": loaded.model.config.dtype}


def dataset_folder(benchmark: Benchmark, seed: int | None = None) -> str:
    """The name of a dataset's folder, with the split if it is not the one that papers report; for a folder of sequences
    its own name."""
    name = benchmark.name or "sequences"
    what = {"folder": benchmark.title, "procedural": f"procedural-{seed or 0}"}.get(name, name)
    if benchmark.split is not None and benchmark.split != default_split(layouts.dataset_layout(name)):
        what = f"{what}-{benchmark.split}"
    return what


def checkpoint_name(path: Path | str) -> str:
    """A name for a checkpoint: its run directory, with the step if `path` has one, or the file without suffix."""
    path = Path(path)
    if path.parent.name == run_directory.CHECKPOINTS:
        return f"{path.absolute().parents[1].name}-{path.name}"
    name = path.absolute().name.removesuffix(".tar")
    return name.removesuffix(".pth").removesuffix(".pt").removesuffix(".msgpack").removesuffix(".safetensors")


def _track(
    benchmark: Benchmark,
    waiting: list[Sequence],
    loaded: Loaded | Exported,
    options: dict,
    batch: int,
    folder: ResultFolder,
    boxes: dict[str, np.ndarray | None],
) -> dict[str, str]:
    """Tracks the waiting sequences, writes their results and fills in `boxes`; returns name -> reason of failures."""
    sequences = list(benchmark)
    failed: dict[str, str] = {}
    if len(waiting) < len(sequences):
        print(f"{len(sequences) - len(waiting)} of {len(sequences)} sequences were finished before", file=sys.stderr)
    if not waiting:
        return failed
    engine: Lockstep | ExportedLockstep
    if isinstance(loaded, Exported):
        engine = ExportedLockstep(loaded.network(options), options, batch)
    else:
        engine = Lockstep(loaded.model, loaded.variables, options, batch)
    total, left = (sum(map(len, which)) for which in (sequences, waiting))
    with progress(total, "evaluation", "frames", initial=total - left) as bar:
        for tracked in engine.run(waiting, bar.update):
            key = tracked.sequence.name
            if tracked.failure is not None:
                failed[key] = tracked.failure
                continue
            assert tracked.boxes_xywh is not None and tracked.scores is not None and tracked.seconds is not None
            folder.write(key, tracked.boxes_xywh, tracked.scores, tracked.seconds)
            boxes[key] = folder.read(tracked.sequence)
            if boxes[key] is None:
                failed[key] = f"its result was written to {folder.path} and cannot be read back"
    return {s.name: failed[s.name] for s in sequences if s.name in failed}


def _measured(
    benchmark: Benchmark,
    results: TrackerResults,
    failed: dict[str, str],
    rules: str,
    folder: ResultFolder,
    boxes: dict[str, np.ndarray | None],
) -> Evaluation:
    """The evaluation with its numbers, unless only a server has the truth."""
    results.boxes = {name: b for name, b in boxes.items() if b is not None}
    still, published = never_moves(benchmark, results.boxes), as_whole_numbers(results)
    if not benchmark.server:
        measure(benchmark, [results, still, published], rules)
    speed = folder.frames_per_second([s for s in benchmark if s.name in results.boxes])
    return Evaluation(benchmark, results, still, published, failed, speed)


def write_config(folder: Path, config: dict) -> None:
    """Writes the config of an evaluation into a folder. Raises UserError."""
    with atomic_write(folder / CONFIG_FILE) as file:
        file.write_text(json.dumps(config, indent=2) + "\n")


def _write_summary(folder: Path, evaluation: Evaluation, about: dict) -> None:
    with atomic_write(folder / SUMMARY_FILE) as file:
        file.write_text(json.dumps({**about, **evaluation.summary()}, indent=2) + "\n")
    if evaluation.curves:
        trackers = {about["tracker"]: evaluation.mean, metrics.NEVER_MOVES: evaluation.still.mean}
        plots.success_plot(folder / plots.SUCCESS_FILE, trackers, metrics.FLOAT_BOXES)
        plots.precision_plot(folder / plots.PRECISION_FILE, trackers, metrics.FLOAT_BOXES)
