"""Trackers side by side: their boxes against the truth of a benchmark, on the sequences that all of them have.

    benchmark = open_benchmark("lasot", "/data")
    comparison = compare(benchmark, {"ours": "results/ours/lasot", "OSTrack": "ostrack/lasot"})
    comparison.overall("ours")["auc"], comparison.interval("ours", "OSTrack")

A mean over other sequences is another number. So a sequence that one tracker lacks, or whose file is wrong, is left out
for all of them, and is named in `absent` or `bad` of that tracker.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relo_jax.bars import progress
from relo_jax.errors import UserError, did_you_mean
from relo_jax.eval import metrics
from relo_jax.eval.benchmarks import Benchmark, first_few
from relo_jax.eval.bootstrap import Interval, draw, paired_interval
from relo_jax.eval.frame_evidence import is_right
from relo_jax.eval.report.box_rule import BoxRule, choose
from relo_jax.eval.tracker_results import TrackerResults, as_whole_numbers, measure, never_moves, read_tracker

SMALL = 10  # sequences; fewer call no tracker better


@dataclass(frozen=True)
class Comparison:
    """Trackers on a benchmark.

    entries: label -> results, in the order given. names: the sequences that are compared, those that all trackers have.
    still: the results of a box that never moves, shown beside the trackers; None to leave it out. resamples, seed: of
    the bootstrap. boxes: whether float or whole-number boxes were measured.
    """

    benchmark: Benchmark
    entries: Mapping[str, TrackerResults]
    names: tuple[str, ...]
    still: TrackerResults | None = None
    resamples: int = 10_000
    seed: int = 0
    boxes: BoxRule = BoxRule()

    @property
    def columns(self) -> dict[str, str]:
        """The numbers that are compared, the one that ranks first: name -> heading."""
        return {**self.benchmark.columns, "ao": metrics.HEADINGS["ao"]}

    @property
    def is_small(self) -> bool:
        """Whether the sequences are too few to call a tracker better."""
        return len(self.names) < SMALL

    @property
    def main(self) -> str:
        """The number that ranks."""
        return next(iter(self.columns))

    @property
    def heading(self) -> str:
        """The heading of the number that ranks."""
        return self.columns[self.main]

    @functools.cached_property
    def weights(self) -> np.ndarray:
        """float64 [names], the weight of each sequence: 1, or for GOT-10k its number of frames."""
        overlaps = next(iter(self.entries.values())).overlaps
        return np.array([len(overlaps[name]) if overlaps else 1 for name in self.names], np.float64)

    @functools.cached_property
    def frames(self) -> dict[str, int]:
        """Number of frames of each compared sequence."""
        return {s.name: len(s) for s in self.benchmark if s.name in self.names}

    @functools.cached_property
    def ranked(self) -> list[str]:
        """Labels, the best first."""
        return sorted(self.entries, key=lambda label: -np.nan_to_num(self.overall(label)[self.main], nan=-1))

    def values(self, label: str, column: str | None = None) -> np.ndarray:
        """A number (by default the one that ranks) of every compared sequence, float64 [names]."""
        return self._values(self.entries[label], column or self.main)

    def overall(self, label: str, names: Collection[str] | None = None) -> dict[str, float]:
        """The means of all columns over the compared sequences, or over some of them."""
        return self.overall_of(self.entries[label], names)

    def overall_of(self, results: TrackerResults, names: Collection[str] | None = None) -> dict[str, float]:
        """The same for results that need not be an entry, such as `still`."""
        chosen = np.ones(len(self.names), bool) if names is None else np.isin(self.names, list(names))
        return {c: _mean(self._values(results, c)[chosen], self.weights[chosen]) for c in self.columns}

    def curves(self, label: str) -> metrics.Curves:
        """The mean curves over the compared sequences."""
        return metrics.mean([self.entries[label].curves[name] for name in self.names])

    def interval(self, first: str, second: str, column: str | None = None) -> Interval:
        """The bootstrap interval of first minus second, for a number (by default the one that ranks). All intervals use
        the same draws."""
        return paired_interval(self.values(first, column), self.values(second, column), self._drawn, self.weights)

    @functools.cached_property
    def _drawn(self) -> np.ndarray:
        return draw(len(self.names), self.resamples, self.seed)

    def wins(self, first: str, second: str, column: str | None = None) -> tuple[int, int, int]:
        """On how many sequences the first tracker is better, equal and worse, by a number or the one that ranks."""
        difference = self.values(first, column) - self.values(second, column)
        better, equal, worse = (int(np.count_nonzero(w)) for w in (difference > 0, difference == 0, difference < 0))
        return better, equal, worse

    def by_attribute(self, attributes: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Attribute -> the compared sequences that have it, the most frequent attribute first.

        Args:
          attributes: name of a sequence -> its attributes.
        """
        having: dict[str, list[str]] = {}
        for name in self.names:
            for attribute in attributes.get(name, ()):
                having.setdefault(attribute, []).append(name)
        return dict(sorted(having.items(), key=lambda item: (-len(item[1]), item[0])))

    def scored(self, label: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Score and whether the box is right, [N] each, for all frames with a score except first ones; None without."""
        entry, scores, right = self.entries[label], [], []
        for sequence in self.benchmark:
            name = sequence.name
            if name in entry.scores:
                scores.append(entry.scores[name][1:])
                right.append(is_right(entry.boxes[name], sequence.boxes_xywh, sequence.visible)[1:])
        return (np.concatenate(scores), np.concatenate(right)) if scores else None

    def speed(self, label: str) -> dict[str, float] | None:
        """Median ms a frame and frames/s from a tracker's files of times, over all its sequences; None without files.
        First frames, whose box is given, and frames that took no time are not counted."""
        seconds = [s[1:] for s in self.entries[label].seconds.values()]
        taken = np.concatenate([np.zeros(0), *seconds])
        taken = taken[taken > 0]
        if not len(taken):
            return None
        return {"median_ms": 1e3 * float(np.median(taken)), "fps": len(taken) / float(taken.sum()),
                "sequences": len(seconds), "frames": len(taken)}  # fmt: skip

    def warnings(self) -> list[str]:
        """Lines on boxes of two kinds, on what is left out, which files are wrong and what is unusual about others, the
        most important first; empty if all is well."""
        lines, total = self.benchmark.omissions(), len(self.benchmark)
        if warning := self.boxes.warning():
            lines.insert(0, warning)
        if len(self.names) < total:
            lines.append(f"Only the {len(self.names)} of {total} sequences that all trackers have are compared.")
        for label, entry in self.entries.items():
            if absent := entry.absent:
                lines.append(f"{label}: no result for {len(absent)} of {total} sequences: {first_few(absent)}")
        for label, entry in self.entries.items():
            lines += [f"{label}: {name} is left out: {reason}" for name, reason in entry.bad.items()]
        for label, entry in self.entries.items():
            if entry.extra:
                count = len(entry.extra)
                files = f"{count} file{'' if count == 1 else 's'} of no sequence of this dataset, not used"
                lines.append(f"{label}: {files}: {first_few(entry.extra)}")
        for label, entry in self.entries.items():
            names_of: dict[str, list[str]] = {}
            for name, notes in entry.notes.items():
                for note in notes:
                    names_of.setdefault(note, []).append(name)
            lines += [f"{label}: {first_few(names)}: {note}" for note, names in names_of.items()]
        return lines

    def _values(self, entry: TrackerResults, column: str) -> np.ndarray:
        return np.array([entry.numbers[name][column] for name in self.names])


def compare(
    benchmark: Benchmark,
    folders: Mapping[str, str | Path],
    *,
    one_based: Iterable[str] = (),
    resamples: int = 10_000,
    seed: int = 0,
    boxes: str | None = None,
) -> Comparison:
    """Reads and measures the result files of trackers.

    Args:
      benchmark: the sequences and their truth.
      folders: label of a tracker -> folder of its results, see `results.read.find_results`.
      one_based: labels of the trackers that count pixels from 1.
      resamples, seed: of the bootstrap.
      boxes: "whole" measures truncated boxes, "float" those of the files; None: see `box_rule.choose`.

    Raises:
      UserError: the truth is on a server; a folder without results, or with whole and float boxes; no sequence that
        all trackers have.
    """
    if benchmark.server:
        raise UserError(f"{benchmark.title}: only the evaluation server has its boxes: use relo pack")
    for label in sorted(set(one_based) - set(folders)):
        raise UserError(f"no tracker is called {label!r}{did_you_mean(label, folders)}")
    entries = {}
    with progress(len(folders) * len(benchmark), "reading results", "files", delay=2) as bar:
        for label, folder in folders.items():
            entries[label] = read_tracker(label, Path(folder), benchmark, label in one_based, bar.update)
    names = tuple(s.name for s in benchmark if all(s.name in entry.boxes for entry in entries.values()))
    if not names:
        raise _nothing_to_compare(entries.values())
    rule = choose(entries.values(), boxes)
    still = None if benchmark.name == "got10k" else never_moves(benchmark, names)
    if rule.whole:
        entries = {label: as_whole_numbers(entry) for label, entry in entries.items()}
        still = as_whole_numbers(still) if still else None
    with progress(len(benchmark), "measuring", "sequences", delay=2) as bar:
        measure(benchmark, [*entries.values(), *([still] if still else [])], advance=bar.update)
    return Comparison(benchmark, entries, names, still, resamples, seed, rule)


def of_measured(benchmark: Benchmark, trackers: Iterable[TrackerResults]) -> Comparison:
    """Compares trackers whose boxes are measured already, such as those of several evaluations."""
    entries = {tracker.label: tracker for tracker in trackers}
    for entry in entries.values():
        entry.absent = tuple(s.name for s in benchmark if s.name not in entry.curves)
    names = tuple(s.name for s in benchmark if all(s.name in entry.curves for entry in entries.values()))
    return Comparison(benchmark, entries, names)


def _nothing_to_compare(entries: Iterable[TrackerResults]) -> UserError:
    """The error if no sequence is left; names the tracker at fault."""
    for entry in entries:
        if not entry.boxes and entry.bad:
            return UserError(
                f"{entry.label}: none of its {len(entry.bad)} files can be used; {next(iter(entry.bad.values()))}"
            )
        if not entry.boxes:
            return UserError(
                f"{entry.label}: no file in {entry.folder} belongs to a sequence of this dataset "
                f"(found {', '.join(entry.extra[:3])}; expected names such as {entry.absent[0]})"
            )
    labels = ", ".join(entry.label for entry in entries)
    return UserError(f"no sequence is in the results of all of {labels}: leave one of them out")


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    known = np.isfinite(values) & (weights > 0)
    return float(np.average(values[known], weights=weights[known])) if known.any() else float("nan")
