"""The learning curves of a study: held-out AUC over search frames, one colour for each arm."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context

from relo_jax.media.figures import COLOURS, STYLE, Figure, save

CURVES_FILE = "curves.png"


def write_curves(path: Path | None, curves: dict[str, list[list[tuple[int, int, float]]]]) -> Figure:
    """Draws the mean over the seeds as a line, in a band from the worst seed to the best.

    The x axis counts the frames through the encoder, the cost that all arms share; the curve of an arm's second stage
    begins where the first stage ended.

    Args:
      path: file to write, or None.
      curves: arm -> for each seed a list of (step, frames, AUC). Points that not all seeds of an arm have are left out.

    Raises:
      UserError: cannot be written.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), dpi=150, layout="constrained")
        axes = figure.subplots()
        for (arm, seeds), colour in zip(curves.items(), COLOURS, strict=False):
            by_frames = [{frames: auc for _, frames, auc in curve} for curve in seeds]
            evaluated = sorted(set.intersection(*map(set, by_frames)))
            auc = np.array([[curve[frames] for frames in evaluated] for curve in by_frames])  # [S, evaluated]
            thousands = np.array(evaluated) / 1000
            axes.fill_between(thousands, auc.min(0), auc.max(0), color=colour, alpha=0.15, linewidth=0)
            axes.plot(thousands, auc.mean(0), color=colour, linewidth=2, label=arm)
        count = len(seeds)
        title = f"mean of {count} seeds, in a band from worst to best" if count > 1 else "one seed"
        axes.set(xlabel="search frames through the encoder (thousands)", ylabel="AUC on held-out clips", title=title)
        axes.legend()
        return save(figure, path)
