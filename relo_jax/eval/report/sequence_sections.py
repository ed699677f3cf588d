"""The sections of a comparison that speak of single sequences: two trackers on each, and where one does worst."""

import numpy as np

from relo_jax.eval.report import failure_cases, html, plots

_DRAWN = 5  # trackers whose boxes are drawn into one frame


def two_trackers(out, comparison, against):
    """The section on `against` and the best of the others: bars, a table, and bars for the remaining trackers, folded
    away; "" where there is no other. Writes `differences*.svg`, `.pdf` and `.png` into `out`."""
    other = rival(comparison, against)
    if other is None:
        return ""
    measure, frames = comparison.columns[comparison.main], {s.name: len(s) for s in comparison.benchmark}
    first, second = comparison.values(against), comparison.values(other)
    drawn = _difference_plot(out, "differences", comparison, against, other)
    widest = np.fmax.reduce(np.abs(first - second), initial=0.01)
    rows = [
        [comparison.names[k], str(frames[comparison.names[k]]), html.number(first[k]), html.number(second[k]),
         html.number(first[k] - second[k], sign=True), _span_of(first[k] - second[k], widest)]
        for k in np.argsort(-(first - second), kind="stable")
    ]  # fmt: skip
    table = html.table(["sequence", "frames", against, other, "difference", ""], rows, sortable=True, tall=True)
    others = [label for label in comparison.ranked if label not in (against, other)]
    more = "".join(
        html.folded(f"{against} and {label}", _difference_plot(out, f"differences-{k + 2}", comparison, against, label))
        for k, label in enumerate(others)
    )
    says = f"{measure} of each sequence; a bar to the right of the middle is for {against}."
    return html.section(f"{against} and {other}, sequence by sequence", drawn, table, html.note(says), more)


def _difference_plot(out, stem, comparison, first, second):
    differences = comparison.values(first) - comparison.values(second)
    pair = [colours(comparison)[label] for label in (first, second)]
    measure, text = comparison.columns[comparison.main], f"differences between {first} and {second}"
    known = differences[np.isfinite(differences)]
    drawn = plots.in_every_format(out / stem, plots.differences_plot, (first, second), known, measure, pair)
    return html.picture(drawn, "svg+xml", text)


def _span_of(difference, widest):
    if np.isnan(difference):
        return html.cell("")
    width = 50 * abs(difference) / widest
    left = 50 if difference > 0 else 50 - width
    return html.Cell(
        f'<td data-value="{difference:.9g}"><div class="span"><s></s>'
        f'<i style="left:{left:.1f}%;width:{width:.1f}%"></i></div></td>'
    )


def worst(comparison, against, count):
    """The section with frames of the `count` sequences on which `against` does worst."""
    sequences = {s.name: s for s in comparison.benchmark}
    chosen = failure_cases.hardest(comparison, against, count)
    drawn = [against, *(label for label in comparison.ranked if label != against)][:_DRAWN]
    colour = {label: c for label, c in colours(comparison).items() if label in drawn}
    parts = [html.keys({"ground truth (white)": "#b8bec8", **colour})] if chosen else []
    for name in chosen:
        numbers = ", ".join(f"{label} {comparison.entries[label].numbers[name][comparison.main]:.3f}"
                            for label in comparison.ranked)  # fmt: skip
        sequence = sequences[name]
        overlap = failure_cases.overlaps(comparison, sequence, colour)
        frames = failure_cases.key_frames(comparison, sequence, against, overlap, colour)
        overlap = plots.as_png(plots.overlap_plot, overlap, colour)
        parts.append(f"<h3>{html.escape(name)}</h3>{html.note(f'{comparison.columns[comparison.main]}: {numbers}')}")
        parts.append(html.figures(frames, "four") + html.picture(overlap, "png", f"overlap over the frames of {name}"))
    return html.section(f"Where {against} does worst", *parts) if parts else ""


def every_sequence(comparison):
    """The section with every tracker's number on every sequence."""
    labels = comparison.ranked
    values = np.stack([comparison.values(label) for label in labels], 1)
    frames = {s.name: len(s) for s in comparison.benchmark}
    rows = [
        [name, str(frames[name]), *(html.number(v, best=v == np.fmax.reduce(row)) for v in row)]
        for name, row in zip(comparison.names, values, strict=True)
    ]
    table = html.table(["sequence", "frames", *labels], rows, sortable=True, tall=True)
    measure = comparison.columns[comparison.main]
    return html.section("Every sequence", html.folded(f"{measure} of each of the {len(rows)} sequences", table))


def colours(comparison):
    """Label -> colour, the one that its curves have."""
    return {label: plots.COLOURS[k % len(plots.COLOURS)] for k, label in enumerate(comparison.entries)}


def rival(comparison, against):
    """The best of the other trackers; None where there is no other."""
    return next((label for label in comparison.ranked if label != against), None)
