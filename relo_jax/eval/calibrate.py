"""Calibrates a checkpoint: tracks held-out sequences, fits score and threshold, and writes both into its config.

The written options are fitted to all sequences; the reported figures are cross-validated, so that no sequence is scored
by a fit to itself. relo_jax/eval/calibration.py has the fit and the figures, relo_jax/tracking/confidence.py the score.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from relo_jax import __version__, tables
from relo_jax.bars import progress
from relo_jax.checkpoints import hub, run_directory
from relo_jax.checkpoints.load import Loaded
from relo_jax.config.data_options import Options
from relo_jax.config.renamed import with_current_names
from relo_jax.data.datasets import layouts
from relo_jax.data.sequence import Sequence
from relo_jax.data.synthetic.procedural import heldout
from relo_jax.errors import UserError
from relo_jax.eval import benchmarks, calibration
from relo_jax.eval.lockstep import Lockstep, batch_for
from relo_jax.eval.report import plots
from relo_jax.eval.results.write import fingerprint
from relo_jax.files import atomic_write
from relo_jax.tracking import confidence
from relo_jax.tracking.options import checked_options

FILE, PICTURE = "calibration.json", "reliability.png"
SEQUENCES, FRAMES, SEED = 160, 120, 1000  # procedural; neither `relo eval` nor the demo uses this seed
ABSENCE = 0.5  # share of them in which the target goes out of sight
FALSE_ALARMS = 0.05
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class FrameEvidence:
    """N frames: the evidence [N, 4], whether the box is right, bool [N], and the number of the sequence [N]."""

    evidence: np.ndarray
    right: np.ndarray
    sequence: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """A fitted score.

    options: for the config's section "tracker". figures: {"before", "after"} -> `calibration.figures` and the
    threshold; "after" is cross-validated. interval: 95 %, of the false-alarm rate after. scores: {"before", "after"} ->
    (scores, right) of the same frames. measured: (sequences, frames).
    """

    options: dict[str, float]
    figures: dict[str, dict]
    interval: tuple[float, float]
    scores: dict[str, tuple[np.ndarray, np.ndarray]]
    measured: tuple[int, int]


def config_file(checkpoint: Path | str) -> Path:
    """The JSON file with a checkpoint's options.

    Raises:
      UserError: there is none that can be written, or the checkpoint is not the newest of its run.
    """
    path = Path(checkpoint)
    if hub.is_address(checkpoint):
        raise UserError(
            f"{checkpoint} is on the hub: relo convert {checkpoint} DIR, relo calibrate --checkpoint DIR, and relo push"
        )
    if str(checkpoint) in run_directory.STARTERS:
        raise UserError(
            f"{checkpoint} is part of the package: copy {run_directory.STARTERS[str(checkpoint)]} and the .json beside "
            "it to a place of your own, and calibrate the copy"
        )
    if path.is_dir():
        run, step = run_directory.run_and_step(path)
        _, newest = run_directory.run_and_step(run)
        if step != newest:
            raise UserError(f"{path} is not the newest of its run, whose checkpoints share one config: calibrate {run}")
        file = run / run_directory.CONFIG_FILE
    elif path.suffix == ".msgpack" or not path.exists():
        file = path.with_suffix(".json")
    else:
        raise UserError(
            f"{path} cannot hold the weights of a score: relo convert {path} DIR, then relo calibrate --checkpoint DIR"
        )
    if file.exists() and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):
        raise UserError(f"{file} cannot be written: copy the checkpoint to a place of your own, and calibrate the copy")
    return file


def open_sequences(
    dataset: str,
    data_root: str | Path | None = None,
    split: str | None = None,
    one_based: bool = False,
    count: int | None = None,
    seed: int | None = None,
) -> tuple[list[Sequence], dict]:
    """The sequences to calibrate on, and a JSON-able description of them.

    Args: as `benchmarks.open_benchmark`; None takes the split on which training is checked, 160 sequences, seed 1000.

    Raises:
      UserError: as `benchmarks.open_benchmark`; the truth is on a server.
    """
    benchmarks.check_choice(dataset, data_root, split, one_based, count, seed)
    if dataset == "procedural":
        count, seed = SEQUENCES if count is None else count, SEED if seed is None else seed
        return procedural(count, seed), {"dataset": dataset, "seed": seed, "sequences": count, "frames": FRAMES}
    if split is None and dataset in layouts.NAMES:
        split = layouts.dataset_layout(dataset).heldout
    benchmark = benchmarks.open_benchmark(dataset, data_root, split, one_based)
    if benchmark.server:
        raise UserError(f"only a server has the boxes of {benchmark.title}: give another split, such as --split val")
    for reason in benchmark.reasons:
        print(f"left out: {reason}", file=sys.stderr)
    return list(benchmark), {"dataset": dataset, "split": benchmark.split, "sequences": len(benchmark)}


def procedural(count: int = SEQUENCES, seed: int = SEED, frames: int = FRAMES) -> list[Sequence]:
    """Held-out procedural sequences; in half of them the target goes out of sight for a while."""
    return heldout(seed, count, Options(num_frames=frames, absence=ABSENCE))


def calibrate(
    loaded: Loaded, sequences: list[Sequence], false_alarms: float = FALSE_ALARMS, batch: int = 8
) -> Calibration:
    """Fits score and threshold to the sequences, and measures by cross-validation how good such a fit is.

    Args:
      loaded: the checkpoint.
      sequences: at least 3.
      false_alarms: see `calibration.threshold_for`.
      batch: sequences at a time.

    Raises:
      UserError: `false_alarms` is not between 0 and 1; too few sequences or frames; no sequence can be tracked.
    """
    if not 0 < false_alarms < 1:
        raise UserError(f"--false-alarms is {false_alarms:g}: give a share between 0 and 1, such as 0.05")
    if batch < 1:
        raise UserError(f"batch is {batch}: give at least 1 sequence at a time")
    if len(sequences) < 3:
        raise UserError(
            f"{len(sequences)} sequences: give at least 3, since weights, threshold and figures each need their own"
        )
    before = checked_options(loaded.config.get("tracker", {}), loaded.model)
    frames = collect_evidence(loaded, before, sequences, batch)
    evidence, right, sequence = frames.evidence, frames.right, frames.sequence
    tracked = len(np.unique(sequence))
    if tracked < 3:
        raise UserError(f"only {tracked} of the sequences can be tracked: give at least 3")
    options = calibration.fit_with_threshold(evidence, right, sequence, false_alarms)
    scores_before = np.asarray(confidence.probability(evidence, before))
    scores_after, found_after = calibration.cross_validate(evidence, right, sequence, false_alarms)
    scores = {BEFORE: (scores_before, right), AFTER: (scores_after, right)}
    found = {BEFORE: scores_before >= before["found_threshold"], AFTER: found_after}
    figures = {
        label: {**calibration.figures(*scores[label], found[label]), "threshold": used["found_threshold"]}
        for label, used in ((BEFORE, before), (AFTER, options))
    }
    interval = calibration.interval(found_after[~right], sequence[~right])
    return Calibration(options, figures, interval, scores, (tracked, len(right)))


def collect_evidence(loaded: Loaded, options: dict, sequences: list[Sequence], batch: int) -> FrameEvidence:
    """Tracks the sequences and collects the evidence of all frames except first ones, in the order of the list."""
    if not confidence.is_calibrated(options):
        options = {**options, "score_value": 1.0}  # with any weight set, the tracker computes the evidence
    engine = Lockstep(loaded.model, loaded.variables, options, batch_for(sequences, batch))
    number, parts, failed = {id(s): k for k, s in enumerate(sequences)}, {}, []
    with progress(sum(map(len, sequences)), "calibration", "frames") as bar:
        for tracked in engine.run(sequences, bar.update):
            s = tracked.sequence
            if tracked.failure is not None:
                failed.append(f"{s.name}: {tracked.failure}")
                continue
            assert tracked.boxes_xywh is not None and tracked.evidence is not None
            right = calibration.is_right(tracked.boxes_xywh, s.boxes_xywh, s.visible)
            parts[number[id(s)]] = tracked.evidence[1:], right[1:], np.full(len(s) - 1, number[id(s)])
    if failed:
        print(f"{len(failed)} of {len(sequences)} sequences left out, the first: {failed[0]}", file=sys.stderr)
    if not parts:
        raise UserError(f"none of the {len(sequences)} sequences can be tracked, the first: {failed[0]}")
    columns = zip(*(parts[k] for k in sorted(parts)), strict=True)
    return FrameEvidence(*map(np.concatenate, columns))


def restore(run: Path, loaded: Loaded) -> bool:
    """Writes an earlier calibration into a run's config again, if it was made for the very same weights.

    Training that is started anew on a finished run writes the config without it.

    Args:
      run: run directory.
      loaded: its checkpoint.

    Returns:
      Whether FILE has a calibration of these weights.
    """
    try:
        report = json.loads((run / FILE).read_text())
        same = report["weights_digest"] == _digest(loaded)
        options = with_current_names({"tracker": report["tracker"]}, run / FILE)["tracker"]
        checked_options(options, loaded.model)
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return False
    if same:
        run_directory.write_config(run, {**loaded.config, "tracker": {**loaded.config.get("tracker", {}), **options}})
    return same


def write(result: Calibration, loaded: Loaded, file: Path, out: Path, about: dict) -> None:
    """Writes the options into a checkpoint's config, and FILE and PICTURE into a folder.

    Args:
      result: the calibration of `loaded`.
      loaded: the checkpoint.
      file: its config.
      out: the folder.
      about: JSON-able, what else to state in FILE.
    """
    config = {**loaded.config, "tracker": {**loaded.config.get("tracker", {}), **result.options}}
    report = {
        **about,
        "weights_digest": _digest(loaded),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
        "measured": dict(zip(("sequences", "frames"), result.measured, strict=True)),
        "folds": min(calibration.FOLDS, result.measured[0]),
        "tracker": result.options,
        "false_alarm_interval": result.interval,
        **result.figures,
    }
    plots.reliability_plot(out / PICTURE, {f"score {label}": pair for label, pair in result.scores.items()})
    with atomic_write(out / FILE) as report_file:
        report_file.write_text(json.dumps(report, indent=2) + "\n")
    with atomic_write(file) as config_file:
        config_file.write_text(json.dumps(config, indent=2))


def _digest(loaded: Loaded) -> str:
    return fingerprint(loaded.model, loaded.variables, {})["weights"]


def table(result: Calibration, false_alarms: float) -> str:
    """The figures before and after, as text for a terminal."""
    columns = {"ece": "ECE", "brier": "Brier", "auroc": "AUROC", "threshold": "threshold",
               "false_alarm_rate": "false alarms", "found_rate": "found"}  # fmt: skip
    lines = [
        f"{result.measured[0]} sequences ({result.measured[1]:,} frames, box right in "
        f"{result.figures[AFTER]['right']:.0%}), each measured by a fit to the others:",
    ]
    number = lambda value: "-" if value is None else f"{value:.3f}"
    rows = [[f"score {label}", *(number(row[name]) for name in columns)] for label, row in result.figures.items()]
    lines.append(tables.terminal([["", *columns.values()], *rows], "l" + "r" * len(columns)))
    low, high = result.interval
    lines.append(
        f"found means score >= {result.options['found_threshold']:g}, chosen to hold for {false_alarms:.3g} of the "
        "frames with the target away or the box wrong; on sequences not used for the choice: "
        f"{result.figures[AFTER]['false_alarm_rate']:.3f} ({low:.3f} to {high:.3f})"
    )
    return "\n".join(lines)
