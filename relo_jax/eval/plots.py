"""Pictures of numbers: success and precision curves of several trackers, and how a training went.

Colours are Okabe and Ito's, which colour-blind readers tell apart, and lines differ in dashes too; the legend gives
each tracker's number, best first. PNG, drawn without a display.
"""

import io
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from relo_jax.eval import metrics
from relo_jax.files import whole_file
from relo_jax.train.log import read_metrics

SUCCESS_FILE, PRECISION_FILE = FILES = ("success.png", "precision.png")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)))
_STYLE = {
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
}
# Title of a panel, and the metrics that it shows where a run logged them.
_PANELS = (
    ("loss", ("loss",)),
    ("IoU", ("iou", "greedy_iou", "argmax_iou")),
    ("AUC of a clip", ("auc", "greedy_auc")),
    ("reward", ("reward",)),
    ("entropy of the policy (nats)", ("entropy",)),
    ("explained variance of the value", ("explained_variance",)),
)
_NAMES = {"iou": "training", "auc": "sampled", "greedy_iou": "greedy", "greedy_auc": "greedy", "argmax_iou": "peak"}


def success_plot(target, trackers):
    """Success over the overlap threshold, AUC in the legend.

    Args:
      target: file to write, or a binary file object.
      trackers: dict of label -> `metrics.Curves`.

    Raises:
      UserError: cannot be written.
    """
    with rc_context(_STYLE):
        figure, axes = _figure("Success", "overlap threshold (IoU)", "share of frames above it")
        lines = {label: (c.auc, metrics.SUCCESS_THRESHOLDS, c.success) for label, c in trackers.items()}
        _curves(axes, lines, "AUC")
        axes.set_xlim(0, 1)
        _save(figure, target)


def precision_plot(target, trackers):
    """Precision over the distance between the centres, that at 20 px in the legend; arguments as in `success_plot`."""
    with rc_context(_STYLE):
        figure, axes = _figure("Precision", "distance between the centres (pixels)", "share of frames within it")
        axes.axvline(20, color="#999999", linewidth=1)
        lines = {label: (c.p20, metrics.PRECISION_THRESHOLDS, c.precision) for label, c in trackers.items()}
        _curves(axes, lines, "P20")
        axes.set_xlim(0, 50)
        _save(figure, target)


def training_curves(target, stages):
    """How training went: a row of panels a stage, every logged value thin, their running mean bold, held-out dotted.

    Args:
      target: as in `success_plot`.
      stages: dict of label -> run directory with a metrics file.

    Raises:
      UserError: cannot be written.
    """
    runs = {label: [read_metrics(path, split) for split in ("train", "eval")] for label, path in stages.items()}
    panels = {label: _panels(rows) for label, rows in runs.items()}
    columns = max([1, *map(len, panels.values())])
    with rc_context(_STYLE):
        figure = Figure(figsize=(3.3 * columns, 2.75 * len(runs)), dpi=150, layout="constrained")
        parts = np.atleast_1d(figure.subfigures(len(runs), 1))
        for part, (label, (train, held_out)) in zip(parts, runs.items(), strict=True):
            part.suptitle(label, fontweight="bold", x=0.01, ha="left")
            for axes in part.subplots(1, columns, squeeze=False)[0, len(panels[label]) :]:
                axes.remove()
            for axes, (title, names) in zip(part.axes, panels[label], strict=True):
                axes.set_title(title, fontweight="normal")
                axes.set_xlabel("step")
                _training_panel(axes, names, train, held_out)
        _save(figure, target)


def as_png(draw, *args):
    """What a function of this module draws, as bytes."""
    buffer = io.BytesIO()
    draw(buffer, *args)
    return buffer.getvalue()


def _figure(title, x, y):
    figure = Figure(figsize=(5.4, 4.1), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y, ylim=(0, 1))
    return figure, axes


def _curves(axes, lines, measure):
    """Lines of (number, x, y) by label. A tracker keeps its colour whatever its rank; the legend is ranked."""
    for k, (label, (number, x, y)) in enumerate(lines.items()):
        style = {"color": COLOURS[k % len(COLOURS)], "linestyle": _DASHES[k % len(_DASHES)], "linewidth": 2.2}
        axes.plot(x, y, label=f"{label}  {number:.3f}", **style, zorder=3 + number)
    handles = sorted(axes.get_legend_handles_labels()[0], key=lambda line: -line.get_zorder())
    axes.legend(handles=handles, title=measure, alignment="left", handlelength=2.6)


def _panels(rows):
    logged = {name for split in rows for row in split for name in row}
    chosen = ((title, [name for name in names if name in logged]) for title, names in _PANELS)
    return [(title, names) for title, names in chosen if names]


def _training_panel(axes, names, train, held_out):
    lowest = np.inf
    for name, colour in zip(names, COLOURS, strict=False):
        for rows, is_held_out in ((train, False), (held_out, True)):
            points = np.array([(r["step"], r[name]) for r in rows if r.get(name) is not None], float).reshape(-1, 2)
            points = points[np.isfinite(points).all(1)]
            if not len(points):
                continue
            label = _NAMES.get(name, "")
            if is_held_out:
                axes.plot(*points.T, "o:", color=colour, markersize=3.5, label=f"{label} held-out".strip(), zorder=4)
                continue
            smooth = _running_mean(points[:, 1])
            lowest = min(lowest, smooth.min())
            axes.plot(*points.T, color=colour, alpha=0.25, linewidth=0.8)
            axes.plot(points[:, 0], smooth, color=colour, linewidth=2, label=label)
    if names == ["explained_variance"] and lowest < -1:
        axes.set_ylim(-1, 1)  # of a value head that knows nothing yet it is anything below 0
    if len(axes.get_legend_handles_labels()[0]) > 1:
        axes.legend(fontsize=8)


def _running_mean(values):
    """Mean over a window of a twentieth of the curve, shorter at both ends."""
    half = max(1, len(values) // 40)
    total = np.concatenate([[0], np.cumsum(values)])
    low, high = np.arange(len(values)) - half, np.arange(len(values)) + half + 1
    low, high = np.clip(low, 0, len(values)), np.clip(high, 0, len(values))
    return (total[high] - total[low]) / (high - low)


def _save(figure, target):
    if not isinstance(target, str | Path):
        figure.savefig(target, format="png")
        return
    with whole_file(target) as file:
        figure.savefig(file, format="png")
