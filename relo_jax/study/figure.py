"""The learning curves of a study: held-out AUC by search frames seen, one colour an arm."""

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from relo_jax.eval.report.plots import COLOURS, STYLE, save

CURVES_FILE = "curves.png"


def write_curves(path, curves):
    """The mean over the seeds as a line, in a band from the worst seed to the best.

    Frames through the encoder are what all arms pay in; an arm whose last stage came after another begins later.

    Args:
      path: file to write.
      curves: arm -> a list a seed of (step, frames, AUC); what only some seeds of an arm were looked at is left out.

    Raises:
      UserError: cannot be written.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), dpi=150, layout="constrained")
        axes = figure.subplots()
        for (arm, seeds), colour in zip(curves.items(), COLOURS, strict=False):
            by_frames = [{frames: auc for _, frames, auc in curve} for curve in seeds]
            looks = sorted(set.intersection(*map(set, by_frames)))
            auc = np.array([[curve[frames] for frames in looks] for curve in by_frames])  # [S, looks]
            thousands = np.array(looks) / 1000
            axes.fill_between(thousands, auc.min(0), auc.max(0), color=colour, alpha=0.15, linewidth=0)
            axes.plot(thousands, auc.mean(0), color=colour, linewidth=2, label=arm)
        count = len(seeds)
        shown = f"mean of {count} seeds, in a band from worst to best" if count > 1 else "one seed"
        axes.set(xlabel="search frames through the encoder (thousands)", ylabel="AUC on held-out clips", title=shown)
        axes.legend()
        save(figure, path)
