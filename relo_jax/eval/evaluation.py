"""The outcome of an evaluation, as a table for a terminal and as JSON.

The numbers are those of the tracker's float boxes. Beside them stand those of the same boxes as whole numbers, by which
published results are measured ("as published").

Nothing is left out silently: the table and the summary name the sequences that failed or could not be opened, and say
when only a server can measure the boxes.
"""

import html
import math
from dataclasses import dataclass, field

import numpy as np

from relo_jax.errors import UserError
from relo_jax.eval.benchmarks import Benchmark
from relo_jax.eval.metrics import NEVER_MOVES, Curves
from relo_jax.eval.report.plots import success_and_precision_plot
from relo_jax.eval.report.tables import without_nan
from relo_jax.eval.tracker_results import TrackerResults
from relo_jax.media.figures import Figure, Target, as_img
from relo_jax.tables import counted

_PUBLISHED = "as published"
_ROWS = 20  # sequences in the table of a notebook
_BOXES = (
    "Numbers of float boxes; as published: of the same boxes truncated to whole numbers, as the release measures them."
)


@dataclass(repr=False)
class Evaluation:
    """The outcome of an evaluation.

    benchmark: the sequences. tracker, still, published: the results of the tracker, of a box that never moves, and of
    the tracker's boxes as whole numbers, in the order of the sequences; nothing is measured if the truth is on a
    server. failed: name of a sequence -> the reason.
    frames_per_second: of all slots together, without compilation, from the files of times of all sessions; NaN without
    any.
    """

    benchmark: Benchmark
    tracker: TrackerResults
    still: TrackerResults
    published: TrackerResults
    failed: dict[str, str] = field(default_factory=dict)
    frames_per_second: float = math.nan

    @property
    def boxes(self) -> dict[str, np.ndarray]:
        """Name of a sequence -> the tracker's boxes, float64 [F, 4]."""
        return self.tracker.boxes

    @property
    def curves(self) -> dict[str, Curves]:
        """Name of a sequence -> the tracker's curves."""
        return self.tracker.curves

    @property
    def mean(self) -> Curves:
        """The tracker's mean curves over the sequences that did not fail."""
        return self.tracker.mean

    def table(self) -> str:
        """The table for a terminal: a line for each sequence, the mean, failures and omissions."""
        columns = self.benchmark.columns
        width = max([len(_PUBLISHED), *map(len, [*self.boxes, *self.failed])])
        lines = [f"{'sequence':<{width}}  frames"]
        if not self.curves:
            lines += [f"{name:<{width}} {len(boxes):7d}" for name, boxes in self.boxes.items()]
        else:
            main, heading = next(iter(columns.items()))
            lines[0] += "".join(f"{title:>7}" for title in columns.values()) + f"   {heading} of a {NEVER_MOVES}"
            rows = [
                (name, len(self.boxes[name]), numbers, self.still.numbers[name])
                for name, numbers in self.tracker.numbers.items()
            ]
            total = sum(map(len, self.boxes.values()))
            rows.append((f"mean of {len(rows)}", total, self.tracker.mean_numbers(), self.still.mean_numbers()))
            for label, frames, numbers, still in rows:
                shown = "".join(f"{numbers[column]:7.3f}" for column in columns)
                lines.append(f"{label:<{width}} {frames:7d}{shown} {still[main]:7.3f}")
            lines.insert(-1, "-" * len(lines[0]))
            numbers = self.published.mean_numbers()
            lines.append(f"{_PUBLISHED:<{width}} {'':7}" + "".join(f"{numbers[column]:7.3f}" for column in columns))
            lines.append(_BOXES)
        lines += [f"{name:<{width}}  failed: {reason}" for name, reason in self.failed.items()]
        return "\n".join(lines + self.benchmark.omissions())

    def __repr__(self) -> str:
        count = counted(len(self.boxes), "sequence")
        count += f", {len(self.failed):,} failed" if self.failed else ""
        main, heading = next(iter(self.benchmark.columns.items()))
        measured = f", {heading} {self.tracker.mean_numbers()[main]:.3f}" if self.curves else ", nothing measured here"
        return f"Evaluation({self.tracker.label} on {self.benchmark.title}: {count}{measured})"

    def plot(self, path: Target = None) -> Figure:
        """Success and precision of the tracker and of a box that never moves.

        Args:
          path: file to write too (.png, .svg, .pdf); None: none.

        Raises:
          UserError: nothing was measured, since the boxes are on a server or all sequences failed; the file cannot be
            written.
        """
        if not self.curves:
            raise UserError(f"{self.benchmark.title}: nothing was measured here, so that there are no curves")
        return success_and_precision_plot(path, {r.label: r.mean for r in (self.tracker, self.still)}, "float boxes")

    def _repr_html_(self) -> str:
        """The table, and the curves beside it."""
        if not self.curves:
            return f"<pre>{html.escape(self.table())}</pre>"
        columns = self.benchmark.columns
        still = next(iter(columns.items()))
        head = ["sequence", "frames", *columns.values(), f"{still[1]} of a {NEVER_MOVES}"]
        rows = [
            [name, f"{len(self.boxes[name]):,}", *(f"{numbers[column]:.3f}" for column in columns),
             f"{self.still.numbers[name][still[0]]:.3f}"]
            for name, numbers in self.tracker.numbers.items()
        ]  # fmt: skip
        numbers, whole = self.tracker.mean_numbers(), self.published.mean_numbers()
        frames = f"{sum(map(len, self.boxes.values())):,}"
        never = f"{self.still.mean_numbers()[still[0]]:.3f}"
        means = [f"mean of {len(rows)}", frames, *(f"{numbers[column]:.3f}" for column in columns), never]
        published = [_PUBLISHED, "", *(f"{whole[column]:.3f}" for column in columns), ""]
        lines = [_html_row(head, "th"), *_shortened(rows), _html_row(means, "th"), _html_row(published)]
        notes = [f"{name} failed: {reason}" for name, reason in self.failed.items()] + self.benchmark.omissions()
        below = "".join(f"<div>{html.escape(note)}</div>" for note in notes)
        title = html.escape(f"{self.tracker.label} on {self.benchmark.title}")
        return (
            f"<p><b>{title}</b></p><table>{''.join(lines)}</table>{below}"
            f"{as_img(lambda file: self.plot(file), width=620)}"
        )

    def summary(self) -> dict:
        """Everything except the boxes, as a JSON-able dict."""
        rows: dict[str, dict] = {name: {"frames": len(boxes)} for name, boxes in self.boxes.items()}
        for name in self.curves:
            rows[name] |= self.tracker.numbers[name] | {"never_moves_auc": self.still.curves[name].auc}
            rows[name]["as_published"] = self.published.numbers[name]
        means: dict[str, dict] = {}
        measured = {"mean": self.tracker, "as_published": self.published, "never_moves": self.still}
        for key, results in measured.items() if self.curves else ():
            curves = {k: getattr(results.mean, k).tolist() for k in ("success", "precision", "norm_precision")}
            means[key] = results.mean_numbers() | curves
        benchmark = self.benchmark
        about = {
            "dataset": benchmark.name, "split": benchmark.split, "title": benchmark.title, "evaluated": len(self.boxes),
            "published": benchmark.published, "missing": benchmark.missing, "absent": list(benchmark.absent),
            "reasons": list(benchmark.reasons), "server": benchmark.server, "fingerprint": benchmark.fingerprint(),
        }  # fmt: skip
        speed = {"frames_per_second": self.frames_per_second}
        boxes = {"boxes": _BOXES} if self.curves else {}
        return without_nan({**boxes, **means, "sequences": rows, "failed": self.failed, "benchmark": about, **speed})


def _html_row(cells: list[str], tag: str = "td") -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _shortened(rows: list[list[str]]) -> list[str]:
    """Rows of a table, and a line in place of those in the middle of a long one."""
    if len(rows) <= _ROWS:
        return [_html_row(row) for row in rows]
    between = f"{len(rows) - _ROWS:,} more: table() has all"
    half = _ROWS // 2
    return [*map(_html_row, rows[:half]), _html_row([between]), *map(_html_row, rows[-half:])]
