"""Trackers side by side: their result files against the truth of a benchmark, on the sequences that all of them have.

    benchmark = open_benchmark("lasot", "/data")
    comparison = compare(benchmark, {"ours": "results/ours/lasot", "OSTrack": "ostrack/lasot"})
    comparison.overall("ours")["auc"], comparison.interval("ours", "OSTrack")

A mean over other sequences is another number. So a sequence that one tracker lacks, or whose file is wrong, is left out
for all of them, and is named in `absent` or `bad` of that tracker.
"""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tqdm

from relo_jax.data.datasets import layouts
from relo_jax.errors import UserError
from relo_jax.eval import metrics
from relo_jax.eval.bootstrap import draw, paired_interval
from relo_jax.eval.calibration import is_right
from relo_jax.eval.results.read import beside, find_results, match_results, read_result, read_scores, read_times

CURVES = {"auc": "AUC", "p20": "P", "np20": "NP", "ao": "AO"}
GOT10K = {"ao": "AO", "sr50": "SR0.5", "sr75": "SR0.75"}


@dataclass
class Entry:
    """One tracker's results, by name of sequence.

    boxes: float64 [F, 4]. seconds, scores: [F], where there are files of them. curves: `metrics.Curves`.
    numbers: what is compared, see `Comparison.columns`. absent: sequences without a file. bad: why a file cannot be
    used. notes: what is odd about a file. extra: files that are no sequence's.
    """

    label: str
    folder: Path
    boxes: dict = field(default_factory=dict)
    seconds: dict = field(default_factory=dict)
    scores: dict = field(default_factory=dict)
    curves: dict = field(default_factory=dict)
    numbers: dict = field(default_factory=dict)
    absent: tuple = ()
    bad: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)
    extra: tuple = ()


@dataclass(frozen=True)
class Comparison:
    """Trackers on a benchmark.

    entries: label -> Entry, in the order given. names: the sequences that are compared, those that all have.
    columns: number -> its heading, the first being the one that ranks. weights: [names], what a sequence counts for.
    resamples, seed: of the bootstrap.
    """

    benchmark: object
    entries: dict
    names: tuple
    columns: dict
    weights: np.ndarray
    resamples: int = 10_000
    seed: int = 0

    @property
    def main(self):
        """The number that ranks."""
        return next(iter(self.columns))

    @property
    def labels(self):
        return list(self.entries)

    @property
    def ranked(self):
        """Labels, best first."""
        return sorted(self.entries, key=lambda label: -np.nan_to_num(self.overall(label)[self.main], nan=-1))

    def values(self, label, column=None):
        """A number of every compared sequence, float64 [names]."""
        numbers = self.entries[label].numbers
        return np.array([numbers[name][column or self.main] for name in self.names])

    def overall(self, label, names=None):
        """dict of the columns: means over all compared sequences, or over some of them."""
        chosen = np.ones(len(self.names), bool) if names is None else np.isin(self.names, list(names))
        return {column: _mean(self.values(label, column)[chosen], self.weights[chosen]) for column in self.columns}

    def curves(self, label):
        """Mean `metrics.Curves` over the compared sequences."""
        return metrics.mean([self.entries[label].curves[name] for name in self.names])

    def interval(self, first, second, column=None):
        """`bootstrap.Interval` of a number, first minus second; of the one that ranks, where none is named. All numbers
        are measured on the same draws."""
        return paired_interval(self.values(first, column), self.values(second, column), self._drawn, self.weights)

    @functools.cached_property
    def _drawn(self):
        return draw(len(self.names), self.resamples, self.seed)

    def wins(self, first, second, column=None):
        """On how many sequences the first is better, as good, and worse, by a number or by the one that ranks."""
        difference = self.values(first, column) - self.values(second, column)
        return tuple(int(np.count_nonzero(which)) for which in (difference > 0, difference == 0, difference < 0))

    def by_attribute(self, attributes):
        """Attribute -> its names among the compared sequences, the most frequent first.

        Args:
          attributes: name of a sequence -> its attributes.
        """
        having = {}
        for name in self.names:
            for attribute in attributes.get(name, ()):
                having.setdefault(attribute, []).append(name)
        return dict(sorted(having.items(), key=lambda item: (-len(item[1]), item[0])))

    def scored(self, label):
        """Scores and whether the box is right, `[N]` both, of all frames with a score but first ones; None without."""
        entry, found = self.entries[label], []
        for sequence in self.benchmark:
            if sequence.name in entry.scores:
                right = is_right(entry.boxes[sequence.name], sequence.boxes_xywh, sequence.visible)
                found.append((entry.scores[sequence.name][1:], right[1:]))
        return tuple(map(np.concatenate, zip(*found, strict=True))) if found else None

    def speed(self, label):
        """Median ms a frame and frames/s of a tracker's files of times, over all its sequences; None without any. The
        first frame, which is given, does not count, and neither does one that took no time."""
        seconds = [s[1:] for s in self.entries[label].seconds.values()]
        taken = np.concatenate([np.zeros(0), *seconds])
        taken = taken[taken > 0]
        if not len(taken):
            return None
        return {"median_ms": 1e3 * float(np.median(taken)), "fps": len(taken) / float(taken.sum()),
                "sequences": len(seconds), "frames": len(taken)}  # fmt: skip


def compare(benchmark, folders: Mapping[str, str | Path], *, one_based=(), resamples=10_000, seed=0) -> Comparison:
    """Reads and measures trackers' results.

    Args:
      benchmark: `benchmarks.Benchmark`.
      folders: label of a tracker -> folder of its results, see `result_files.find_results`.
      one_based: labels of those that count pixels from 1.
      resamples, seed: of the bootstrap.

    Returns:
      Comparison.

    Raises:
      UserError: the truth is with a server; a folder without results; no sequence that all trackers have.
    """
    if benchmark.server:
        raise UserError(f"{benchmark.title}: its boxes are with the evaluation server, but for the first: pack for it")
    wrong = sorted(set(one_based) - set(folders))
    if wrong:
        raise UserError(f"no tracker is called {wrong[0]}: they are {', '.join(folders)}")
    entries = {}
    with _bar(len(folders) * len(benchmark), "reading results", "files") as bar:
        for label, folder in folders.items():
            entries[label] = _read(label, Path(folder), benchmark, label in one_based, bar.update)
    names = tuple(s.name for s in benchmark if all(s.name in entry.boxes for entry in entries.values()))
    if not names:
        raise _nothing_to_compare(entries)
    is_got10k = benchmark.name == "got10k"
    sequences = [s for s in benchmark if any(s.name in entry.boxes for entry in entries.values())]
    weights = {}
    with _bar(len(sequences), "measuring", "sequences") as bar:
        for sequence in sequences:
            size = sequence.read_frame(0).shape[1::-1] if is_got10k else None
            for entry in entries.values():
                if sequence.name in entry.boxes:
                    weights[sequence.name] = _measure(entry, sequence, benchmark.rules, size)
            bar.update()
    columns = GOT10K if is_got10k else CURVES
    weights = np.array([weights[name] for name in names], np.float64)
    return Comparison(benchmark, entries, names, columns, weights, resamples, seed)


def _bar(total, what, unit):
    return tqdm.tqdm(desc=what, unit=f" {unit}", total=total, dynamic_ncols=True, delay=2,
                     mininterval=0.5 if sys.stderr.isatty() else 30)  # fmt: skip


def _read(label, folder, benchmark, one_based, advance):
    """The results of one tracker."""
    aliases = layouts.dataset_layout(benchmark.name).folders if benchmark.name in layouts.NAMES else ()
    found = find_results(folder, (*aliases, benchmark.title, f"{benchmark.name}{benchmark.split}", str(benchmark.name)))
    matched, extra = match_results([s.name for s in benchmark], found)
    entry = Entry(label, folder, extra=tuple(extra))
    entry.absent = tuple(s.name for s in benchmark if s.name not in matched)
    for sequence in benchmark:
        name, frames = sequence.name, len(sequence)
        advance()
        if name not in matched:
            continue
        try:
            result = read_result(matched[name], frames, first=sequence.boxes_xywh[0], one_based=one_based)
            entry.boxes[name] = result.boxes_xywh
        except UserError as error:
            entry.bad[name] = str(error)
            continue
        notes = list(result.notes)
        for what, read, into in (("time", read_times, entry.seconds), ("score", read_scores, entry.scores)):
            path = beside(matched[name], what)
            try:
                if path is not None:
                    into[name] = read(path, frames)
            except UserError as error:
                notes.append(f"its {what}s are not used: {error}")
        if notes:
            entry.notes[name] = tuple(notes)
    return entry


def _nothing_to_compare(entries):
    """The UserError where no sequence is left; says whose fault it is."""
    for entry in entries.values():
        if not entry.boxes and entry.bad:
            return UserError(
                f"{entry.label}: none of its {len(entry.bad)} files can be used; {next(iter(entry.bad.values()))}"
            )
        if not entry.boxes:
            return UserError(
                f"{entry.label}: no file in {entry.folder} is of a sequence of this dataset "
                f"(it has {', '.join(entry.extra[:3])}; wanted is {entry.absent[0]})"
            )
    return UserError(f"no sequence is in the results of all of {', '.join(entries)}: leave one of them out")


def _measure(entry, sequence, rules, size):
    """Fills in curves and numbers; returns what the sequence counts for: 1, or its frames with GOT-10k's rules."""
    name, truth = sequence.name, sequence.boxes_xywh
    curves = metrics.measure(entry.boxes[name], truth, sequence.counted, rules)
    entry.curves[name] = curves
    if size is None:
        entry.numbers[name] = curves.numbers()
        return 1.0
    overlaps = metrics.got10k_overlaps(entry.boxes[name], truth, size, sequence.counted)
    entry.numbers[name] = metrics.got10k_numbers([overlaps])
    return float(len(overlaps))


def _mean(values, weights):
    known = np.isfinite(values) & (weights > 0)
    return float(np.average(values[known], weights=weights[known])) if known.any() else float("nan")
