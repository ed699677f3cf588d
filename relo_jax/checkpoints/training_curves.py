"""The curves of a run: what it logged, over the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context

from relo_jax.checkpoints.run_directory import read_metrics
from relo_jax.media.figures import COLOURS, STYLE, Figure, Target, save

# Title of a panel -> metric -> its name; metrics that a run did not log are left out. The loss of a policy gradient is
# not shown, since it does not tell how well the policy does.
_WARMUP_PANELS = {"loss": {"loss": "loss"}, "IoU": {"iou": "at the taught cell", "argmax_iou": "at the peak"}}
_RL_PANELS = {
    "reward": {"reward": "reward"},
    "IoU": {"iou": "sampled", "greedy_iou": "greedy"},
    "AUC of a clip": {"auc": "sampled", "greedy_auc": "greedy"},
    "entropy of the policy (nats)": {"entropy": "entropy"},
    "loss of the value": {"value_loss": "value"},
    "explained variance of the value": {"explained_variance": "value"},
}
_COLUMNS = 3
_PANEL = (3.4, 2.7)  # inches


def training_curves(target: Target, stages: Mapping[str, Path | str]) -> Figure:
    """`draw_curves` of run directories: label -> run directory with a metrics file."""
    splits = ("train", "eval")
    return draw_curves(
        target, {k: [row for s in splits for row in read_metrics(path, s)] for k, path in stages.items()}
    )


def draw_curves(target: Target, stages: Mapping[str, Sequence[dict]]) -> Figure:
    """Rows of panels for each stage of training: logged values thin, their running mean bold, held-out values dotted.

    Args:
      target: file to write (.png, .svg, .pdf), several files of one picture, a binary file object for a PNG, or None.
      stages: label -> rows of a metrics file.

    Raises:
      UserError: cannot be written.
    """
    runs = {k: [[row for row in rows if row["split"] == s] for s in ("train", "eval")] for k, rows in stages.items()}
    panels = {label: _panels(rows) for label, rows in runs.items()}
    rows = [max(1, math.ceil(len(chosen) / _COLUMNS)) for chosen in panels.values()]
    with rc_context(STYLE):
        figure = Figure(figsize=(_PANEL[0] * _COLUMNS, _PANEL[1] * sum(rows)), dpi=150, layout="constrained")
        parts = figure.subfigures(len(runs), 1, height_ratios=rows, squeeze=False)[:, 0]
        for part, count, (label, (train, held_out)) in zip(parts, rows, runs.items(), strict=True):
            part.suptitle(label, fontweight="bold", x=0.01, ha="left")
            for axes in part.subplots(count, _COLUMNS, squeeze=False).ravel()[len(panels[label]) :]:
                axes.remove()
            for axes, (title, names) in zip(part.axes, panels[label].items(), strict=True):
                _training_panel(_titled(axes, title), names, train, held_out)
        return save(figure, target)


def panels(run: Path | str) -> list[Figure]:
    """The panels of a run directory's `training_curves`, a figure each, for pages that arrange them by their width."""
    train, held_out = rows = [read_metrics(run, split) for split in ("train", "eval")]
    figures = []
    with rc_context(STYLE):
        for title, names in _panels(rows).items():
            figures.append(Figure(figsize=_PANEL, dpi=150, layout="constrained"))
            _training_panel(_titled(figures[-1].subplots(), title), names, train, held_out)
    return figures


def _titled(axes, title):
    axes.set_title(title, fontweight="normal")
    axes.set_xlabel("step")
    return axes


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
            marker = "o" if len(points) == 1 else None  # which is no line yet
            axes.plot(*points.T, color=colour, alpha=0.25, linewidth=0.8)
            axes.plot(points[:, 0], smooth, color=colour, linewidth=2, marker=marker, label=label)
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
