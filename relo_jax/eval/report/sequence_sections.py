"""The sections of a page about single sequences: two trackers on each, where one does worst, and all numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from relo_jax.data.sequence import Sequence
from relo_jax.eval.report import failure_cases, html, plots
from relo_jax.eval.report.comparison import Comparison
from relo_jax.media import figures

_DRAWN = 5  # trackers whose boxes are drawn into one frame


def two_trackers(out: Path, comparison: Comparison, against: str) -> str:
    """The section on `against` and the best of the others: bars, a table, and folded away the bars for the remaining
    trackers; "" if there is no other. Writes `differences*.svg`, `.pdf` and `.png` into `out`."""
    others = [label for label in comparison.ranked if label != against]
    if not others:
        return ""
    rival, *others = others
    first, second = comparison.values(against), comparison.values(rival)
    picture = _difference_plot(out, "differences", comparison, against, rival)
    widest = np.fmax.reduce(np.abs(first - second), initial=0.01)
    rows = [
        [comparison.names[k], str(comparison.frames[comparison.names[k]]), html.number(first[k]),
         html.number(second[k]), html.number(first[k] - second[k], sign=True), _span(first[k] - second[k], widest)]
        for k in np.argsort(-(first - second), kind="stable")
    ]  # fmt: skip
    table = html.table(["sequence", "frames", against, rival, "difference", ""], rows, sortable=True, tall=True)
    more = "".join(
        html.folded(f"{against} and {label}", _difference_plot(out, f"differences-{k + 2}", comparison, against, label))
        for k, label in enumerate(others)
    )
    text = f"{comparison.heading} of each sequence; a bar to the right of the middle favours {against}."
    return html.section(f"{against} and {rival}, sequence by sequence", picture, table, html.note(text), more)


def _difference_plot(out: Path, stem: str, comparison: Comparison, first: str, second: str) -> str:
    differences = comparison.values(first) - comparison.values(second)
    pair = [colours(comparison)[label] for label in (first, second)]
    known = differences[np.isfinite(differences)]
    data = figures.in_every_format(out / stem, plots.differences_plot, (first, second), known, comparison.heading, pair)
    return html.plot(data, f"differences between {first} and {second}")


def _span(difference: float, widest: float) -> html.Cell:
    if np.isnan(difference):
        return html.cell("")
    width = 50 * abs(difference) / widest
    left = 50 if difference > 0 else 50 - width
    return html.Cell(
        f'<td class="wide" data-value="{difference:.9g}"><div class="span"><s></s>'
        f'<i style="left:{left:.1f}%;width:{width:.1f}%"></i></div></td>'
    )


def worst(comparison: Comparison, against: str, count: int, looks: failure_cases.Looks | None = None) -> str:
    """The section with frames of the `count` sequences on which `against` does worst; `looks`: see `frames_of`."""
    sequences, parts = {s.name: s for s in comparison.benchmark}, [colour_key(comparison, against)]
    for name in failure_cases.hardest(comparison, against, count):
        numbers = ", ".join(f"{label} {comparison.entries[label].numbers[name][comparison.main]:.3f}"
                            for label in comparison.ranked)  # fmt: skip
        parts.append(f"<h3>{html.escape(name)}</h3>{html.note(f'{comparison.heading}: {numbers}')}")
        parts.append(frames_of(comparison, sequences[name], against, looks))
    return html.section(f"Where {against} does worst", *parts) if len(parts) > 1 else ""


def frames_of(comparison: Comparison, sequence: Sequence, label: str, looks: failure_cases.Looks | None = None) -> str:
    """Frames of a sequence with the boxes of up to five trackers, and their overlap over all frames.

    Args:
      comparison: the trackers.
      sequence: one of the compared sequences.
      label: the tracker whose loss decides which frames.
      looks: the policy of this tracker, drawn under the boxes; see `failure_cases.key_frames`.
    """
    colour = _drawn(comparison, label)
    overlap = failure_cases.overlaps(comparison, sequence, colour)
    shots = failure_cases.key_frames(comparison, sequence, label, overlap, colour, looks=looks)
    curve = figures.as_svg(plots.overlap_plot(None, overlap, colour))
    return html.frames(shots, "four") + html.plot(curve, f"overlap over the frames of {sequence.name}")


def colour_key(comparison: Comparison, label: str) -> str:
    """The colours of the boxes in `frames_of`."""
    return html.keys({"ground truth (white)": "#b8bec8", **_drawn(comparison, label)})


def every_sequence(comparison: Comparison) -> str:
    """The section with every tracker's number on every sequence."""
    labels = comparison.ranked
    values = np.stack([comparison.values(label) for label in labels], 1)
    rows = [
        [name, str(comparison.frames[name]), *(html.number(v, best=v == np.fmax.reduce(row)) for v in row)]
        for name, row in zip(comparison.names, values, strict=True)
    ]
    table = html.table(["sequence", "frames", *labels], rows, sortable=True, tall=True)
    title = f"{comparison.heading} of each of the {len(rows)} sequences"
    return html.section("Every sequence", html.folded(title, table))


def colours(comparison: Comparison) -> dict[str, str]:
    """Label -> colour, the same as in the curves."""
    return {label: figures.COLOURS[k % len(figures.COLOURS)] for k, label in enumerate(comparison.entries)}


def _drawn(comparison: Comparison, label: str) -> dict[str, str]:
    """The trackers whose boxes are drawn, `label` and the best of the others, and their colours."""
    drawn = [label, *(other for other in comparison.ranked if other != label)][:_DRAWN]
    return {other: colour for other, colour in colours(comparison).items() if other in drawn}
