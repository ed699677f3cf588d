"""Training curves show what a run logged."""

import json

import numpy as np
import pytest

from relo_jax.checkpoints.training_curves import training_curves

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


def test_training_curves_show_what_was_logged(runs):
    warmup, rl = training_curves(None, runs).subfigs
    assert [axes.get_title() for axes in warmup.axes] == ["loss", "IoU"]
    assert [axes.get_title() for axes in rl.axes] == ["reward", "IoU", "entropy of the policy (nats)", EXPLAINED]
    held_out = [line for line in rl.axes[1].lines if line.get_label() == "greedy, held-out"]
    assert held_out[0].get_xdata().tolist() == [100, 200, 300, 400]
    bold = max(rl.axes[0].lines, key=lambda line: line.get_linewidth())
    np.testing.assert_allclose(bold.get_ydata()[5:-5], bold.get_xdata()[5:-5] / 500, atol=0.01)  # a line stays one
    assert rl.axes[3].get_ylim()[0] >= -1


def test_a_single_stage_is_drawn_too(runs):
    (stage,) = training_curves(None, {"RL stage": runs["RL stage"]}).subfigs
    assert len(stage.axes) == 4
