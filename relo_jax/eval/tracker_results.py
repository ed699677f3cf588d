"""One tracker on a benchmark: its boxes, whether tracked just now or read from files, and the numbers measured on them.

`measure` is the only place that measures boxes, for `relo eval`, `relo report`, the demo and the studies alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from relo_jax.data.datasets import layouts
from relo_jax.errors import UserError
from relo_jax.eval import metrics
from relo_jax.eval.benchmarks import Benchmark
from relo_jax.eval.results.read import beside, find_results, match_results, read_result, read_scores, read_times


@dataclass
class TrackerResults:
    """One tracker's results, by name of sequence.

    label: the tracker's name. folder, files: of its boxes, if they were read. boxes: float64 [F, 4]. seconds,
    scores: [F], where there are files of them. curves: `metrics.Curves`. overlaps: `metrics.got10k_overlaps`, for
    GOT-10k only. numbers: auc, p20, np20 and ao, for GOT-10k also sr50 and sr75, with the toolkit's ao. absent:
    sequences without results. bad: why a file cannot be used. notes: what is unusual about a file. extra: files of no
    sequence.
    """

    label: str
    folder: Path | None = None
    files: dict[str, Path] = field(default_factory=dict)
    boxes: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, np.ndarray] = field(default_factory=dict)
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    curves: dict[str, metrics.Curves] = field(default_factory=dict)
    overlaps: dict[str, np.ndarray] = field(default_factory=dict)
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    bad: dict[str, str] = field(default_factory=dict)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    extra: tuple[str, ...] = ()

    @property
    def mean(self) -> metrics.Curves:
        """The mean curves over all sequences."""
        return metrics.mean(self.curves.values())

    def mean_numbers(self) -> dict[str, float]:
        """The numbers over all sequences."""
        return self.mean.numbers() | (metrics.got10k_numbers(self.overlaps.values()) if self.overlaps else {})


def never_moves(benchmark: Benchmark, names: Iterable[str]) -> TrackerResults:
    """The baseline that every tracker must beat, on the sequences with these names."""
    chosen = set(names)
    boxes = {s.name: metrics.never_moves(s) for s in benchmark if s.name in chosen}
    return TrackerResults(metrics.NEVER_MOVES, boxes=boxes)


def as_whole_numbers(tracker: TrackerResults) -> TrackerResults:
    """The same results with truncated boxes, see `metrics.whole_numbers`; nothing is measured yet."""
    boxes = {name: metrics.whole_numbers(boxes_xywh) for name, boxes_xywh in tracker.boxes.items()}
    return replace(tracker, boxes=boxes, curves={}, overlaps={}, numbers={})


def measure(
    benchmark: Benchmark,
    trackers: Iterable[TrackerResults],
    rules: str | None = None,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Measures the boxes of trackers and fills in their curves and numbers.

    Args:
      benchmark: the sequences.
      trackers: results with boxes.
      rules: what frames without a target count for, a name of `metrics.RULES`; None: the benchmark's.
      advance: called after each sequence.
    """
    trackers = list(trackers)
    for sequence in benchmark:
        having = [tracker for tracker in trackers if sequence.name in tracker.boxes]
        name, truth, counted = sequence.name, sequence.boxes_xywh, sequence.counted
        size = sequence.read_frame(0).shape[1::-1] if having and benchmark.name == "got10k" else None
        for tracker in having:
            boxes = tracker.boxes[name]
            tracker.curves[name] = metrics.measure(boxes, truth, counted, rules or benchmark.rules)
            tracker.numbers[name] = tracker.curves[name].numbers()
            if size is not None:
                tracker.overlaps[name] = metrics.got10k_overlaps(boxes, truth, size, counted)
                tracker.numbers[name] |= metrics.got10k_numbers([tracker.overlaps[name]])
        advance()


def read_tracker(
    label: str, folder: Path, benchmark: Benchmark, one_based: bool, advance: Callable[[], object] = lambda: None
) -> TrackerResults:
    """Reads the result files of one tracker.

    Args:
      label: the tracker's name.
      folder: see `results.read.find_results`.
      benchmark: the sequences.
      one_based: whether its boxes count pixels from 1.
      advance: called for each sequence.

    Returns:
      TrackerResults without curves and numbers.

    Raises:
      UserError: no such folder, or no results in it.
    """
    aliases = layouts.dataset_layout(benchmark.name).folders if benchmark.name in layouts.NAMES else ()
    aliases = (*aliases, benchmark.title, f"{benchmark.name}{benchmark.split}", str(benchmark.name))
    matched, extra = match_results([s.name for s in benchmark], find_results(folder, aliases))
    tracker = TrackerResults(label, folder, extra=tuple(extra))
    tracker.absent = tuple(s.name for s in benchmark if s.name not in matched)
    for sequence in benchmark:
        name, frames = sequence.name, len(sequence)
        advance()
        if name not in matched:
            continue
        try:
            result = read_result(matched[name], frames, first=sequence.boxes_xywh[0], one_based=one_based)
            tracker.boxes[name], tracker.files[name] = result.boxes_xywh, matched[name]
        except UserError as error:
            tracker.bad[name] = str(error)
            continue
        notes = list(result.notes)
        for what, read, into in (("time", read_times, tracker.seconds), ("score", read_scores, tracker.scores)):
            path = beside(matched[name], what)
            try:
                if path is not None:
                    into[name] = read(path, frames)
            except UserError as error:
                notes.append(f"its {what}s are not used: {error}")
        if notes:
            tracker.notes[name] = tuple(notes)
    return tracker
