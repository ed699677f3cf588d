"""A comparison of trackers as one HTML page: which is better, how certain that is, where, and how it looks.

The sections follow the order of a reader's questions. Text and tables are HTML; plots are vector graphics inside the
file (html.py). The demo's page has some of these sections too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from relo_jax.eval import calibration
from relo_jax.eval.bootstrap import Interval
from relo_jax.eval.metrics import NEVER_MOVES
from relo_jax.eval.report import failure_cases, html, plots, sequence_sections
from relo_jax.eval.report.comparison import SMALL, Comparison
from relo_jax.eval.report.page_style import SCRIPT
from relo_jax.media import figures
from relo_jax.tables import counted

PAGE_FILE = "report.html"
_PLOTS = {
    "success": (plots.success_plot, "success curves"),
    "precision": (plots.precision_plot, "precision curves"),
    "norm_precision": (plots.norm_precision_plot, "normalised precision curves"),
}
_LISTED = 30  # warnings that are not folded away
_FEW = 30  # sequences; with fewer the bootstrap interval is too narrow
_TITLED = 3  # trackers that the title names


def write_comparison(
    out: Path,
    comparison: Comparison,
    against: str,
    *,
    attributes: Mapping[str, Sequence[str]] | None = None,
    worst: int = 4,
    facts: Mapping[str, object] | None = None,
    title: str | None = None,
    looks: failure_cases.Looks | None = None,
) -> None:
    """Writes `report.html`, and each of its plots beside it as .svg, .pdf and .png.

    Args:
      out: an existing folder.
      comparison: the trackers.
      against: label of the tracker that the others are compared with.
      attributes: name of a sequence -> its attributes, if the dataset has any.
      worst: number of sequences to show, those on which `against` does worst.
      facts: what else to state -> text.
      title: the headline; None: the trackers and the benchmark.
      looks: where `against` looked, drawn on the frames of those sequences; see `failure_cases.key_frames`.

    Raises:
      UserError: cannot be written.
    """
    lead = (
        f"{counted(len(comparison.names), 'sequence')}, {sum(comparison.frames.values()):,} frames. One pass over "
        f"each, starting from the first frame's box; {comparison.heading} ranks."
    )
    sections = [
        warnings(comparison),
        results(out, comparison),
        _differences(comparison, against),
        _attributes(comparison, attributes or {}),
        sequence_sections.two_trackers(out, comparison, against),
        sequence_sections.worst(comparison, against, worst, looks),
        _speed(comparison),
        _scores(out, comparison),
        sequence_sections.every_sequence(comparison),
        html.section("How it was made", html.facts(facts)) if facts else "",
    ]
    html.write_page(out / PAGE_FILE, title or headline(comparison, against), lead, sections, SCRIPT)


def headline(comparison: Comparison, against: str) -> str:
    """The title of a page: "ours and OSTrack on LaSOT"."""
    labels = [against, *(label for label in comparison.ranked if label != against)]
    if len(labels) > _TITLED:
        labels = [*labels[:1], counted(len(labels) - 1, "other tracker")]
    named = labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"
    return f"{named} on {comparison.benchmark.title}"


def warnings(comparison: Comparison) -> str:
    """The section on what is not compared and which files are unusual; "" if all is well."""
    lines = comparison.warnings()
    if not lines:
        return ""
    shown = html.bullets(lines[:_LISTED])
    more = html.folded(f"{len(lines) - _LISTED} more", html.bullets(lines[_LISTED:])) if lines[_LISTED:] else ""
    return html.section("Before you read the numbers", shown, more, kind="warning")


def results(out: Path, comparison: Comparison) -> str:
    """The section with the ranking and the curves, which are also written into `out`."""
    columns, overall = comparison.columns, {label: comparison.overall(label) for label in comparison.ranked}
    best = {c: max(n[c] for n in overall.values()) for c in columns}
    rows = []
    for label, numbers in overall.items():
        cells = [html.number(numbers[c], bar=c == comparison.main, best=numbers[c] == best[c]) for c in columns]
        rows.append([label, *cells, f"{len(comparison.entries[label].boxes)} of {len(comparison.benchmark)}"])
    kinds: list[str | None] = [None] * len(rows)
    if comparison.still is not None:
        rows.append([NEVER_MOVES, *map(html.number, comparison.overall_of(comparison.still).values()), ""])
        kinds.append("aside")
    table = html.table(["tracker", *columns.values(), "sequences"], rows, sortable=True, kinds=kinds)
    if comparison.main == "auc":
        text = (
            "AUC: area under the success curve, the mean over 21 thresholds. P20: share of frames whose centre is "
            "within 20 pixels; NP20: within a fifth of the target's size. AO: mean overlap (IoU). Means over sequences."
        )
    else:
        text = (
            "AO: mean overlap (IoU) over all frames of all sequences together, without first frames, as the GOT-10k "
            "toolkit counts; SR: share of frames above 0.5 and 0.75. The curves below are means over sequences."
        )
    curves, pictures = {label: comparison.curves(label) for label in comparison.entries}, ""
    for stem, (draw, name) in _PLOTS.items():
        svg = figures.in_every_format(out / stem, draw, curves, comparison.boxes.name)
        pictures += html.plot(svg, name)
    boxes = comparison.boxes
    text += f" Of {boxes.name}, see above." if boxes.warning() else f" {boxes.sentence()}"
    return html.section("Results", table, html.note(text), f'<div class="plots">{pictures}</div>')


def _differences(comparison: Comparison, against: str) -> str:
    others = [label for label in comparison.ranked if label != against]
    if not others:
        return ""
    intervals = {label: comparison.interval(against, label) for label in others}
    widest = max(0.01, *(abs(v) for i in intervals.values() for v in (i.low, i.high)))
    rows = []
    for label, interval in intervals.items():
        higher, equal, lower = comparison.wins(against, label)
        verdict = "better" if interval.low > 0 else "worse" if interval.high < 0 else "undecided"
        verdict = "too few sequences" if comparison.is_small else verdict
        bounds = html.cell(_bounds(interval), interval.high - interval.low)
        rows.append(
            [label, html.number(interval.difference, sign=True), bounds, _span(interval, widest),
             f"{higher} / {equal} / {lower}", verdict]
        )  # fmt: skip
    heads = [f"{against} minus", comparison.heading, "95 % interval", "", "higher / equal / lower", f"{against} is"]
    table = html.table(heads, rows, sortable=len(rows) > 1)
    text = (
        f"Paired bootstrap over the {len(comparison.names)} sequences, {comparison.resamples:,} resamples: the "
        "interval holds 95 % of the differences that other samples of such sequences would give. Higher / equal / "
        "lower counts sequences."
    )
    if comparison.is_small:
        text += f" Fewer than {SMALL} sequences say too little to call one tracker better."
    elif len(comparison.names) < _FEW:
        text += " With so few sequences the interval is too narrow."
    other_numbers = _other_differences(comparison, against, others)
    return html.section("Is the difference more than chance?", table, html.note(text), other_numbers)


def _other_differences(comparison: Comparison, against: str, others: Sequence[str]) -> str:
    """The same for the numbers that do not rank: each cell has the difference, with its interval below."""
    columns = {column: title for column, title in comparison.columns.items() if column != comparison.main}
    rows = []
    for label in others:
        intervals = [comparison.interval(against, label, column) for column in columns]
        rows.append([label, *(_difference_cell(interval, not comparison.is_small) for interval in intervals)])
    table = html.table([f"{against} minus", *columns.values()], rows, sortable=len(rows) > 1)
    text = "The other numbers, on the same resamples: the difference, and below it the 95 % interval"
    if not comparison.is_small:
        text += "; bold if the interval excludes 0. Among several intervals some exclude 0 by chance alone"
    text += "."
    return table + html.note(text)


def _difference_cell(interval: Interval, marked: bool) -> str:
    if np.isnan(interval.difference):
        return html.number(None)
    extra = f'<div class="note">{html.escape(_bounds(interval))}</div>'
    return html.cell(
        html.signed(interval.difference), interval.difference, extra, best=marked and interval.excludes_zero
    )


def _bounds(interval: Interval) -> str:
    return f"{html.signed(interval.low)} to {html.signed(interval.high)}"


def _span(interval: Interval, widest: float) -> html.Cell:
    low, high, middle = (50 + 46 * v / widest for v in (interval.low, interval.high, interval.difference))
    return html.Cell(
        f'<td class="wide"><div class="span"><s></s><i style="left:{low:.1f}%;width:{max(high - low, 0.5):.1f}%"></i>'
        f'<b style="left:{middle:.1f}%"></b></div></td>'
    )


def _attributes(comparison: Comparison, attributes: Mapping[str, Sequence[str]]) -> str:
    having = comparison.by_attribute(attributes)
    if not having:
        return ""
    labels, rows = comparison.ranked, []
    for attribute, names in having.items():
        numbers = [comparison.overall(label, names)[comparison.main] for label in labels]
        best = np.fmax.reduce(numbers)
        rows.append([attribute, str(len(names)), *(html.number(n, best=n == best) for n in numbers)])
    without = sum(not attributes.get(name) for name in comparison.names)
    text = f"{comparison.heading} over the sequences with the attribute; most have several."
    if without:
        text += f" {without} of {len(comparison.names)} sequences have none."
    table = html.table(["attribute", "sequences", *labels], rows, sortable=True)
    return html.section("By attribute", table, html.note(text))


def _speed(comparison: Comparison) -> str:
    speeds = {label: speed for label in comparison.ranked if (speed := comparison.speed(label))}
    if not speeds:
        return ""
    rows = [
        [label, html.number(s["median_ms"], 1), html.number(s["fps"], 1), f"{s['frames']:,}", str(s["sequences"])]
        for label, s in speeds.items()
    ]
    table = html.table(["tracker", "median ms a frame", "frames/s", "frames", "sequences"], rows, sortable=True)
    text = (
        "From each tracker's own files of times, without first frames, on whatever machine it ran. A time of relo eval "
        "is a frame's share of its batch (throughput); other trackers write how long one frame takes."
    )
    return html.section("Speed", table, html.note(text))


def _scores(out: Path, comparison: Comparison) -> str:
    """How well calibrated the scores are, for trackers with files of scores, over all frames except first ones."""
    scored = {label: pair for label in comparison.entries if (pair := comparison.scored(label))}
    if not scored:
        return ""
    svg = figures.in_every_format(out / "reliability", plots.reliability_plot, scored)
    diagram = html.plot(svg, "reliability diagram")
    rows = [
        [label, html.number(calibration.expected_calibration_error(*pair)),
         html.number(calibration.auroc(*pair)), html.number(float(pair[1].mean())), f"{len(pair[0]):,}"]
        for label, pair in scored.items()
    ]  # fmt: skip
    heads = ["tracker", "calibration error", "AUROC", "frames right", "frames"]
    text = (
        "A frame is right if the target is visible and the box overlaps it by more than half. A calibrated score lies "
        "on the diagonal: four in five of the frames with a score of 0.8 are right. AUROC: how often a right frame "
        "scores higher than a wrong one."
    )
    table = html.table(heads, rows, sortable=len(rows) > 1)
    return html.section("Scores", html.pair(table + html.note(text), diagram))
