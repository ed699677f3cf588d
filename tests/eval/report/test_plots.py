"""Plots show the measured numbers."""

import io

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from relo_jax.errors import UserError
from relo_jax.eval.metrics import Curves
from relo_jax.eval.report import plots


def curves(level):
    return Curves(
        np.clip(level + 0.4 - plots.metrics.SUCCESS_THRESHOLDS, 0, 1),
        np.clip(level * np.arange(51) / 40, 0, 1),
        np.clip(level * np.arange(51) / 30, 0, 1),
        level,
    )


TRACKERS = {"before RL": curves(0.2), "after <RL>": curves(0.7), "never moves": curves(0.1)}


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is saved."""
    saved, savefig = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: saved.append(self) or savefig(self, *a, **k))
    return saved


def test_curves_are_drawn_as_measured_and_ranked(figures, tmp_path):
    plots.success_plot(tmp_path / "success.png", TRACKERS)
    plots.precision_plot(tmp_path / "precision.png", TRACKERS, "float boxes")
    assert [figure.legends[0].get_title().get_text() for figure in figures] == ["AUC", "P20 of float boxes"]
    for figure, measure, number in zip(figures, ("success", "precision"), ("auc", "p20"), strict=True):
        (axes,) = figure.axes
        lines = [line for line in axes.lines if not line.get_label().startswith("_")]
        for line, (label, expected) in zip(lines, TRACKERS.items(), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), getattr(expected, measure))
            assert line.get_label() == f"{label}  {getattr(expected, number):.3f}"
        assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines)
        ranked = [text.get_text() for text in figure.legends[0].get_texts()]
        assert [text.split("  ")[0] for text in ranked] == ["after <RL>", "before RL", "never moves"]
        assert not figure.legends[0].get_window_extent().overlaps(axes.get_tightbbox())
    for name in ("success", "precision"):
        assert cv2.imread(str(tmp_path / f"{name}.png")).shape[1] > 600


def test_a_plot_that_cannot_be_written_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        plots.success_plot(tmp_path / "nowhere" / "success.png", TRACKERS)


def test_the_reliability_diagram_is_a_picture(tmp_path):
    rng = np.random.default_rng(0)
    scores = rng.random(500)
    trackers = {"one": (scores, rng.random(500) < scores), "certain": (np.ones(500), rng.random(500) < 0.5)}
    plots.reliability_plot(tmp_path / "a.png", trackers)
    buffer = io.BytesIO()
    plots.reliability_plot(buffer, trackers)
    assert (tmp_path / "a.png").read_bytes()[:4] == buffer.getvalue()[:4] == b"\x89PNG"
