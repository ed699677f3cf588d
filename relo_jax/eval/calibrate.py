"""Calibrates a checkpoint: tracks held-out sequences, fits score and threshold, and writes both into its config.

The written options are fitted to all sequences; the reported figures are cross-validated, so that no sequence is scored
by a fit to itself. relo_jax/eval/calibration.py has the fit and the figures, relo_jax/tracking/confidence.py the score.
"""

from __future__ import annotations

import functools
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
from relo_jax.eval.frame_evidence import FrameEvidence, overlaps
from relo_jax.eval.interruptions import with_interruptions
from relo_jax.eval.lockstep import Lockstep, batch_for
from relo_jax.eval.report import plots
from relo_jax.eval.results.write import fingerprint
from relo_jax.files import atomic_write
from relo_jax.tracking import confidence
from relo_jax.tracking.options import checked_options

FILE, PICTURE = "calibration.json", "reliability.png"
SEQUENCES, FRAMES, SEED = 160, 120, 1000  # procedural; neither `relo eval` nor the demo uses this seed
ABSENCE = 0.5  # share of them in which the target goes out of sight
BEFORE, AFTER = "before", "after"
AS_THEY_ARE = "as they are"  # of figures of the sequences without their interruptions


@dataclass(frozen=True)
class Calibration:
    """A fitted score.

    Attributes:
      options: for the config's section "tracker".
      figures: {"before", "after"} -> `reliability` and the threshold; "after" is cross-validated. With interruptions,
        "before, as they are" and "after, as they are" are of the sequences alone.
      scores: {"before", "after"} -> scores [N], right bool [N] of the same frames.
      measured: number of sequences, and of frames.
    """

    options: dict[str, float]
    figures: dict[str, dict]
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
        if count < 1:
            raise UserError(f"--count is {count}: give a number of sequences, at least 1")
        return procedural(count, seed), {"dataset": dataset, "seed": seed, "sequences": count, "frames": FRAMES}
    if split is None and dataset in layouts.NAMES:
        split = layouts.dataset_layout(dataset).heldout
    benchmark = benchmarks.open_benchmark(dataset, data_root, split, one_based)
    if benchmark.server:
        raise UserError(f"only a server has the boxes of {benchmark.title}: give another split, such as --split val")
    for reason in benchmark.reasons:
        print(f"left out: {reason}", file=sys.stderr)
    named = {"folder": Path(data_root).name} if data_root and dataset == "folder" else {"split": benchmark.split}
    return list(benchmark), {"dataset": dataset, **named, "sequences": len(benchmark)}


def procedural(count: int = SEQUENCES, seed: int = SEED, frames: int = FRAMES) -> list[Sequence]:
    """Held-out procedural sequences; in half of them the target goes out of sight for a while."""
    return heldout(seed, count, Options(num_frames=frames, absence=ABSENCE))


def calibrate(
    loaded: Loaded,
    sequences: list[Sequence],
    false_alarms: float | None = None,
    batch: int = 8,
    adjust: bool = False,
    interruptions: bool = False,
) -> Calibration:
    """Fits score and threshold to the sequences, and measures by cross-validation how good such a fit is.

    Args:
      loaded: the checkpoint.
      sequences: at least 3.
      false_alarms: see `calibration.threshold_for`.
      batch: sequences at a time.
      adjust: whether to fit scale and bias only, see `calibration.adjust`; the checkpoint must be calibrated.
      interruptions: whether to track the sequences also with jumps and cuts, see `interruptions.py`.

    Raises:
      UserError: `false_alarms` is not between 0 and 1; `adjust` of an uncalibrated checkpoint; too few sequences or
        frames; no sequence can be tracked.
    """
    if false_alarms is not None and not 0 < false_alarms < 1:
        raise UserError(f"--false-alarms is {false_alarms:g}: give a share between 0 and 1, such as 0.05")
    if len(sequences) < 3:
        raise UserError(
            f"{len(sequences)} sequences: give at least 3, since weights, threshold and figures each need their own"
        )
    before = checked_options(loaded.config.get("tracker", {}), loaded.model)
    if adjust and not confidence.is_calibrated(before):
        raise UserError("--adjust changes the score of a calibrated checkpoint: calibrate this one without it first")
    frames = collect_evidence(loaded, before, sequences, batch, interruptions)
    tracked = len(np.unique(frames.sequence))
    if tracked < 3:
        raise UserError(f"only {tracked} of the sequences can be tracked: give at least 3")
    fitting = functools.partial(calibration.adjust, options=before) if adjust else calibration.fit
    found_frames = int(before["found_frames"])
    options = {**calibration.fit_with_threshold(frames, false_alarms, fitting), "found_frames": found_frames}
    measured = {
        BEFORE: calibration.apply(frames, before),
        AFTER: calibration.cross_validate(frames, found_frames, false_alarms, fitting),
    }
    figures = {}
    for label, used in ((BEFORE, before), (AFTER, options)):
        parts = {label: np.ones(len(frames), bool)}
        if interruptions:
            parts[f"{label}, {AS_THEY_ARE}"] = frames.uninterrupted
        for name, part in parts.items():
            of = (array[part] for array in measured[label])
            figures[name] = {**reliability(frames[part], *of), "threshold": used["found_threshold"]}
    scores = {label: (of, frames.right) for label, (of, _) in measured.items()}
    return Calibration(options, figures, scores, (tracked, len(frames)))


def reliability(frames: FrameEvidence, scores: np.ndarray, found: np.ndarray) -> dict:
    """`calibration.figures` with the intervals of their rates, over the sequences.

    Args:
      frames: N.
      scores: [N].
      found: bool [N].
    """
    return {
        **calibration.figures(scores, frames.overlap, found),
        "false_alarm_interval": calibration.interval(found[frames.lost], frames.sequence[frames.lost]),
        "found_interval": calibration.interval(found[frames.right], frames.sequence[frames.right]),
    }


def collect_evidence(
    loaded: Loaded, options: dict, sequences: list[Sequence], batch: int, interruptions: bool = False
) -> FrameEvidence:
    """Tracks the sequences and collects the evidence of all frames except first ones, in the order of the list.

    Args: as `calibrate`; `options` are all options of the tracker.

    Raises:
      UserError: `batch` is below 1, or no sequence can be tracked.
    """
    if batch < 1:
        raise UserError(f"batch is {batch}: give at least 1 sequence at a time")
    if not confidence.is_calibrated(options):
        options = {**options, "score_value": 1.0}  # with any weight set, the tracker computes the evidence
    videos, made_from = with_interruptions(sequences) if interruptions else (sequences, list(range(len(sequences))))
    engine = Lockstep(loaded.model, loaded.variables, options, batch_for(videos, batch))
    number, parts, failed = {id(video): k for k, video in enumerate(videos)}, {}, []
    with progress(sum(map(len, videos)), "calibration", "frames") as bar:
        for tracked in engine.run(videos, bar.update):
            video, k = tracked.sequence, number[id(tracked.sequence)]
            if tracked.failure is not None:
                failed.append(f"{video.name}: {tracked.failure}")
                continue
            assert tracked.boxes_xywh is not None and tracked.evidence is not None
            overlap = overlaps(tracked.boxes_xywh, video.boxes_xywh, video.visible)
            numbers = (np.full(len(video) - 1, of) for of in (k, made_from[k]))
            parts[k] = tracked.evidence[1:], overlap[1:], *numbers
    if failed:
        print(f"{len(failed)} of {len(videos)} sequences left out, the first: {failed[0]}", file=sys.stderr)
    if not parts:
        raise UserError(f"none of the {len(videos)} sequences can be tracked, the first: {failed[0]}")
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
        "folds": calibration.folds(result.measured[0]),
        "tracker": result.options,
        **result.figures,
    }
    plots.reliability_plot(out / PICTURE, {f"score {label}": pair for label, pair in result.scores.items()})
    with atomic_write(out / FILE) as report_file:
        report_file.write_text(json.dumps(report, indent=2) + "\n")
    with atomic_write(file) as config_file:
        config_file.write_text(json.dumps(config, indent=2))


def _digest(loaded: Loaded) -> str:
    return fingerprint(loaded.model, loaded.variables, {})["weights"]


def table(result: Calibration) -> str:
    """The figures before and after, as text for a terminal."""
    sequences, frames = result.measured
    return "\n".join(
        [
            f"{sequences} sequences ({frames:,} frames, box right in {result.figures[AFTER]['right']:.0%}, target lost "
            f"in {result.figures[AFTER]['lost']:.0%}), each measured by a fit to the others:",
            figures_table({f"score {label}": row for label, row in result.figures.items()}),
            f"a score below {result.options['found_threshold']:g} is low; the target counts as lost after "
            f"{result.options['found_frames']} low scores in a row",
        ]
    )


def figures_table(rows: dict[str, dict]) -> str:
    """Rows of `reliability`, by label, as a table for a terminal."""
    columns = {"ece": "ECE", "mean_score": "mean score", "right": "right", "auroc": "AUROC",
               "auroc_lost": "AUROC lost", "threshold": "threshold"}  # fmt: skip
    number = lambda value: "-" if value is None else f"{value:.3f}"
    rates = {"false_alarm": "lost, but found", "found": "tracked, and found"}

    def rate(row: dict, name: str) -> str:
        low, high = row[f"{name}_interval"]
        value = row[f"{name}_rate"]
        return "-" if value is None else f"{value:.3f} ({low:.2f} to {high:.2f})"

    cells = [
        [label, *(number(row[name]) for name in columns), *(rate(row, name) for name in rates)]
        for label, row in rows.items()
    ]
    heads = ["", *columns.values(), *rates.values()]
    return tables.terminal([heads, *cells], "l" + "r" * (len(heads) - 1))
