"""Plots show the measured numbers."""

import io
import json

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


EXPLAINED = "explained variance of the value"


def run_directory(path, rows):
    path.mkdir()
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def runs(tmp_path):
    rl = [
        {"step": s, "split": "train", "reward": s / 500, "greedy_iou": s / 900, "iou": 0.1} for s in range(10, 410, 10)
    ]
    rl += [{"step": s, "split": "eval", "greedy_iou": s / 800} for s in (100, 200, 300, 400)]
    rl[3]["reward"] = None  # NaN is written so by some
    rl += [{"step": 5, "split": "train", "explained_variance": -300.0}, {"step": 9, "split": "train", "entropy": 1}]
    warmup = [{"step": s, "split": "train", "loss": 9 / s, "iou": s / 900} for s in range(10, 210, 10)]
    return {
        "warm-up": run_directory(tmp_path / "warmup", warmup),
        "RL stage": run_directory(tmp_path / "rl", rl),
    }


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


def test_training_curves_show_what_was_logged(figures, runs):
    assert plots.as_png(plots.training_curves, runs).startswith(b"\x89PNG")
    warmup, rl = figures[0].subfigs
    assert [axes.get_title() for axes in warmup.axes] == ["loss", "IoU"]
    assert [axes.get_title() for axes in rl.axes] == ["reward", "IoU", "entropy of the policy (nats)", EXPLAINED]
    held_out = [line for line in rl.axes[1].lines if line.get_label() == "greedy, held-out"]
    assert held_out[0].get_xdata().tolist() == [100, 200, 300, 400]
    bold = max(rl.axes[0].lines, key=lambda line: line.get_linewidth())
    np.testing.assert_allclose(bold.get_ydata()[5:-5], bold.get_xdata()[5:-5] / 500, atol=0.01)  # a line stays one
    assert rl.axes[3].get_ylim()[0] >= -1


def test_a_single_stage_is_drawn_too(runs):
    assert plots.as_png(plots.training_curves, {"RL stage": runs["RL stage"]}).startswith(b"\x89PNG")


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
