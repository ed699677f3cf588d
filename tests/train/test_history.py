"""The history of a run: rows, curves and tables, of finished runs and of those in progress."""

import json
import re
import sys

import pytest

from relo_jax.checkpoints.run_directory import CONFIG_FILE, METRICS_FILE, read_metrics
from relo_jax.errors import UserError
from relo_jax.train.history import History

ROWS = [
    {"step": 10, "split": "train", "reward": 0.2, "iou": 0.1, "entropy": 5.4, "value_loss": 0.3},
    {"step": 20, "split": "train", "reward": 0.9, "iou": 0.5, "entropy": float("nan"), "value_loss": 0.1},
    {"step": 20, "split": "eval", "greedy_iou": 0.61},
]


@pytest.fixture
def run(tmp_path):
    run = tmp_path / "<rl>"
    run.mkdir()
    (run / CONFIG_FILE).write_text(json.dumps({"stage": "rl", "total_steps": 40}))
    (run / METRICS_FILE).write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return run


def test_rows_curves_and_table_are_those_of_the_run(run, tmp_path):
    history = History(run, stopped=True)
    assert history.rows[0] == ROWS[0] and history.rows[2] == ROWS[2] and history.step == 20
    assert repr(history).endswith("RL stage, step 20 of 40, stopped early, 3 rows)")
    (stage,) = history.plot(tmp_path / "curves.png").subfigs
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    titles = [axes.get_title() for axes in stage.axes]
    assert titles == ["reward", "IoU", "entropy of the policy (nats)", "loss of the value"]
    assert stage.axes[0].lines[0].get_ydata().tolist() == [0.2, 0.9]
    page = history._repr_html_()
    assert "&lt;rl&gt;</b>: RL stage, step 20 of 40, stopped early" in page
    cells = [re.findall("<t[hd]>(.*?)</t[hd]>", row) for row in re.findall("<tr>(.*?)</tr>", page)]
    assert cells[0] == ["", "step", "reward", "IoU", "greedy IoU", "entropy", "value loss"]
    assert cells[1:] == [
        ["training", "20", "0.900", "0.500", "", "not finite", "0.100"],
        ["held-out", "20", "", "", "0.610", "", ""],
    ]


def test_a_run_in_progress_can_be_read(run):
    with open(run / METRICS_FILE, "a") as file:
        file.write('{"step": 30, "spl')
    assert [row["step"] for row in History(run).rows] == [10, 20, 20]
    with open(run / METRICS_FILE, "a") as file:
        file.write("\n")
    with pytest.raises(UserError, match=rf"{METRICS_FILE}, line 4 is no row of metrics"):
        History(run)
    (run / METRICS_FILE).unlink()
    assert "nothing was logged yet" in History(run)._repr_html_()
    with pytest.raises(UserError, match="has no rows yet"):
        History(run).plot()


@pytest.mark.parametrize(
    "line", ["{}", "[]", "3", '{"step": "1", "split": "train"}', '{"step": 1, "split": "x"}',
             '{"step": 1, "split": "eval", "iou": "high"}']
)  # fmt: skip
def test_a_line_that_is_no_row_is_named(run, line):
    with open(run / METRICS_FILE, "a") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match=rf"{METRICS_FILE}, line 4 is no row of metrics"):
        History(run)
    assert [row["step"] for row in read_metrics(run)] == [10, 20]  # training itself leaves it out


def test_mistakes_are_one_line(run, monkeypatch):
    with pytest.raises(UserError, match="has no metrics.jsonl: give the run directory"):
        History(run.parent)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="pip install pandas"):
        History(run).to_pandas()
