"""Every benchmark is counted by its own rules: numbers by hand, from boxes that follow the truth while it is visible.

The tracker of these tests knows the truth, so that the numbers depend only on how frames without a target are counted.
Real trackers are run in test_runner.py.
"""

import json
import math
import re

import numpy as np
import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import model_card
from relo_jax.config import published
from relo_jax.data import miniature
from relo_jax.data.datasets import layouts
from relo_jax.errors import UserError
from relo_jax.eval import metrics, runner
from relo_jax.eval.benchmarks import open_benchmark
from relo_jax.eval.evaluation import Evaluation
from relo_jax.eval.lockstep import Tracked
from relo_jax.eval.report.comparison import compare
from relo_jax.eval.tracker_results import TrackerResults, as_whole_numbers, measure, never_moves
from relo_jax.model import RELO
from tests import command

FAR = (70.0, 50.0, 10.0, 10.0)  # from every target of the miniatures
DATASETS = ("lasot", "lasot_ext", "got10k", "trackingnet", "tnl2k", "uav123", "otb100", "nfs", "vasttrack")


class Oracle:
    """Replaces `Lockstep`: the true box, but for a thousandth of a pixel, so that its IoU is safely below 1; if the
    target is not visible, a box far away."""

    seconds_compiling = 0.0

    def __init__(self, model, variables, options, batch):
        Oracle.options = options

    def run(self, sequences, advance):
        for sequence in sequences:
            shown = sequence.visible & np.isfinite(sequence.boxes_xywh).all(1)
            boxes = np.where(shown[:, None], sequence.boxes_xywh + [1e-3, 0, 0, 0], FAR)
            boxes[0] = sequence.boxes_xywh[0]
            advance(len(sequence))
            yield Tracked(sequence, boxes, np.ones(len(sequence)), np.full(len(sequence), 0.01))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder of datasets, all in miniature."""
    root = tmp_path_factory.mktemp("datasets")
    for name in DATASETS:
        miniature.MAKERS[name](root / layouts.dataset_layout(name).folders[0])
    return root


@pytest.fixture
def evaluate(root, tmp_path, monkeypatch):
    """`relo eval` of a B256 that knows the truth; returns the printed text and the summary."""
    loaded = checkpoint.Loaded(RELO.from_variant("b256"), {"params": {}}, {"tracker": {"window_power": 9.0}})
    monkeypatch.setattr(runner, "Lockstep", Oracle)
    monkeypatch.setattr(runner.checkpoints, "load_tracker", lambda path, dtype: loaded)
    monkeypatch.setattr(model_card, "of_checkpoint", lambda path: {"kind": "none"})
    monkeypatch.chdir(tmp_path)

    def run(dataset, capsys, folder=None, **arguments):
        given = [part for name, value in arguments.items() for part in (f"--{name.replace('_', '-')}", value)]
        command.run("eval", "--checkpoint=relo_b256.pth.tar", "--data-root", root, "--dataset", dataset, *given)
        folder = tmp_path / "results" / "relo_b256" / (folder or dataset)
        return capsys.readouterr().out, json.loads((folder / "summary.json").read_text())

    return run


@pytest.mark.parametrize(
    ("dataset", "name", "frames", "success", "precise", "norm_precise"),
    [
        # Three frames covered, one out of view; a box without area and flag is right for normalised precision.
        ("lasot", "airplane-1", 24, 19, 19, 20),
        ("lasot_ext", "atv-1", 24, 21, 21, 24),  # flags overlap in one frame; right for normalised precision
        ("tnl2k", "Bird_28-Done", 24, 22, 22, 24),  # boxes of zeros
        ("uav123", "truck4_2", 685, 680, 685, 685),  # NaN; right for both precisions
        ("otb100", "Jogging.2", 24, 24, 24, 24),
        ("nfs", "dog_2", 24, 24, 24, 24),
        ("vasttrack", "Aardwolf-1", 24, 24, 24, 24),
    ],
)
def test_curves_of_a_benchmark(dataset, name, frames, success, precise, norm_precise, evaluate, capsys):
    printed, summary = evaluate(dataset, capsys)
    row = summary["sequences"][name]
    assert row["frames"] == frames and row["ao"] == pytest.approx(1.0, abs=1e-3)
    # By rounding, the IoU of the given box with itself may exceed even the last of the 21 thresholds, 1.
    assert -1e-9 < row["auc"] - success / frames * 20 / 21 < 1.01 / 21 / frames
    assert (row["p20"], row["np20"]) == pytest.approx((precise / frames, norm_precise / frames))
    assert summary["dtype"] == "float32"
    assert summary["rules"] == (dataset if dataset in ("lasot", "lasot_ext", "uav123") else "plain")
    assert summary["mean"]["auc"] == pytest.approx(np.mean([r["auc"] for r in summary["sequences"].values()]))
    head = printed.splitlines()[1]
    assert head.split()[1:5] == ["frames", "AUC", "P20", "NP20"]


def test_got10k_counts_frames_that_are_not_covered(evaluate, capsys):
    """In three frames of the first sequence the tracker is elsewhere: two are covered, one is only marked as absent."""
    printed, summary = evaluate("got10k", capsys, "got10k-train", split="train")
    assert summary["sequences"]["GOT-10k_Train_000001"]["ao"] == pytest.approx(20 / 21, abs=1e-3)
    right = [summary["mean"][key] for key in ("ao", "sr50", "sr75")]
    assert right == pytest.approx([(3 * 23 + 20) / (3 * 23 + 21)] * 3, abs=1e-3)
    assert summary["sequences"]["GOT-10k_Train_000001"]["auc"] < 20 / 21  # of all frames
    assert printed.splitlines()[1].split()[1:5] == ["frames", "AO", "SR0.5", "SR0.75"]
    still = summary["never_moves"]
    assert 0 < still["sr75"] <= still["sr50"] <= 1 and 0 < still["ao"] < 1


@pytest.mark.parametrize(("dataset", "split"), [("nfs", "test"), ("got10k", "train")])
def test_numbers_as_published_stand_beside_those_of_float_boxes(dataset, split, root, evaluate, capsys, tmp_path):
    """The files keep the fractions; truncated, as the release writes them, the same boxes have the numbers below."""
    folder = "nfs" if dataset == "nfs" else "got10k-train"
    printed, summary = evaluate(dataset, capsys, folder, split=split)
    benchmark = open_benchmark(dataset, root, split)
    curves, overlaps = [], []
    for sequence in benchmark:
        boxes = np.loadtxt(tmp_path / "results" / "relo_b256" / folder / f"{sequence.name}.txt", delimiter=",")
        boxes = boxes.astype(int)
        curves.append(metrics.measure(boxes, sequence.boxes_xywh, sequence.counted, benchmark.rules))
        size = (miniature.WIDTH, miniature.HEIGHT)
        overlaps.append(metrics.got10k_overlaps(boxes, sequence.boxes_xywh, size, sequence.counted))
        row = summary["sequences"][sequence.name]
        assert row["as_published"]["auc"] == pytest.approx(curves[-1].auc) and row["as_published"]["auc"] < row["auc"]
    expected = metrics.mean(curves).numbers() | (metrics.got10k_numbers(overlaps) if dataset == "got10k" else {})
    found = {key: value for key, value in summary["as_published"].items() if key in expected}
    assert found == pytest.approx(expected) and "float boxes" in summary["boxes"]
    np.testing.assert_allclose(summary["as_published"]["success"], metrics.mean(curves).success)
    main = "ao" if dataset == "got10k" else "auc"
    lines = printed.splitlines()
    (line,) = (line for line in lines if line.startswith("as published "))
    assert line.split()[2] == f"{expected[main]:.3f}" and lines[lines.index(line) + 1].startswith("Numbers of float")
    assert lines[lines.index(line) - 1].split()[4] == f"{summary['mean'][main]:.3f}" != line.split()[2]


@pytest.mark.parametrize(("dataset", "count", "published_count"), [("trackingnet", 1, 511), ("got10k", 2, 180)])
def test_where_a_server_has_the_truth_nothing_is_measured(dataset, count, published_count, evaluate, capsys, tmp_path):
    printed, summary = evaluate(dataset, capsys)
    assert f"only a server has the boxes of {layouts.dataset_layout(dataset).title} test" in printed
    assert f"relo pack {dataset} results/relo_b256/{dataset} --out relo_b256.zip" in printed
    assert "mean" not in summary and summary["benchmark"]["server"] and len(summary["sequences"]) == count
    folder = tmp_path / "results" / "relo_b256" / dataset
    assert len(list(folder.glob("*_score.txt"))) == count and not (folder / "success.png").exists()
    assert f"{count} of the published {published_count} sequences" in printed


def test_a_mean_over_a_part_of_a_benchmark_says_so(evaluate, capsys):
    printed, summary = evaluate("lasot", capsys)
    assert "LaSOT test: 2 of the published 280 sequences; 278 could not be opened: airplane-9" in printed
    about = summary["benchmark"]
    assert (about["evaluated"], about["published"], about["missing"]) == (2, 280, 278)
    assert "airplane-13" in about["absent"] and len(about["absent"]) == 278


def test_published_options_are_used_said_and_written_down(evaluate, capsys):
    printed, summary = evaluate("lasot", capsys)
    assert "LaSOT test: 2 sequences; window_power 3, update_interval 0 (published for b256 on lasot)" in printed
    assert Oracle.options["window_power"] == summary["options"]["window_power"] == 3.0
    assert summary["options_from"]["window_power"] == "published for b256 on lasot"
    evaluate("got10k", capsys)
    assert (Oracle.options["window_power"], Oracle.options["update_interval"]) == (2.1, 3)
    evaluate("otb100", capsys)
    assert Oracle.options["window_power"] == 9.0  # no row: the checkpoint's
    printed, _ = evaluate("nfs", capsys, window_power=0.5)
    assert Oracle.options["window_power"] == 0.5 and "window_power 0.5 (given); update_interval 0" in printed
    assert published.options("b256", "nfs")["window_power"] == 2.9


def test_results_of_other_options_are_not_mixed(evaluate, capsys):
    evaluate("nfs", capsys)
    with pytest.raises(UserError, match=r"another tracker \(tracker.window_power was 2.9, is 1.0\)"):
        evaluate("nfs", capsys, window_power=1.0)


def test_rules_may_be_chosen_by_hand(evaluate, capsys):
    by_lasot, plain = (evaluate("lasot", capsys, rules=rules)[1]["mean"]["p20"] for rules in ("lasot", "plain"))
    assert by_lasot < 1 and plain == pytest.approx(by_lasot)  # the oracle is away in hidden frames
    assert math.isclose(evaluate("lasot", capsys, rules="lasot_ext")[1]["mean"]["np20"], 1.0)


def test_the_card_beside_results_says_who_evaluated(evaluate, capsys, tmp_path):
    evaluate("nfs", capsys, batch=3)
    evaluate("nfs", capsys)  # nothing is left to do
    card = json.loads((tmp_path / "results" / "relo_b256" / "nfs" / "card.json").read_text())
    (session,) = card["sessions"]
    assert card["checkpoint"] == {"kind": "none", "config": {"tracker": {"window_power": 9.0}}}
    assert session["benchmark"] == "NFS test" and session["rules"] == "plain" and session["batch"] == 3
    assert {"date", "command", "code", "packages", "machine"} <= set(session)


def test_files_of_the_release_are_copies_that_may_be_added_later(evaluate, root, capsys, tmp_path):
    evaluate("nfs", capsys)
    folder = tmp_path / "results" / "relo_b256" / "nfs"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.txt")}
    assert len(before) == 9 and not (folder / "release").exists()
    command.run("eval", "--checkpoint=relo_b256.pth.tar", "--data-root", root, "--dataset", "nfs", "--release-files")
    assert "nfs/release: boxes as the release's" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.txt")} == before  # nothing is tracked again
    assert len(list((folder / "release").iterdir())) == 6
    for name in ("bee", "dog_2", "Gymnastics"):
        boxes = np.loadtxt(folder / f"{name}.txt", delimiter=",").astype(int)
        assert np.array_equal(np.loadtxt(folder / "release" / f"nfs_{name}.txt", delimiter="\t"), boxes)
    benchmark = open_benchmark("nfs", root)
    whole = compare(benchmark, {"whole": folder / "release"}).overall("whole")["auc"]
    summary = json.loads((folder / "summary.json").read_text())
    assert whole == pytest.approx(summary["as_published"]["auc"]) and whole != summary["mean"]["auc"]


def measured(benchmark, failed=()):
    """The Evaluation of boxes that are right, but for the sequences that failed."""
    boxes = {s.name: s.boxes_xywh + [1e-3, 0, 0, 0] for s in benchmark if s.name not in failed}
    tracker = TrackerResults("<ours>", boxes=boxes)
    every = (tracker, never_moves(benchmark, boxes), as_whole_numbers(tracker))
    measure(benchmark, every)
    return Evaluation(benchmark, *every, failed=dict.fromkeys(failed, "no space left"))


def cells(evaluation):
    rows = re.findall("<tr>(.*?)</tr>", evaluation._repr_html_())
    return [re.findall("<t[dh]>(.*?)</t[dh]>", row) for row in rows]


def test_a_notebook_shows_the_table_and_the_curves():
    benchmark = open_benchmark("procedural", count=3)
    evaluation = measured(benchmark, failed=[benchmark[2].name])
    head, first, _, mean, published = cells(evaluation)
    assert head == ["sequence", "frames", "AUC", "P20", "NP20", "AUC of a box that never moves"]
    assert first[:4] == [
        benchmark[0].name,
        str(len(benchmark[0])),
        f"{evaluation.curves[benchmark[0].name].auc:.3f}",
        "1.000",
    ]
    assert mean[0] == "mean of 2" and published[0] == "as published" and mean[2] > published[2]
    assert repr(evaluation) == f"Evaluation(<ours> on procedural: 2 sequences, 1 failed, AUC {mean[2]})"
    page = evaluation._repr_html_()
    assert "&lt;ours&gt; on procedural" in page and f"{benchmark[2].name} failed: no space left" in page
    success, precision = evaluation.plot().subfigs
    np.testing.assert_array_equal(success.axes[0].lines[0].get_ydata(), evaluation.mean.success)
    np.testing.assert_array_equal(precision.axes[0].lines[1].get_ydata(), evaluation.mean.precision)


def test_a_notebook_shows_part_of_a_long_table_and_boxes_that_only_a_server_measures():
    benchmark = open_benchmark("procedural", count=25)
    rows = cells(measured(benchmark))
    assert [row[0] for row in rows[10:13]] == [benchmark[9].name, "5 more: table() has all", benchmark[15].name]
    one = open_benchmark("procedural", count=1)
    assert "on procedural: 1 sequence, AUC" in repr(measured(one))
    nothing = measured(one, failed=[benchmark[0].name])
    assert "no space left" in nothing._repr_html_() and "<img" not in nothing._repr_html_()
    with pytest.raises(UserError, match="nothing was measured here"):
        nothing.plot()
