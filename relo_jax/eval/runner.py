"""Evaluation: sequences in, result files, a table, JSON and plots out. What was finished before is not run again.

    evaluation = relo_jax.evaluate(open_benchmark("lasot", "/data"), "relo_b256.pth.tar", "results/b256/lasot")
    print(evaluation.table())

One pass over every sequence from its first box on (metrics.py), many at a time (lockstep.py), each written down when it
ends (results.py), by the rules of its benchmark (benchmarks.py) and with the options that were published for it
(relo_jax/config/published.py). A sequence that fails is reported with its reason and never silently left out of a mean.
"""

import json
import sys
from pathlib import Path

import tqdm

from relo_jax.checkpoints import load as checkpoints
from relo_jax.checkpoints import model_card, run_directory
from relo_jax.config import published
from relo_jax.data.datasets import layouts
from relo_jax.errors import UserError
from relo_jax.eval import metrics
from relo_jax.eval.benchmarks import Benchmark, default_split
from relo_jax.eval.evaluation import Evaluation
from relo_jax.eval.lockstep import Lockstep, batch_for
from relo_jax.eval.report import plots
from relo_jax.eval.results.write import Results, check_names, fingerprint
from relo_jax.files import atomic_write
from relo_jax.tracking.options import checked_options

SUMMARY_FILE = "summary.json"


def evaluate(
    sequences, tracker="starter", out_dir="results", *, batch=8, options=None, rules=None, name=None, card=None
):
    """Evaluates a tracker, writes results and plots into a folder, and continues what was begun there.

    The folder gets `<name>.txt`, `<name>_score.txt` and `<name>_time.txt` a sequence (see results.py), `run.json`,
    `card.json` (see card.py), `summary.json`, `success.png` and `precision.png`. Metrics are always those of the boxes
    in the files.

    Args:
      sequences: `Benchmark`, or an iterable of `relo_jax.data.sequence.Sequence`.
      tracker: what `relo_jax.checkpoint.load` takes, or what it returns.
      out_dir: the folder; results in it of other weights or options are refused.
      batch: sequences at a time, at most; see `lockstep.batch_for`.
      options: options of `Tracker` to replace; see `published.tracker_options` for what counts without.
      rules: what frames without a target count for, a name of `metrics.RULES`; None: the benchmark's.
      name: of the tracker in the plots; from `tracker` where not given.
      card: of the checkpoint, see `card.of_checkpoint`; from `tracker` where not given.

    Returns:
      Evaluation.

    Raises:
      UserError: bad checkpoint, option, rules or sequence names; a folder of another tracker's results, or a full disk.
    """
    benchmark = sequences if isinstance(sequences, Benchmark) else Benchmark(None, None, "sequences", tuple(sequences))
    if not len(benchmark):
        raise UserError("no sequences to evaluate")
    rules = rules or benchmark.rules
    if rules not in metrics.RULES:
        raise UserError(f"rules are {rules!r}: known are {', '.join(metrics.RULES)}")
    if batch < 1:
        raise UserError(f"batch is {batch}: give at least 1 sequence at a time")
    check_names(benchmark)
    in_memory = isinstance(tracker, checkpoints.Loaded)
    loaded = tracker if in_memory else checkpoints.load_tracker(tracker)
    values, source = chosen_options(loaded, benchmark, options)
    results = Results(Path(out_dir), fingerprint(loaded.model, loaded.variables, values))
    boxes = {s.name: results.read(s) for s in benchmark}
    waiting = [s for s in benchmark if boxes[s.name] is None]
    if waiting:
        batch = batch_for(waiting, batch)
        unknown = {"kind": "in memory", "variant": loaded.model.config.variant}
        card = card or (unknown if in_memory else model_card.of_checkpoint(tracker))
        data = {"fingerprint": benchmark.fingerprint(), "sequences": len(benchmark), "frames": sum(map(len, benchmark))}
        model_card.add_evaluation(
            results.path, card, loaded.config, benchmark=benchmark.title, data=data, rules=rules, batch=batch
        )
    evaluation = _track(benchmark, waiting, loaded, values, batch, results, boxes)
    if not benchmark.server:
        _measure(evaluation, rules)
    name = name or ("RELO" if in_memory else checkpoint_name(tracker))
    about = {"tracker": name, "dtype": loaded.model.config.dtype, "rules": rules}
    about |= {"options": values, "options_from": source}
    _write_summary(results.path, evaluation, about)
    return evaluation


def chosen_options(loaded, benchmark, given=None):
    """The tracker's options on a benchmark, all of them, and where those come from that are not defaults."""
    model = loaded.model.config
    values, source = published.tracker_options(loaded.config, model.variant, benchmark.name, given, model.templates)
    return checked_options(values, loaded.model), source


def results_folder(checkpoint, benchmark, seed=None):
    """`results/<checkpoint>/<dataset>`, with the split where it is another than papers report; a folder by its name."""
    what = {"folder": benchmark.title, "procedural": f"procedural-{seed or 0}"}.get(benchmark.name, benchmark.name)
    if benchmark.split is not None and benchmark.split != default_split(layouts.dataset_layout(benchmark.name)):
        what = f"{what}-{benchmark.split}"
    return Path("results") / checkpoint_name(checkpoint) / what


def checkpoint_name(path):
    """What to call a checkpoint: its run directory, with the step where one was named; a file's name without suffix."""
    path = Path(path)
    if path.parent.name == run_directory.CHECKPOINTS:
        return f"{path.absolute().parents[1].name}-{path.name}"
    return path.absolute().name.removesuffix(".tar").removesuffix(".pth").removesuffix(".pt").removesuffix(".msgpack")


def _track(benchmark, waiting, loaded, options, batch, results, boxes):
    """Boxes of all sequences, of those that are waiting now; an `Evaluation` without curves."""
    sequences = list(benchmark)
    total, left = (sum(map(len, which)) for which in (sequences, waiting))
    failed = {}
    if len(waiting) < len(sequences):
        print(f"{len(sequences) - len(waiting)} of {len(sequences)} sequences were finished before", file=sys.stderr)
    if waiting:
        engine = Lockstep(loaded.model, loaded.variables, options, batch)
        bar = tqdm.tqdm(
            desc="evaluation", unit=" frames", total=total, initial=total - left, dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 30,
        )  # fmt: skip
        with bar:
            for tracked in engine.run(waiting, bar.update):
                key = tracked.sequence.name
                if tracked.failure is not None:
                    failed[key] = tracked.failure
                    continue
                results.write(key, tracked.boxes_xywh, tracked.scores, tracked.seconds)
                boxes[key] = results.read(tracked.sequence)
                if boxes[key] is None:
                    failed[key] = f"its result was written to {results.path} and cannot be read back"
    failed = {s.name: failed[s.name] for s in sequences if s.name in failed}
    boxes = {key: b for key, b in boxes.items() if b is not None}
    speed = results.frames_per_second([s for s in sequences if s.name in boxes])
    return Evaluation(boxes, failed=failed, frames_per_second=speed, benchmark=benchmark)


def _measure(evaluation, rules):
    """Adds the numbers of the boxes, and of a box that never moves."""
    sequences = {s.name: s for s in evaluation.benchmark}
    for key, boxes in evaluation.boxes.items():
        sequence = sequences[key]
        still, truth, counted = metrics.never_moves(sequence), sequence.boxes_xywh, sequence.counted
        flags = counted if metrics.RULES[rules].visible else None
        evaluation.curves[key] = metrics.measure(boxes, truth, flags, rules)
        evaluation.still[key] = metrics.measure(still, truth, flags, rules)
        if evaluation.benchmark.name == "got10k":
            size = sequence.read_frame(0).shape[1::-1]
            evaluation.overlaps[key] = metrics.got10k_overlaps(boxes, truth, size, counted)
            evaluation.still_overlaps[key] = metrics.got10k_overlaps(still, truth, size, counted)


def _write_summary(folder, evaluation, about):
    with atomic_write(folder / SUMMARY_FILE) as file:
        file.write_text(json.dumps({**about, **evaluation.summary()}, indent=2) + "\n")
    if evaluation.curves:
        trackers = {about["tracker"]: evaluation.mean, "never moves": evaluation.still_mean}
        plots.success_plot(folder / plots.SUCCESS_FILE, trackers)
        plots.precision_plot(folder / plots.PRECISION_FILE, trackers)
