"""Plots: success and precision curves of several trackers, their differences, and training curves.

The colours are Okabe and Ito's, which colour-blind readers can tell apart, and the dashes differ too. The legend gives
each tracker's number, the best first. PNG, SVG or PDF; no display is needed.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from relo_jax.checkpoints.run_directory import read_metrics
from relo_jax.eval import calibration, metrics
from relo_jax.files import atomic_write

SUCCESS_FILE, PRECISION_FILE = FILES = ("success.png", "precision.png")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)))
STYLE: Any = {  # of matplotlib's rc parameters
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "svg.hashsalt": "relo_jax",
    "text.parse_math": False,  # a tracker's name may contain $
}
_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # the same picture is the same file
# Title of a panel -> metric -> its name; metrics that a run did not log are left out. The loss of a policy gradient is
# not shown, since it does not tell how well the policy does.
_WARMUP_PANELS = {"loss": {"loss": "loss"}, "IoU": {"iou": "at the taught cell", "argmax_iou": "at the peak"}}
_RL_PANELS = {
    "reward": {"reward": "reward"},
    "IoU": {"iou": "sampled", "greedy_iou": "greedy"},
    "AUC of a clip": {"auc": "sampled", "greedy_auc": "greedy"},
    "entropy of the policy (nats)": {"entropy": "entropy"},
    "explained variance of the value": {"explained_variance": "value"},
}
_COLUMNS = 3
_LONGEST = 30  # characters of a name in a legend

Target = str | Path | Sequence[str | Path] | BinaryIO


def success_plot(target: Target, trackers: Mapping[str, metrics.Curves], boxes: str = "") -> None:
    """Success over the overlap threshold, with the AUC in the legend.

    Args:
      target: file to write (.png, .svg, .pdf), several files of one picture, or a binary file object for a PNG.
      trackers: label -> mean curves.
      boxes: what was measured, such as "float boxes", for the legend's title.

    Raises:
      UserError: cannot be written.
    """
    with rc_context(STYLE):
        figure, axes = _figure("Success", "overlap threshold (IoU)", "share of frames above it", len(trackers))
        lines = {label: (c.auc, metrics.SUCCESS_THRESHOLDS, c.success) for label, c in trackers.items()}
        _curves(axes, lines, "AUC", boxes)
        axes.set_xlim(0, 1)
        save(figure, target)


def precision_plot(target: Target, trackers: Mapping[str, metrics.Curves], boxes: str = "") -> None:
    """Precision over the distance between the centres, with P20 in the legend; arguments as in `success_plot`."""
    with rc_context(STYLE):
        title, x = "Precision", "distance between the centres (pixels)"
        figure, axes = _figure(title, x, "share of frames within it", len(trackers))
        axes.axvline(20, color="#999999", linewidth=1)
        lines = {label: (c.p20, metrics.PRECISION_THRESHOLDS, c.precision) for label, c in trackers.items()}
        _curves(axes, lines, "P20", boxes)
        axes.set_xlim(0, 50)
        save(figure, target)


def norm_precision_plot(target: Target, trackers: Mapping[str, metrics.Curves], boxes: str = "") -> None:
    """Precision over the distance relative to the target's size, with NP20 in the legend; as `success_plot`."""
    with rc_context(STYLE):
        title, x = "Normalised precision", "distance between the centres (of the target's size)"
        figure, axes = _figure(title, x, "share of frames within it", len(trackers))
        axes.axvline(0.2, color="#999999", linewidth=1)
        lines = {label: (c.np20, metrics.NORM_PRECISION_THRESHOLDS, c.norm_precision) for label, c in trackers.items()}
        _curves(axes, lines, "NP20", boxes)
        axes.set_xlim(0, 0.5)
        save(figure, target)


def differences_plot(
    target: Target, names: tuple[str, str], differences: np.ndarray, measure: str, colours: Sequence[str]
) -> None:
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
        figure = Figure(figsize=(8.6, 3.2), dpi=150, layout="constrained")
        axes = figure.subplots()
        bars = [colours[0] if d > 0 else colours[1] for d in ordered]
        axes.bar(np.arange(len(ordered)), ordered, color=bars, width=min(0.8, 0.3 + len(ordered) / 60))
        axes.axhline(0, color="#666666", linewidth=0.8)
        limit = max(0.05, 1.1 * np.abs(ordered).max(initial=0))
        axes.set(ylabel=f"difference in {measure}", xlabel="sequences, sorted", ylim=(-limit, limit), xticks=[])
        axes.grid(axis="x", visible=False)
        style: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 9, "fontweight": "bold"}
        axes.text(0.99, 0.94, f"{_fitting(names[0])} better: {np.count_nonzero(ordered > 0)}", ha="right", va="top",
                  color=colours[0], **style)  # fmt: skip
        axes.text(
            0.01, 0.06, f"{_fitting(names[1])} better: {np.count_nonzero(ordered < 0)}", color=colours[1], **style
        )
        save(figure, target)


def overlap_plot(target: Target, overlaps: Mapping[str, np.ndarray], colours: Mapping[str, str]) -> None:
    """Overlap with the truth over the frames of one sequence.

    Args:
      target: as in `success_plot`.
      overlaps: label -> [F], NaN where there is no target.
      colours: label -> colour.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(8.6, 1.7), dpi=110, layout="constrained")
        axes = figure.subplots()
        for label, values in overlaps.items():
            axes.plot(values, color=colours[label], linewidth=1.3, alpha=0.9)
        axes.set(ylim=(-0.03, 1.03), ylabel="IoU", xlabel="frame", xlim=(0, max(1, len(values) - 1)))
        save(figure, target)


def reliability_plot(target: Target, trackers: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
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
            axes.plot(means, hits, "o-", label=f"{label}  {error:.3f}", markersize=5, linewidth=2, **style)
            counts.stairs(np.histogram(scores, edges)[0] / max(1, len(scores)), edges, linewidth=1.8, **style)
        axes.set(title="Reliability", ylabel="share of frames right", xlim=(0, 1), ylim=(0, 1.02))
        counts.set(xlabel="score", ylabel="frames", xlim=(0, 1))
        figure.legend(*axes.get_legend_handles_labels(), title="expected calibration error",
                      loc="outside lower center", alignment="left")  # fmt: skip
        save(figure, target)


def training_curves(target: Target, stages: Mapping[str, Path | str]) -> None:
    """Rows of panels for each stage of training: logged values thin, their running mean bold, held-out values dotted.

    Args:
      target: as in `success_plot`.
      stages: label -> run directory with a metrics file.

    Raises:
      UserError: cannot be written.
    """
    runs = {label: [read_metrics(path, split) for split in ("train", "eval")] for label, path in stages.items()}
    panels = {label: _panels(rows) for label, rows in runs.items()}
    rows = [max(1, math.ceil(len(chosen) / _COLUMNS)) for chosen in panels.values()]
    with rc_context(STYLE):
        figure = Figure(figsize=(3.4 * _COLUMNS, 2.7 * sum(rows)), dpi=150, layout="constrained")
        parts = figure.subfigures(len(runs), 1, height_ratios=rows, squeeze=False)[:, 0]
        for part, count, (label, (train, held_out)) in zip(parts, rows, runs.items(), strict=True):
            part.suptitle(label, fontweight="bold", x=0.01, ha="left")
            for axes in part.subplots(count, _COLUMNS, squeeze=False).ravel()[len(panels[label]) :]:
                axes.remove()
            for axes, (title, names) in zip(part.axes, panels[label].items(), strict=True):
                axes.set_title(title, fontweight="normal")
                axes.set_xlabel("step")
                _training_panel(axes, names, train, held_out)
        save(figure, target)


def as_png(draw: Callable, *args: object) -> bytes:
    """The picture that a function of this module draws, as a PNG."""
    buffer = io.BytesIO()
    draw(buffer, *args)
    return buffer.getvalue()


def in_every_format(stem: Path | str, draw: Callable, *args: object) -> bytes:
    """Writes the picture of a function as `<stem>.svg`, `.pdf` and `.png`; returns the bytes of the SVG."""
    files = [Path(f"{stem}.{kind}") for kind in ("svg", "pdf", "png")]
    draw(files, *args)
    return files[0].read_bytes()


def _figure(title, x, y, lines):
    """A figure and its axes, with room for a legend of `lines` lines."""
    figure = Figure(figsize=(4.4, 3.7 + 0.2 * lines), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y, ylim=(0, 1.02))
    return figure, axes


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
    label = label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}\u2026"
    return f" {label}" if label.startswith("_") else label


def _panels(rows):
    """Title -> metric -> its name, for the metrics in the rows."""
    logged = {name for split in rows for row in split for name in row}
    known = _RL_PANELS if "reward" in logged else _WARMUP_PANELS
    chosen = {title: {key: name for key, name in names.items() if key in logged} for title, names in known.items()}
    return {title: names for title, names in chosen.items() if names}


def _training_panel(axes, names, train, held_out):
    lowest = np.inf
    for (name, label), colour in zip(names.items(), COLOURS, strict=False):
        for rows, is_held_out in ((train, False), (held_out, True)):
            points = np.array([(r["step"], r[name]) for r in rows if r.get(name) is not None], float).reshape(-1, 2)
            points = points[np.isfinite(points).all(1)]
            if not len(points):
                continue
            if is_held_out:
                axes.plot(*points.T, "o:", color=colour, markersize=3.5, label=f"{label}, held-out", zorder=4)
                continue
            smooth = _running_mean(points[:, 1])
            lowest = min(lowest, smooth.min())
            axes.plot(*points.T, color=colour, alpha=0.25, linewidth=0.8)
            axes.plot(points[:, 0], smooth, color=colour, linewidth=2, label=label)
    if "explained_variance" in names and lowest < -1:
        axes.set_ylim(-1, 1)  # an untrained value head gives arbitrarily low values
    if len(axes.get_legend_handles_labels()[0]) > 1:
        axes.legend(fontsize=8)


def _running_mean(values):
    """The mean over a window of a twentieth of the curve, shorter at both ends."""
    half = max(1, len(values) // 40)
    total = np.concatenate([[0], np.cumsum(values)])
    low, high = np.arange(len(values)) - half, np.arange(len(values)) + half + 1
    low, high = np.clip(low, 0, len(values)), np.clip(high, 0, len(values))
    return (total[high] - total[low]) / (high - low)


def save(figure: Figure, target: Target) -> None:
    """Writes a figure to a file in the format of its suffix, to each of several files, or as PNG to a file object."""
    if isinstance(target, list | tuple):
        for one in target:
            save(figure, one)
        return
    with warnings.catch_warnings():
        # Names in a script that the font lacks show as boxes here; the tables have them right.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        if not isinstance(target, str | Path):
            figure.savefig(cast(BinaryIO, target), format="png")
            return
        with atomic_write(target) as file:
            kind = Path(target).suffix[1:]
            figure.savefig(file, format=kind, metadata=_UNDATED.get(kind))
