"""Where a tracker looked in sequences that it was evaluated on: its policy, from tracking them once more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as List
from pathlib import Path

import numpy as np

from relo_jax.bars import progress
from relo_jax.checkpoints.load import load_tracker
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.eval.report.failure_cases import Looks
from relo_jax.eval.results.write import RUN_FILE, fingerprint
from relo_jax.tracking.follow import follow
from relo_jax.tracking.result import Look
from relo_jax.tracking.tracker import Tracker


def looks_of(checkpoint: str | Path, results: Path) -> Looks:
    """What `key_frames` needs to draw the policy of a tracker.

    Args:
      checkpoint: of the tracker; what `relo_jax.checkpoint.load` takes.
      results: folder of its results, whose options it tracks with.

    Raises:
      UserError: the checkpoint cannot be loaded, or the results are of other weights or not of `relo eval`.
    """
    loaded, made_by = load_tracker(checkpoint), _made_by(results)
    if fingerprint(loaded.model, loaded.variables, {})["weights"] != made_by["weights"]:
        raise UserError(f"{results} has results of other weights than {checkpoint}: name the checkpoint that made them")
    tracker = Tracker(loaded.model, loaded.variables, made_by["tracker"])

    def looks(sequence: Sequence, frames: List[int]) -> Mapping[int, Look]:
        """Its Looks of some frames; of those before the first that cannot be read."""
        seen: dict[int, Look] = {}
        with progress(max(frames) + 1, f"looking at {sequence.name}", "frames", delay=2) as bar:
            followed = follow(tracker, _readable(sequence, max(frames) + 1), sequence.boxes_xywh[0], look=True)
            for index, (_, result) in enumerate(followed):
                if index in frames and isinstance(result, Look):
                    seen[index] = result
                bar.update()
        return seen

    return looks


def _readable(sequence: Sequence, count: int) -> Iterator[np.ndarray]:
    for index in range(count):
        try:
            frame = sequence.read_frame(index)
        except (UserError, OSError):
            return
        yield frame


def _made_by(results: Path) -> dict:
    """What `relo eval` wrote about the tracker."""
    try:
        made_by = json.loads((results / RUN_FILE).read_text())
        return {"weights": made_by["weights"], "tracker": dict(made_by["tracker"])}
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{results} has no {RUN_FILE} of relo eval, which says what made the results: --heatmap needs it"
        ) from None
