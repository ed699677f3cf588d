"""How good a checkpoint's score and `found` are on annotated sequences: figures of all frames and of each sequence."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from relo_jax import __version__
from relo_jax.checkpoints.load import Loaded
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.eval import calibrate, calibration
from relo_jax.eval.frame_evidence import FrameEvidence
from relo_jax.eval.report import plots
from relo_jax.files import atomic_write
from relo_jax.tracking import confidence
from relo_jax.tracking.options import checked_options

FILE, PICTURE = "score.json", "score.png"


def measure(loaded: Loaded, sequences: list[Sequence], batch: int = 8) -> tuple[dict, FrameEvidence]:
    """The figures of a checkpoint's score as it is; nothing is fitted.

    Args:
      loaded: the checkpoint, calibrated.
      sequences: any number.
      batch: sequences at a time.

    Returns:
      `figures_of` the checkpoint's options, and the frames that they were measured on.

    Raises:
      UserError: the checkpoint is not calibrated; no sequence can be tracked.
    """
    options = checked_options(loaded.config.get("tracker", {}), loaded.model)
    if not confidence.is_calibrated(options):
        raise UserError(
            "the score of this checkpoint is not calibrated: run relo calibrate without --report-only first"
        )
    frames = calibrate.collect_evidence(loaded, options, sequences, batch)
    return figures_of(frames, options, [sequence.name for sequence in sequences]), frames


def figures_of(frames: FrameEvidence, options: dict, names: list[str]) -> dict:
    """What these options of a tracker make of frames.

    Args:
      frames: N.
      options: with `confidence.FITTED`.
      names: of the sequences, by number.

    Returns:
      JSON-able: "tracker" (those options), "all" (`calibrate.reliability` and the threshold) and "sequences" (name ->
      `calibration.figures`).
    """
    scores, found = calibration.apply(frames, options)
    of_each = {}
    for number in np.unique(frames.sequence):
        own = frames.sequence == number
        of_each[names[number]] = calibration.figures(scores[own], frames.overlap[own], found[own])
    whole = {**calibrate.reliability(frames, scores, found), "threshold": options["found_threshold"]}
    return {"tracker": {name: options[name] for name in confidence.FITTED}, "all": whole, "sequences": of_each}


def write(folder: Path, report: dict, frames: FrameEvidence, about: dict) -> None:
    """Writes FILE and PICTURE into a folder; `about` is what else to state, JSON-able."""
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    scores, _ = calibration.apply(frames, report["tracker"])
    plots.reliability_plot(folder / PICTURE, {"score": (scores, frames.right)})
    with atomic_write(folder / FILE) as file:
        file.write_text(json.dumps({**about, "date": date, "version": __version__, **report}, indent=2) + "\n")


def table(report: dict) -> str:
    """The figures as text for a terminal: of all frames, and of the sequences from the worst on."""
    rate = lambda value: "-" if value is None else f"{value:.2f}"
    lines = [calibrate.figures_table({"all": report["all"]}), "", "sequence: lost frames that count as found, tracked "
             "frames that do; mean score, frames right"]  # fmt: skip
    for name, row in sorted(report["sequences"].items(), key=lambda item: -_worse_share(item[1])):
        found = f"{rate(row['false_alarm_rate'])}, {rate(row['found_rate'])}"
        lines.append(f"  {name}: {found}; {rate(row['mean_score'])}, {rate(row['right'])}")
    return "\n".join(lines)


def _worse_share(row: dict) -> float:
    """The larger share of wrong answers of `found`: of lost frames, or of tracked ones."""
    return max(row["false_alarm_rate"] or 0.0, 0.0 if row["found_rate"] is None else 1 - row["found_rate"])
