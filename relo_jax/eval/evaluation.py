"""What an evaluation found: boxes and numbers by sequence, as a table for a terminal and as JSON.

Nothing is left out silently: a sequence that failed, one that could not be opened, and numbers that only a server can
give are said in the table and stand in the summary.
"""

import math
from dataclasses import dataclass, field

from relo_jax.eval import metrics
from relo_jax.eval.benchmarks import Benchmark


@dataclass
class Evaluation:
    """What an evaluation found, by sequence name and in the order of the sequences.

    boxes: float64 [F, 4]. curves, still: Curves of the tracker and of a box that never moves, of the same sequences;
    empty where the truth is with a server. overlaps, still_overlaps: of GOT-10k, `metrics.got10k_overlaps`.
    failed: the reason. frames_per_second: all slots together, compilation left out, by the files of times, of however
    many sessions; NaN without any. benchmark: what was evaluated on.
    """

    boxes: dict = field(default_factory=dict)
    curves: dict = field(default_factory=dict)
    still: dict = field(default_factory=dict)
    failed: dict = field(default_factory=dict)
    frames_per_second: float = math.nan
    benchmark: Benchmark = Benchmark(None, None, "sequences", ())
    overlaps: dict = field(default_factory=dict)
    still_overlaps: dict = field(default_factory=dict)

    @property
    def mean(self):
        """Curves: the tracker's mean over the sequences that did not fail."""
        return metrics.mean(self.curves.values())

    @property
    def still_mean(self):
        """Curves: the same of the box that never moves."""
        return metrics.mean(self.still.values())

    def numbers(self, name=None, still=False):
        """The numbers of a sequence, or over all: dict of auc, p20, np20, ao, and of GOT-10k sr50, sr75."""
        curves, overlaps = (self.still, self.still_overlaps) if still else (self.curves, self.overlaps)
        found = (metrics.mean(curves.values()) if name is None else curves[name]).numbers()
        if overlaps:
            found |= metrics.got10k_numbers(overlaps.values() if name is None else [overlaps[name]])
        return found

    def table(self):
        """The table for a terminal: a line a sequence, the mean, what failed and what is not there."""
        columns = self.benchmark.columns
        main, heading = next(iter(columns.items()))
        width = max([len("mean of 000"), *map(len, [*self.boxes, *self.failed])])
        if not self.curves:
            lines = [f"{'sequence':<{width}}  frames"]
            lines += [f"{name:<{width}} {len(boxes):7d}" for name, boxes in self.boxes.items()]
        else:
            titles = "".join(f"{title:>7}" for title in columns.values())
            lines = [f"{'sequence':<{width}}  frames{titles}   {heading} of a box that never moves"]

            def row(label, frames, name):
                numbers, still = self.numbers(name), self.numbers(name, still=True)
                shown = "".join(f"{numbers[column]:7.3f}" for column in columns)
                lines.append(f"{label:<{width}} {frames:7d}{shown} {still[main]:7.3f}")

            for name in self.curves:
                row(name, len(self.boxes[name]), name)
            lines.append("-" * len(lines[0]))
            row(f"mean of {len(self.curves)}", sum(map(len, self.boxes.values())), None)
        lines += [f"{name:<{width}}  failed: {reason}" for name, reason in self.failed.items()]
        return "\n".join(lines + self.benchmark.account())

    def summary(self):
        """Everything but the boxes as a JSON-able dict."""
        rows = {name: {"frames": len(boxes)} for name, boxes in self.boxes.items()}
        for name in self.curves:
            rows[name] |= self.numbers(name) | {"never_moves_auc": self.still[name].auc}
        whole = {}
        for key, still in (("mean", False), ("never_moves", True)) if self.curves else ():
            curves = self.still_mean if still else self.mean
            whole[key] = self.numbers(still=still)
            whole[key] |= {k: getattr(curves, k).tolist() for k in ("success", "precision", "norm_precision")}
        benchmark = self.benchmark
        about = {
            "dataset": benchmark.name, "split": benchmark.split, "title": benchmark.title, "evaluated": len(self.boxes),
            "published": benchmark.published, "missing": benchmark.missing, "absent": list(benchmark.absent),
            "reasons": list(benchmark.reasons), "server": benchmark.server, "fingerprint": benchmark.fingerprint(),
        }  # fmt: skip
        speed = {"frames_per_second": self.frames_per_second}
        return _without_nan({**whole, "sequences": rows, "failed": self.failed, "benchmark": about, **speed})


def _without_nan(value):
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
