"""Evaluation: sequences in, result files, a table, JSON and plots out. What was finished before is not run again.

    evaluation = relo_jax.evaluate(read_folder("otb_mini"), "runs/demo", "results/demo")
    print(evaluation.table())

One pass over every sequence from its first box on (metrics.py), many at a time (lockstep.py), each written down when it
ends (results.py). A sequence that fails is reported with its reason and never silently left out of a mean.
"""

import json
import math
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import tqdm

from relo_jax import checkpoint as checkpoints
from relo_jax.checks import checked_options
from relo_jax.data.folder import read_folder
from relo_jax.data.procedural import heldout
from relo_jax.errors import UserError
from relo_jax.eval import metrics, plots
from relo_jax.eval.lockstep import Lockstep
from relo_jax.eval.results import Results, check_names, fingerprint
from relo_jax.files import whole_file

SUMMARY_FILE = "summary.json"
RULES = ("plain", "lasot")


@dataclass
class Evaluation:
    """What an evaluation found, by sequence name and in the order of the sequences.

    boxes: float64 [F, 4]. curves, still: Curves of the tracker and of a box that never moves, of the same sequences.
    failed: the reason. frames_per_second: of what was tracked now, all slots together, compilation left out; NaN when
    nothing was.
    """

    boxes: dict = field(default_factory=dict)
    curves: dict = field(default_factory=dict)
    still: dict = field(default_factory=dict)
    failed: dict = field(default_factory=dict)
    frames_per_second: float = math.nan

    @property
    def mean(self):
        """Curves: the tracker's mean over the sequences that did not fail."""
        return metrics.mean(self.curves.values())

    @property
    def still_mean(self):
        """Curves: the same of the box that never moves."""
        return metrics.mean(self.still.values())

    def table(self):
        """The table for a terminal: a line a sequence, the mean, and what failed."""
        width = max([len("mean of 000"), *map(len, [*self.curves, *self.failed])])
        lines = [f"{'sequence':<{width}}  frames    AUC    P20   NP20     AO   AUC of a box that never moves"]

        def row(name, frames, curves, still):
            numbers = "".join(f"{v:7.3f}" for v in curves.numbers().values())
            lines.append(f"{name:<{width}} {frames:7d}{numbers} {still.auc:7.3f}")

        for name, curves in self.curves.items():
            row(name, len(self.boxes[name]), curves, self.still[name])
        if self.curves:
            lines.append("-" * len(lines[0]))
            row(f"mean of {len(self.curves)}", sum(map(len, self.boxes.values())), self.mean, self.still_mean)
        lines += [f"{name:<{width}}  failed: {reason}" for name, reason in self.failed.items()]
        return "\n".join(lines)

    def summary(self):
        """Everything but the boxes as a JSON-able dict."""
        rows = {
            name: {"frames": len(self.boxes[name]), **curves.numbers(), "never_moves_auc": self.still[name].auc}
            for name, curves in self.curves.items()
        }
        means = {"mean": self.mean, "never_moves": self.still_mean} if self.curves else {}
        whole = {
            name: c.numbers() | {k: getattr(c, k).tolist() for k in ("success", "precision", "norm_precision")}
            for name, c in means.items()
        }
        speed = {"frames_per_second": self.frames_per_second}
        return _without_nan({**whole, "sequences": rows, "failed": self.failed, **speed})


def evaluate(sequences, tracker="starter", out_dir="results", *, batch=8, options=None, rules="plain", name=None):
    """Evaluates a tracker, writes results and plots into a folder, and continues what was begun there.

    The folder gets `<name>.txt` and `<name>_time.txt` a sequence (see results.py), `run.json`, `summary.json`,
    `success.png` and `precision.png`. Metrics are always those of the boxes in the files.

    Args:
      sequences: iterable of `relo_jax.data.sequence.Sequence`.
      tracker: what `relo_jax.checkpoint.load` takes, or what it returns.
      out_dir: the folder; results in it of other weights or options are refused.
      batch: sequences at a time.
      options: options of `Tracker` to replace.
      rules: "plain" or "lasot" (frames that are not visible count as failures), see `metrics.measure`.
      name: of the tracker in the plots; from `tracker` where not given.

    Returns:
      Evaluation.

    Raises:
      UserError: bad checkpoint, option, rules or sequence names; a folder of another tracker's results, or a full disk.
    """
    sequences = list(sequences)
    if not sequences:
        raise UserError("no sequences to evaluate")
    if rules not in RULES:
        raise UserError(f"rules are {rules!r}: known are {', '.join(RULES)}")
    if batch < 1:
        raise UserError(f"batch is {batch}: give at least 1 sequence at a time")
    check_names(sequences)
    loaded = tracker if isinstance(tracker, checkpoints.Loaded) else checkpoints.load_tracker(tracker)
    options = checked_options({**loaded.config.get("tracker", {}), **(options or {})}, loaded.model)
    results = Results(Path(out_dir), fingerprint(loaded.model, loaded.variables, options))
    evaluation = _track(sequences, loaded, options, batch, results)
    truths = {s.name: s for s in sequences}
    for key, boxes in evaluation.boxes.items():
        sequence = truths[key]
        visible = sequence.visible if rules == "lasot" else None
        evaluation.curves[key] = metrics.measure(boxes, sequence.boxes_xywh, visible)
        evaluation.still[key] = metrics.measure(metrics.never_moves(sequence), sequence.boxes_xywh, visible)
    name = name or ("RELO" if isinstance(tracker, checkpoints.Loaded) else checkpoint_name(tracker))
    _write_summary(results.path, evaluation, {"tracker": name, "rules": rules})
    return evaluation


def eval_command(
    checkpoint="starter", data_root=None, dataset="folder", *, batch=8, out=None, one_based=False, rules="plain",
    count=20, seed=0, options=None,
):  # fmt: skip
    """`relo eval`: evaluates, prints the table and where everything is.

    Args:
      checkpoint: see `relo_jax.checkpoint.load`.
      data_root: folder of sequences; None takes the environment's RELO_DATA_DIR.
      dataset: "folder", or "procedural" for held-out sequences drawn on the fly.
      batch: sequences at a time.
      out: folder for the results; None takes `results/<checkpoint>/<dataset>`.
      one_based: the folder's annotations count pixels from 1.
      rules: see `evaluate`.
      count, seed: how many procedural sequences, and which.
      options: options of `Tracker` to replace.

    Raises:
      UserError: see `evaluate` and `read_folder`; and at the end, when sequences failed.
    """
    if dataset == "procedural":
        sequences, what = heldout(seed, count), f"procedural-{seed}"
    elif dataset == "folder":
        root = data_root or os.environ.get("RELO_DATA_DIR")
        if not root:
            raise UserError("no folder of sequences: give --data-root, or set RELO_DATA_DIR")
        # No frame is looked at twice, and frames of hundreds of sequences would not fit into memory.
        sequences, what = read_folder(root, one_based=one_based, cache=0), Path(root).absolute().name
    else:
        raise UserError(f"dataset is {dataset!r}: known are folder, procedural")
    out = Path(out) if out else Path("results") / checkpoint_name(checkpoint) / what
    evaluation = evaluate(sequences, checkpoint, out, batch=batch, options=options, rules=rules)
    print(evaluation.table())
    if not math.isnan(evaluation.frames_per_second):
        print(f"{evaluation.frames_per_second:.1f} frames/s, reading included")
    print(f"written to {out}: boxes, {SUMMARY_FILE}, {', '.join(plots.FILES)}")
    if evaluation.failed:
        first, reason = next(iter(evaluation.failed.items()))
        raise UserError(f"{len(evaluation.failed)} of {len(sequences)} sequences failed, the first: {first}: {reason}")


def checkpoint_name(path):
    """What to call a checkpoint: its run directory, with the step where one was named; a file's name without suffix."""
    path = Path(path)
    if path.parent.name == checkpoints.CHECKPOINTS:
        return f"{path.absolute().parents[1].name}-{path.name}"
    return path.absolute().name.removesuffix(".tar").removesuffix(".pth").removesuffix(".pt").removesuffix(".msgpack")


def _track(sequences, loaded, options, batch, results):
    """Boxes of all sequences, from their files where they are finished; an `Evaluation` without curves."""
    boxes = {s.name: results.read(s) for s in sequences}
    waiting = [s for s in sequences if boxes[s.name] is None]
    total, left = (sum(map(len, which)) for which in (sequences, waiting))
    failed, seconds = {}, 0.0
    if len(waiting) < len(sequences):
        print(f"{len(sequences) - len(waiting)} of {len(sequences)} sequences were finished before", file=sys.stderr)
    if waiting:
        engine = Lockstep(loaded.model, loaded.variables, options, min(batch, len(waiting)))
        start = time.perf_counter()
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
                results.write(key, tracked.boxes_xywh, tracked.seconds)
                boxes[key] = results.read(tracked.sequence)
        seconds = time.perf_counter() - start - engine.seconds_compiling
    failed = {s.name: failed[s.name] for s in sequences if s.name in failed}
    done = sum(len(s) for s in waiting if s.name not in failed)
    boxes = {key: b for key, b in boxes.items() if b is not None}
    return Evaluation(boxes, failed=failed, frames_per_second=done / seconds if seconds else math.nan)


def _write_summary(folder, evaluation, about):
    with whole_file(folder / SUMMARY_FILE) as file:
        file.write_text(json.dumps({**about, **evaluation.summary()}, indent=2) + "\n")
    if evaluation.curves:
        trackers = {about["tracker"]: evaluation.mean, "never moves": evaluation.still_mean}
        plots.success_plot(folder / plots.SUCCESS_FILE, trackers)
        plots.precision_plot(folder / plots.PRECISION_FILE, trackers)


def _without_nan(value):
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
