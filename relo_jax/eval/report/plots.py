"""Plots: success and precision curves of several trackers, their differences, and how reliable their scores are.

Trackers differ in colour and in dashes. The legend gives each tracker's number, the best first. Every plot is written
as PNG, SVG or PDF and returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context

from relo_jax import tables
from relo_jax.eval import calibration, metrics
from relo_jax.media.figures import COLOURS, STYLE, Figure, Target, save

SUCCESS_FILE, PRECISION_FILE = FILES = ("success.png", "precision.png")
_DASHES = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)))
_LONGEST = 30  # characters of a name in a legend


def success_plot(target: Target, trackers: Mapping[str, metrics.Curves], boxes: str = "") -> Figure:
    """Success over the overlap threshold, with the AUC in the legend.

    Args:
      target: file to write (.png, .svg, .pdf), several files of one picture, a binary file object for a PNG, or None.
      trackers: label -> mean curves.
      boxes: what was measured, such as "float boxes", for the legend's title.

    Raises:
      UserError: cannot be written.
    """
    with rc_context(STYLE):
        figure = _figure(len(trackers))
        _success(figure, trackers, boxes)
        return save(figure, target)


def success_and_precision_plot(target: Target, trackers: Mapping[str, metrics.Curves], boxes: str = "") -> Figure:
    """`success_plot` and `precision_plot` side by side; arguments as in `success_plot`."""
    with rc_context(STYLE):
        figure = _figure(len(trackers), columns=2)
        for part, draw in zip(figure.subfigures(1, 2), (_success, _precision), strict=True):
            draw(part, trackers, boxes)
        return save(figure, target)


def precision_plot(target: Target, trackers: Mapping[str, metrics.Curves], boxes: str = "") -> Figure:
    """Precision over the distance between the centres, with P20 in the legend; arguments as in `success_plot`."""
    with rc_context(STYLE):
        figure = _figure(len(trackers))
        _precision(figure, trackers, boxes)
        return save(figure, target)


def norm_precision_plot(target: Target, trackers: Mapping[str, metrics.Curves], boxes: str = "") -> Figure:
    """Precision over the distance relative to the target's size, with NP20 in the legend; as `success_plot`."""
    with rc_context(STYLE):
        title, x = "Normalised precision", "distance between the centres (of the target's size)"
        figure = _figure(len(trackers))
        axes = _axes(figure, title, x, "share of frames within it")
        axes.axvline(0.2, color="#999999", linewidth=1)
        lines = {label: (c.np20, metrics.NORM_PRECISION_THRESHOLDS, c.norm_precision) for label, c in trackers.items()}
        _curves(axes, lines, "NP20", boxes)
        axes.set_xlim(0, 0.5)
        return save(figure, target)


def differences_plot(
    target: Target, names: tuple[str, str], differences: np.ndarray, measure: str, colours: Sequence[str]
) -> Figure:
    """Two trackers on every sequence: sorted bars of how much better the first is.

    Args:
      target: as in `success_plot`.
      names: of the two trackers.
      differences: [N], first minus second.
      measure: heading of the number that was subtracted.
      colours: of the two trackers.
    """
    ordered = np.sort(np.asarray(differences))[::-1]
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 2.7), dpi=150, layout="constrained")
        axes = figure.subplots()
        bars = [colours[0] if d > 0 else colours[1] for d in ordered]
        axes.bar(np.arange(len(ordered)), ordered, color=bars, width=min(0.8, 0.3 + len(ordered) / 60))
        axes.axhline(0, color="#666666", linewidth=0.8)
        limit = max(0.05, 1.1 * np.abs(ordered).max(initial=0))
        axes.set(ylabel=f"difference in {measure}", xlabel="sequences, sorted", ylim=(-limit, limit), xticks=[])
        axes.grid(axis="x", visible=False)
        style: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 9, "fontweight": "bold"}
        axes.text(0.99, 0.94, f"{_fitting(names[0])} higher: {np.count_nonzero(ordered > 0)}", ha="right", va="top",
                  color=colours[0], **style)  # fmt: skip
        axes.text(
            0.01, 0.06, f"{_fitting(names[1])} higher: {np.count_nonzero(ordered < 0)}", color=colours[1], **style
        )
        return save(figure, target)


def overlap_plot(target: Target, overlaps: Mapping[str, np.ndarray], colours: Mapping[str, str]) -> Figure:
    """Overlap with the truth over the frames of one sequence.

    Args:
      target: as in `success_plot`.
      overlaps: label -> [F], NaN where there is no target.
      colours: label -> colour.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1.7), dpi=110, layout="constrained")
        axes = figure.subplots()
        for label, values in overlaps.items():
            axes.plot(values, color=colours[label], linewidth=1.3, alpha=0.9)
        axes.set(ylim=(-0.03, 1.03), ylabel="IoU", xlabel="frame", xlim=(0, max(1, len(values) - 1)))
        return save(figure, target)


def reliability_plot(target: Target, trackers: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """The reliability diagram: the share of right frames over the score, and below it a histogram of the scores.

    Args:
      target: as in `success_plot`.
      trackers: label -> (scores [N] in [0, 1], right, bool [N]).
    """
    edges = np.linspace(0, 1, calibration.BINS + 1)
    with rc_context(STYLE):
        figure = Figure(figsize=(5.4, 5.6), dpi=150, layout="constrained")
        axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, zorder=2)
        for k, (label, (scores, right)) in enumerate(trackers.items()):
            _, means, hits = np.array(calibration.filled_bins(scores, right)).reshape(-1, 3).T
            style = {"color": COLOURS[k % len(COLOURS)], "zorder": 3 + k}
            error = calibration.expected_calibration_error(scores, right)
            axes.plot(means, hits, "o-", label=f"{_fitting(label)}  {error:.3f}", markersize=5, linewidth=2, **style)
            counts.stairs(np.histogram(scores, edges)[0] / max(1, len(scores)), edges, linewidth=1.8, **style)
        axes.set(title="Reliability", ylabel="share of frames right", xlim=(0, 1), ylim=(0, 1.02))
        counts.set(xlabel="score", ylabel="frames", xlim=(0, 1))
        figure.legend(*axes.get_legend_handles_labels(), title="expected calibration error",
                      loc="outside lower center", alignment="left")  # fmt: skip
        return save(figure, target)


def _figure(lines, columns=1):
    """A figure of plots side by side, with room for legends of `lines` lines."""
    return Figure(figsize=(4.4 * columns, 3.7 + 0.2 * lines), dpi=150, layout="constrained")


def _axes(figure, title, x, y):
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y, ylim=(0, 1.02))
    return axes


def _success(figure, trackers, boxes):
    axes = _axes(figure, "Success", "overlap threshold (IoU)", "share of frames above it")
    lines = {label: (c.auc, metrics.SUCCESS_THRESHOLDS, c.success) for label, c in trackers.items()}
    _curves(axes, lines, "AUC", boxes)
    axes.set_xlim(0, 1)


def _precision(figure, trackers, boxes):
    axes = _axes(figure, "Precision", "distance between the centres (pixels)", "share of frames within it")
    axes.axvline(20, color="#999999", linewidth=1)
    lines = {label: (c.p20, metrics.PRECISION_THRESHOLDS, c.precision) for label, c in trackers.items()}
    _curves(axes, lines, "P20", boxes)
    axes.set_xlim(0, 50)


def _curves(axes, lines, measure, boxes):
    """Draws lines, label -> (number, x, y). Colours follow the order of the trackers, the legend their rank."""
    for k, (label, (number, x, y)) in enumerate(lines.items()):
        style = {"color": COLOURS[k % len(COLOURS)], "linestyle": _DASHES[k % len(_DASHES)], "linewidth": 2.2}
        axes.plot(x, y, label=f"{_fitting(label)}  {number:.3f}", **style, zorder=3 + number)
    handles = sorted(axes.get_legend_handles_labels()[0], key=lambda line: -line.get_zorder())
    # Below the axes it covers no curve.
    title = f"{measure} of {boxes}" if boxes else measure
    axes.figure.legend(handles=handles, title=title, loc="outside lower center", alignment="left", handlelength=2.6)


def _fitting(label):
    """A name short enough for a legend, with a blank before _: Matplotlib leaves out names that begin with it."""
    label = tables.printable(label, _LONGEST).replace("$", r"\$")  # which begins a formula
    return f" {label}" if label.startswith("_") else label
