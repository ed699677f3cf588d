"""`relo calibrate`: fits a checkpoint's score and its threshold on held-out sequences, and says what they are worth.

What is written is fitted to all sequences; what is reported of each, by the same steps on others alone. Which frames
are right, what the figures are and how the fit goes stands in relo_jax/eval/calibration.py, what the score is made of
in relo_jax/tracking/confidence.py.
"""

import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import tqdm

from relo_jax import __version__
from relo_jax.checkpoints import run_directory
from relo_jax.config.data_options import Options
from relo_jax.data.datasets import layouts
from relo_jax.data.synthetic.procedural import heldout
from relo_jax.errors import UserError
from relo_jax.eval import benchmarks, calibration
from relo_jax.eval.lockstep import Lockstep, batch_for
from relo_jax.eval.results.write import fingerprint
from relo_jax.files import atomic_write
from relo_jax.tracking import confidence
from relo_jax.tracking.options import checked_options

FILE, PICTURE = "calibration.json", "reliability.png"
SEQUENCES, FRAMES, SEED = 160, 120, 1000  # of the procedural ones; neither `relo eval` nor the demo has this seed
ABSENCE = 0.5  # of them, the share in which the target goes out of sight
FALSE_ALARMS = 0.05
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Seen:
    """What was seen of N frames: evidence [N, 4], right bool [N], and the number of each frame's sequence [N]."""

    evidence: np.ndarray
    right: np.ndarray
    sequence: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` found. options: to be written into the section "tracker". figures: {"before", "after"} ->
    `calibration.figures` and the threshold, where "after" is what `calibration.cross_validate` says. interval: 95 %, of its
    false-alarm rate. scores: label -> (scores, right), of the same frames. measured: (sequences, frames)."""

    options: dict
    figures: dict
    interval: tuple[float, float]
    scores: dict
    measured: tuple[int, int]


def config_file(checkpoint):
    """The JSON file that a checkpoint's options stand in.

    Raises:
      UserError: there is none that could be written, or the checkpoint is not the newest of its run.
    """
    path = Path(checkpoint)
    if str(checkpoint) in run_directory.STARTERS:
        raise UserError(
            f"{checkpoint} is part of the package: copy {run_directory.STARTERS[str(checkpoint)]} and the .json beside "
            "it to a place of your own, and calibrate the copy"
        )
    if path.is_dir():
        run, step = run_directory.run_and_step(path)
        _, newest = run_directory.run_and_step(run)
        if step != newest:
            raise UserError(f"{path} is not the newest of its run, whose config is one for all: calibrate {run}")
        file = run / run_directory.CONFIG_FILE
    elif path.suffix == ".msgpack" or not path.exists():
        file = path.with_suffix(".json")
    else:
        raise UserError(
            f"{path} has no place for a score's weights: relo convert {path} DIR, then relo calibrate --checkpoint DIR"
        )
    if file.exists() and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):
        raise UserError(f"{file} cannot be written: copy the checkpoint to a place of your own, and calibrate the copy")
    return file


def open_sequences(dataset, data_root=None, split=None, one_based=False, count=None, seed=None):
    """(sequences, what they are as a JSON-able dict); arguments as of `calibrate_command`."""
    benchmarks.check_choice(dataset, data_root, split, one_based, count, seed)
    if dataset == "procedural":
        count, seed = SEQUENCES if count is None else count, SEED if seed is None else seed
        return procedural(count, seed), {"dataset": dataset, "seed": seed, "sequences": count, "frames": FRAMES}
    if split is None and dataset in layouts.NAMES:
        split = layouts.dataset_layout(dataset).heldout
    found = benchmarks.open_benchmark(dataset, data_root, split, one_based)
    if found.server:
        raise UserError(f"the boxes of {found.title} are with its server: name another split, such as --split val")
    for reason in found.reasons:
        print(f"left out: {reason}", file=sys.stderr)
    return list(found.sequences), {"dataset": dataset, "split": found.split, "sequences": len(found.sequences)}


def procedural(count=SEQUENCES, seed=SEED, frames=FRAMES):
    """Held-out procedural sequences, in half of which the target goes out of sight for a while."""
    return heldout(seed, count, Options(num_frames=frames, absence=ABSENCE))


def calibrate(loaded, sequences, false_alarms=FALSE_ALARMS, batch=8):
    """Fits score and threshold to the sequences, and measures what such a fit is worth on others.

    Args:
      loaded: `checkpoint.Loaded`.
      sequences: list of `relo_jax.data.sequence.Sequence`.
      false_alarms: see `calibration.threshold_for`.
      batch: sequences at a time.

    Returns:
      Calibration.

    Raises:
      UserError: a share that is none, too few sequences or frames; or none of the sequences can be tracked.
    """
    if not 0 < false_alarms < 1:
        raise UserError(f"--false-alarms is {false_alarms:g}: give a share between 0 and 1, such as 0.05")
    if batch < 1:
        raise UserError(f"batch is {batch}: give at least 1 sequence at a time")
    if len(sequences) < 3:
        raise UserError(
            f"{len(sequences)} sequences: give at least 3, for weights, threshold and figures are each made on others"
        )
    before = checked_options(loaded.config.get("tracker", {}), loaded.model)
    seen = look(loaded, before, sequences, batch)
    if len(np.unique(seen.sequence)) < 3:
        raise UserError(f"only {len(np.unique(seen.sequence))} of the sequences can be tracked: give at least 3")
    options = calibration.fit_with_threshold(seen.evidence, seen.right, seen.sequence, false_alarms)
    scores_before = np.asarray(confidence.probability(seen.evidence, before))
    scores, found = calibration.cross_validate(seen.evidence, seen.right, seen.sequence, false_alarms)
    all_scores = {BEFORE: (scores_before, seen.right), AFTER: (scores, seen.right)}
    all_found = {BEFORE: scores_before >= before["found_threshold"], AFTER: found}
    all_figures = {
        label: {**calibration.figures(*all_scores[label], all_found[label]), "threshold": used["found_threshold"]}
        for label, used in ((BEFORE, before), (AFTER, options))
    }
    wrong = ~seen.right
    interval = calibration.interval(found[wrong], seen.sequence[wrong])
    measured = len(np.unique(seen.sequence)), len(seen.right)
    return Calibration(options, all_figures, interval, all_scores, measured)


def look(loaded, options, sequences, batch):
    """Tracks through the sequences: Seen of every frame but the first, numbered as in the list."""
    if not confidence.is_calibrated(options):
        options = {**options, "score_value": 1.0}  # any weight: the evidence is computed then
    engine = Lockstep(loaded.model, loaded.variables, options, batch_for(sequences, batch))
    number, parts, failed = {id(s): k for k, s in enumerate(sequences)}, {}, []
    bar = tqdm.tqdm(
        desc="calibration", unit=" frames", total=sum(map(len, sequences)), dynamic_ncols=True,
        mininterval=0.5 if sys.stderr.isatty() else 30,
    )  # fmt: skip
    with bar:
        for tracked in engine.run(sequences, bar.update):
            s = tracked.sequence
            if tracked.failure is not None:
                failed.append(f"{s.name}: {tracked.failure}")
                continue
            right = calibration.is_right(tracked.boxes_xywh, s.boxes_xywh, s.visible)
            parts[number[id(s)]] = tracked.evidence[1:], right[1:], np.full(len(s) - 1, number[id(s)])
    if failed:
        print(f"{len(failed)} of {len(sequences)} sequences left out, the first: {failed[0]}", file=sys.stderr)
    if not parts:
        raise UserError(f"none of the {len(sequences)} sequences can be tracked, the first: {failed[0]}")
    return Seen(*(np.concatenate(column) for column in zip(*(parts[k] for k in sorted(parts)), strict=True)))


def restore(run, loaded):
    """Writes a calibration of the very same weights into the config of a run again, whose training was started anew.

    Args:
      run: run directory.
      loaded: `checkpoint.Loaded` of it.

    Returns:
      whether FILE has such a calibration.
    """
    try:
        report = json.loads((run / FILE).read_text())
        same, options = report["weights_digest"] == _digest(loaded), report["tracker"]
        checked_options(options, loaded.model)
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return False
    if same:
        run_directory.write_config(run, {**loaded.config, "tracker": {**loaded.config.get("tracker", {}), **options}})
    return same


def write(found, loaded, file, out, about):
    """Writes the options into a checkpoint's config, and FILE and PICTURE into a folder.

    Args:
      found: Calibration of `loaded`.
      loaded: `checkpoint.Loaded`.
      file: the config.
      out: folder.
      about: JSON-able dict, what else to say in FILE.
    """
    config = {**loaded.config, "tracker": {**loaded.config.get("tracker", {}), **found.options}}
    report = {
        **about,
        "weights_digest": _digest(loaded),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
        "measured": dict(zip(("sequences", "frames"), found.measured, strict=True)),
        "folds": min(calibration.FOLDS, found.measured[0]),
        "tracker": found.options,
        "false_alarm_interval": found.interval,
        **found.figures,
    }
    calibration.reliability_plot(out / PICTURE, {f"score {label}": pair for label, pair in found.scores.items()})
    with atomic_write(out / FILE) as report_file:
        report_file.write_text(json.dumps(report, indent=2) + "\n")
    with atomic_write(file) as config_file:
        config_file.write_text(json.dumps(config, indent=2))


def _digest(loaded):
    return fingerprint(loaded.model, loaded.variables, {})["weights"]


def table(found, false_alarms):
    """What was found, as text."""
    columns = {"ece": "ECE", "brier": "Brier", "auroc": "AUROC", "threshold": "threshold",
               "false_alarm_rate": "false alarms", "found_rate": "found"}  # fmt: skip
    lines = [
        f"{found.measured[0]} sequences ({found.measured[1]:,} frames, box right in "
        f"{found.figures[AFTER]['right']:.0%}), each measured by a fit to others:",
        f"{'':<14}" + "".join(f"{name:>14}" for name in columns.values()),
    ]
    for label, row in found.figures.items():
        numbers = "".join(f"{'-' if row[k] is None else format(row[k], '.3f'):>14}" for k in columns)
        lines.append(f"{f'score {label}':<14}{numbers}")
    low, high = found.interval
    lines.append(
        f"found means score >= {found.options['found_threshold']:g}, chosen for {false_alarms:.3g} of the frames with "
        "the target away or the box wrong; on sequences that had no part in the choice: "
        f"{found.figures[AFTER]['false_alarm_rate']:.3f} ({low:.3f} to {high:.3f})"
    )
    return "\n".join(lines)
