"""A comparison of trackers as one HTML page: who is better, how sure that is, where, and what it looks like.

Sections come in the order of a reader's questions. Text and tables are the page's own; plots are vector graphics and
part of the file (page.py).
"""

import numpy as np

from relo_jax.eval import calibration, metrics
from relo_jax.eval.report import html, plots, sequence_sections
from relo_jax.eval.report.omissions import oddities

STILL = "a box that never moves"
_PLOTS = {
    "success": (plots.success_plot, "success curves"),
    "precision": (plots.precision_plot, "precision curves"),
    "norm_precision": (plots.norm_precision_plot, "normalised precision curves"),
}
_LISTED = 30  # lines of what is odd about files
_FEW = 30  # sequences, of which a bootstrap knows little


def write_comparison(out, comparison, against, *, attributes=None, worst=4, facts=None):
    """Writes `report.html`, and each of its plots beside it as .svg, .pdf and .png.

    Args:
      out: the folder, there already.
      comparison: `comparison.Comparison`.
      against: label of the tracker that the others are compared with.
      attributes: name of a sequence -> its attributes, where the dataset has any.
      worst: how many of the sequences on which `against` does worst are shown.
      facts: dict of what else to know -> text.

    Raises:
      UserError: cannot be written.
    """
    title = f"{comparison.benchmark.title}: {_counted(len(comparison.entries), 'tracker')}"
    frames = sum(len(s) for s in comparison.benchmark if s.name in comparison.names)
    lead = (
        f"{_counted(len(comparison.names), 'sequence')}, {frames:,} frames. One pass over each, from the first frame's "
        f"box on; {comparison.columns[comparison.main]} ranks."
    )
    sections = [
        _oddities(comparison),
        _ranking(comparison, _curves(out, comparison)),
        _differences(comparison, against),
        _attributes(comparison, attributes or {}),
        sequence_sections.two_trackers(out, comparison, against),
        sequence_sections.worst(comparison, against, worst),
        _speed(comparison),
        _scores(out, comparison),
        sequence_sections.every_sequence(comparison),
        html.section("How it was made", html.facts(facts)) if facts else "",
    ]
    html.write_page(out / "report.html", title, lead, sections, html.SORTING)


def still(comparison):
    """The columns' numbers for a box that never moves, on the compared sequences."""
    numbers = {}
    for sequence in comparison.benchmark:
        if sequence.name in comparison.names:
            boxes = metrics.never_moves(sequence)
            curves = metrics.measure(boxes, sequence.boxes_xywh, sequence.counted, comparison.benchmark.rules)
            numbers[sequence.name] = curves.numbers()
    return {column: float(np.nanmean([n[column] for n in numbers.values()])) for column in ("auc", "p20", "np20", "ao")}


def _curves(out, comparison):
    curves = {label: comparison.curves(label) for label in comparison.entries}
    drawn = ""
    for stem, (draw, text) in _PLOTS.items():
        drawn += html.picture(plots.in_every_format(out / stem, draw, curves), "svg+xml", text)
    return f'<div class="plots">{drawn}</div>'


def _ranking(comparison, curves):
    columns, overall = comparison.columns, {label: comparison.overall(label) for label in comparison.ranked}
    best = {c: max((n[c] for n in overall.values()), default=None) for c in columns}
    rows, kinds = [], []
    for label, numbers in overall.items():
        cells = [html.number(numbers[c], bar=c == comparison.main, best=numbers[c] == best[c]) for c in columns]
        rows.append([label, *cells, f"{len(comparison.entries[label].boxes)} of {len(comparison.benchmark)}"])
        kinds.append(None)
    if set(columns) <= {"auc", "p20", "np20", "ao"}:
        numbers = still(comparison)
        rows.append([STILL, *(html.number(numbers[c]) for c in columns), ""])
        kinds.append("aside")
    table = html.table(["tracker", *columns.values(), "sequences"], rows, sortable=True, kinds=kinds)
    if "auc" in columns:
        says = (
            "AUC: area under the success curve, the mean over 21 thresholds. P: share of frames whose centre is within "
            "20 pixels; NP: within a fifth of the target's size. AO: mean overlap (IoU). Means over sequences."
        )
    else:
        says = (
            "AO: mean overlap (IoU) over all frames of all sequences together, the first of each left out, as the "
            "GOT-10k toolkit counts; SR: share of frames above 0.5 and 0.75. The curves below are means over sequences."
        )
    return html.section("Results", table, html.note(says), curves)


def _differences(comparison, against):
    others = [label for label in comparison.ranked if label != against]
    if not others:
        return ""
    measure = comparison.columns[comparison.main]
    found = {label: comparison.interval(against, label) for label in others}
    widest = max(0.01, *(abs(v) for i in found.values() for v in (i.low, i.high)))
    rows = []
    for label, interval in found.items():
        better, equal, worse = comparison.wins(against, label)
        said = "better" if interval.low > 0 else "worse" if interval.high < 0 else "not told apart"
        bounds = html.cell(_bounds(interval), interval.high - interval.low)
        rows.append(
            [label, html.number(interval.difference, sign=True), bounds, _span(interval, widest),
             f"{better} / {equal} / {worse}", said]
        )  # fmt: skip
    table = html.table(
        [f"{against} minus", measure, "95 % interval", "", "better / equal / worse", f"{against} is"], rows,
        sortable=len(rows) > 1,
    )  # fmt: skip
    says = (
        f"Paired bootstrap over the {len(comparison.names)} sequences, {comparison.resamples:,} resamples: the "
        "interval holds 95 % of the differences that other samples of such sequences would give. Better / equal / "
        "worse counts sequences."
    )
    if len(comparison.names) < _FEW:
        says += " Of so few sequences the interval is rather too narrow."
    return html.section(
        "Is the difference more than chance?", table, html.note(says), _other_differences(comparison, against, others)
    )


def _other_differences(comparison, against, others):
    """The same of the numbers that do not rank: a cell has the difference, and its interval below it."""
    columns = {column: title for column, title in comparison.columns.items() if column != comparison.main}
    rows = []
    for label in others:
        intervals = [comparison.interval(against, label, column) for column in columns]
        rows.append([label, *map(_difference_cell, intervals)])
    table = html.table([f"{against} minus", *columns.values()], rows, sortable=len(rows) > 1)
    says = "The other numbers, on the same resamples: the difference, and below it its 95 % interval; bold where 0 is "
    return table + html.note(f"{says}outside of it. Of several intervals some leave 0 out by chance alone.")


def _difference_cell(interval):
    if np.isnan(interval.difference):
        return html.number(None)
    extra = f'<div class="note">{html.escape(_bounds(interval))}</div>'
    return html.cell(html.signed(interval.difference), interval.difference, extra, best=interval.excludes_zero)


def _bounds(interval):
    return f"{html.signed(interval.low)} to {html.signed(interval.high)}"


def _span(interval, widest):
    place = lambda v: 50 + 46 * v / widest
    low, high, middle = (place(v) for v in (interval.low, interval.high, interval.difference))
    return html.Cell(
        f'<td><div class="span"><s></s><i style="left:{low:.1f}%;width:{max(high - low, 0.5):.1f}%"></i>'
        f'<b style="left:{middle:.1f}%"></b></div></td>'
    )


def _attributes(comparison, attributes):
    having = comparison.by_attribute(attributes)
    if not having:
        return ""
    labels, rows = comparison.ranked, []
    for attribute, names in having.items():
        numbers = [comparison.overall(label, names)[comparison.main] for label in labels]
        best = np.fmax.reduce(numbers)
        rows.append([attribute, str(len(names)), *(html.number(n, best=n == best) for n in numbers)])
    without = sum(not attributes.get(name) for name in comparison.names)
    says = f"{comparison.columns[comparison.main]} over the sequences that have it; most have several."
    if without:
        says += f" {without} of {len(comparison.names)} sequences have none."
    return html.section(
        "By attribute", html.table(["attribute", "sequences", *labels], rows, sortable=True), html.note(says)
    )


def _speed(comparison):
    found = {label: speed for label in comparison.ranked if (speed := comparison.speed(label))}
    if not found:
        return ""
    rows = [
        [label, html.number(s["median_ms"], 1), html.number(s["fps"], 1), f"{s['frames']:,}", str(s["sequences"])]
        for label, s in found.items()
    ]
    table = html.table(["tracker", "median ms a frame", "frames/s", "frames", "sequences"], rows, sortable=True)
    says = (
        "By each tracker's own files of times, without first frames; made on whatever machine it ran on. Times of relo "
        "eval are a frame's share of its batch: throughput, where others write how long one frame takes."
    )
    return html.section("Speed", table, html.note(says))


def _scores(out, comparison):
    """How honest scores are: of the trackers that have files of them, over all sequences with one but first frames."""
    found = {label: scored for label in comparison.entries if (scored := comparison.scored(label))}
    if not found:
        return ""
    drawn = plots.in_every_format(out / "reliability", calibration.reliability_plot, found)
    drawn = html.picture(drawn, "svg+xml", "reliability diagram")
    rows = [
        [label, html.number(calibration.expected_calibration_error(*scored)),
         html.number(calibration.auroc(*scored)), html.number(float(scored[1].mean())), f"{len(scored[0]):,}"]
        for label, scored in found.items()
    ]  # fmt: skip
    heads = ["tracker", "calibration error", "AUROC", "frames right", "frames"]
    says = (
        "A frame is right when the target is there and the box overlaps it by more than half. A calibrated score is on "
        "the diagonal: of the frames that it gives 0.8, four in five are right. AUROC: how often a frame that is right "
        "scores higher than one that is not."
    )
    table = html.table(heads, rows, sortable=len(rows) > 1)
    return html.section("Scores", f'<div class="pair"><div>{table}{html.note(says)}</div><div>{drawn}</div></div>')


def _oddities(comparison):
    """What is not compared, and what is odd about files; empty when all is well."""
    lines = oddities(comparison)
    if not lines:
        return ""
    shown = html.bullets(lines[:_LISTED])
    more = html.folded(f"{len(lines) - _LISTED} more", html.bullets(lines[_LISTED:])) if lines[_LISTED:] else ""
    return html.section("Before you read the numbers", shown, more, kind="warning")


def _counted(count, what):
    return f"{count:,} {what}{'' if count == 1 else 's'}"
