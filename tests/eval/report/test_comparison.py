"""Trackers side by side: compared on what all have, and nothing is left out in silence."""

import re
from dataclasses import replace

import numpy as np
import pytest

from relo_jax.data import miniature
from relo_jax.errors import UserError
from relo_jax.eval import metrics
from relo_jax.eval.benchmarks import Benchmark, open_benchmark
from relo_jax.eval.bootstrap import draw
from relo_jax.eval.report.comparison import compare
from tests.eval import trackers
from tests.eval.trackers import FRAMES, write_results


@pytest.fixture(scope="module")
def benchmark():
    return trackers.five()


@pytest.fixture
def folders(benchmark, tmp_path):
    return {label: trackers.write_results(tmp_path / label, benchmark, off) for label, off in trackers.OFF.items()}


def test_numbers_are_those_of_the_metrics(benchmark, folders):
    comparison = compare(benchmark, folders, resamples=500)
    assert comparison.names == tuple("abcde") and comparison.ranked == ["good", "fair", "bad"]
    assert comparison.warnings() == []
    for label, off in (("good", 1), ("fair", 4)):
        curves = []
        for sequence in benchmark:
            curves.append(metrics.measure(trackers.boxes_of(sequence, off), sequence.boxes_xywh))
        assert comparison.overall(label) == pytest.approx(metrics.mean(curves).numbers())
        np.testing.assert_allclose(comparison.values(label), [c.auc for c in curves])
        np.testing.assert_allclose(comparison.curves(label).success, metrics.mean(curves).success)
    interval = comparison.interval("good", "fair")
    assert interval.difference == pytest.approx(comparison.overall("good")["auc"] - comparison.overall("fair")["auc"])
    assert interval.excludes_zero and comparison.wins("good", "bad") == (5, 0, 0)
    assert comparison.wins("fair", "fair") == (0, 5, 0)
    assert comparison.speed("good") == pytest.approx(
        {"median_ms": 20, "fps": 50, "sequences": 5, "frames": 5 * (FRAMES - 1)}
    )
    scores, right = comparison.scored("bad")
    assert len(scores) == len(right) == 5 * (FRAMES - 1) and not right.any()
    assert comparison.scored("good")[1].sum() == 5 * (FRAMES - 1) - 4  # not where the target is away


def test_every_number_has_an_interval_of_its_difference(benchmark, folders):
    comparison = compare(benchmark, folders, resamples=500)
    good, fair = (comparison.overall(label) for label in ("good", "fair"))
    for column in comparison.columns:
        interval = comparison.interval("good", "fair", column)
        assert interval.difference == pytest.approx(good[column] - fair[column])
        drawn = draw(5, 500)
        means = [drawn @ comparison.values(label, column) / 5 for label in ("good", "fair")]
        assert [interval.low, interval.high] == pytest.approx(np.percentile(means[0] - means[1], [2.5, 97.5]).tolist())
    assert comparison.interval("good", "fair") == comparison.interval("good", "fair", "auc")
    assert comparison.interval("good", "bad", "p20").excludes_zero
    # Both are within 20 pixels everywhere, but not as good in overlap.
    assert not comparison.interval("good", "fair", "p20").excludes_zero
    assert comparison.wins("good", "fair", "p20") == (0, 5, 0) and comparison.wins("good", "fair", "ao") == (5, 0, 0)


def truncated(folder, to, names="abcde"):
    """The result files of a folder as the release writes them, in another one."""
    to.mkdir()
    for name in names:
        np.savetxt(to / f"{name}.txt", np.loadtxt(folder / f"{name}.txt", delimiter=",").astype(int), "%d", "\t")
    return to


def test_trackers_whose_boxes_differ_in_kind_are_truncated(benchmark, folders, tmp_path):
    both = {"fair": folders["fair"], "whole": truncated(folders["good"], tmp_path / "whole")}
    mixed = compare(benchmark, both)
    for label, off in (("fair", 4), ("whole", 1)):
        curves = []
        for sequence in benchmark:
            boxes = trackers.boxes_of(sequence, off).astype(int)
            curves.append(metrics.measure(boxes, sequence.boxes_xywh))
        assert mixed.overall(label) == pytest.approx(metrics.mean(curves).numbers())
    still = [metrics.measure(metrics.never_moves(s).astype(int), s.boxes_xywh) for s in benchmark]
    assert mixed.overall_of(mixed.still) == pytest.approx(metrics.mean(still).numbers())
    assert mixed.warnings()[0].startswith("Whole-number boxes: all are truncated, because the files differ (fair: frac")
    floats = compare(benchmark, {"fair": folders["fair"]}).overall("fair")["auc"]
    assert compare(benchmark, {"fair": folders["fair"]}, boxes="whole").overall("fair") == mixed.overall("fair")
    unfair = compare(benchmark, both, boxes="float")
    assert unfair.overall("fair")["auc"] == floats != mixed.overall("fair")["auc"]
    assert unfair.overall("whole") == mixed.overall("whole") and "Not a fair" in unfair.warnings()[0]


def test_a_folder_of_two_runs_is_refused(benchmark, folders, tmp_path):
    whole = truncated(folders["good"], tmp_path / "whole")
    for name in "cd":
        (whole / f"{name}.txt").write_text((folders["good"] / f"{name}.txt").read_text())
    with pytest.raises(
        UserError, match=r"two: results of two runs\? .*whole/a.txt has whole numbers, c.txt fractions: "
    ):
        compare(benchmark, {"two": whole})
    assert compare(benchmark, {"two": whole}, boxes="whole").names == tuple("abcde")


def test_a_benchmarks_own_rules_hold(benchmark, folders):
    hidden = [replace(s, visible=np.arange(FRAMES) % 3 > 0) for s in benchmark]
    by_rules = compare(Benchmark(None, None, "five", tuple(hidden), rules="lasot"), folders)
    expected = metrics.measure(
        trackers.boxes_of(hidden[0], 1), hidden[0].boxes_xywh, hidden[0].visible, "lasot"
    ).numbers()
    assert by_rules.entries["good"].numbers["a"] == pytest.approx(expected)
    assert expected["auc"] < compare(benchmark, folders).entries["good"].numbers["a"]["auc"]


def test_a_lasot_box_without_area_is_hidden_by_a_flag_alone(tmp_path):
    """pytracking's rule: in a flagged frame nothing is right; in one whose box has no area, NP20 is."""
    miniature.lasot(tmp_path / "LaSOT")
    benchmark = open_benchmark("lasot", tmp_path, cache=tmp_path / "cache")
    away = {"airplane-1": [5, 6, 7, 10], "bear-2": []}
    (tmp_path / "results").mkdir()
    for sequence in benchmark:
        boxes = sequence.boxes_xywh + [1e-3, 0, 0, 0]  # a true box may overlap by more than 1, by rounding
        boxes[(boxes[:, 2:] == 0).any(1)] = 1, 1, 5, 5
        np.savetxt(tmp_path / "results" / f"{sequence.name}.txt", boxes, delimiter=",")
    entry = compare(benchmark, {"truth": tmp_path / "results"}).entries["truth"]
    for name, flagged in away.items():
        without_area = int(name == "airplane-1")
        frames = miniature.FRAMES
        numbers = entry.numbers[name]
        assert numbers["np20"] == pytest.approx((frames - len(flagged)) / frames)
        assert numbers["p20"] == pytest.approx((frames - len(flagged) - without_area) / frames)
        assert numbers["auc"] == pytest.approx(numbers["p20"] * 20 / 21, abs=1.01 / 21 / frames)  # the given box


def test_what_one_tracker_lacks_is_left_out_for_all_and_named(benchmark, folders):
    (folders["good"] / "b.txt").unlink()
    (folders["fair"] / "d.txt").write_text("1,2,3,4\n")
    (folders["bad"] / "zebra.txt").write_text("1,2,3,4\n")
    (folders["bad"] / "a_time.txt").write_text("0.1\n")
    comparison = compare(benchmark, folders)
    assert comparison.names == ("a", "c", "e")
    lines = comparison.warnings()
    assert lines[0] == "Only the 3 of 5 sequences that all trackers have are compared."
    assert lines[1] == "good: no result for 1 of 5 sequences: b"
    assert re.search(r"^fair: d is left out: .*d.txt: has 1 boxes for 30 frames", lines[2])
    assert lines[3:5] == [
        "good: 2 files of no sequence of this dataset, not used: b_score, b_time",  # beside no boxes
        "bad: 1 file of no sequence of this dataset, not used: zebra",
    ]
    assert re.search(r"^bad: a: its times are not used: .*a_time.txt: has 1 times for 30 frames", lines[-1])


def test_boxes_that_count_from_1_are_noted_and_can_be_shifted(benchmark, folders):
    for path in folders["good"].glob("?.txt"):
        np.savetxt(path, np.loadtxt(path, delimiter=",") + [1, 1, 0, 0], delimiter=",")
    note = "good: a, b, c, d, e: its first box is the true one with 1 added to x and y: are pixels counted from 1?"
    assert compare(benchmark, folders).warnings() == [note]
    shifted = compare(benchmark, folders, one_based=["good"])
    assert shifted.warnings() == []
    assert shifted.overall("good")["auc"] > compare(benchmark, folders).overall("good")["auc"]
    with pytest.raises(UserError, match=r"no tracker is called 'best' \(known: good, fair, bad\)"):
        compare(benchmark, folders, one_based=["best"])


def test_nothing_to_compare_is_a_users_mistake(benchmark, folders, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "zebra.txt").write_text("1,2,3,4\n")
    with pytest.raises(
        UserError, match="other: no file in .* belongs to a sequence of this dataset .found zebra; expected"
    ):
        compare(benchmark, folders | {"other": other})
    half = write_results(tmp_path / "half", benchmark, skip="cde")
    rest = write_results(tmp_path / "rest", benchmark, skip="ab")
    with pytest.raises(UserError, match="no sequence is in the results of all of half, rest: leave one"):
        compare(benchmark, {"half": half, "rest": rest})
    (half / "a.txt").write_text("")
    (half / "b.txt").write_text("")
    with pytest.raises(UserError, match="half: none of its 2 files can be used; .*a.txt: is empty"):
        compare(benchmark, {"half": half})
    server = Benchmark("got10k", "test", "GOT-10k test", benchmark.sequences, server=True)
    with pytest.raises(UserError, match="only the evaluation server has its boxes"):
        compare(server, folders)


def test_attributes_are_means_over_the_sequences_that_have_them(benchmark, folders):
    comparison = compare(benchmark, folders)
    having = comparison.by_attribute({"a": ("Fast Motion",), "b": ("Fast Motion", "Occlusion"), "x": ("Rotation",)})
    assert having == {"Fast Motion": ["a", "b"], "Occlusion": ["b"]}
    values = comparison.values("fair")
    assert comparison.overall("fair", having["Fast Motion"])["auc"] == pytest.approx(values[:2].mean())


def test_got10k_is_counted_as_its_toolkit_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    miniature.got10k(tmp_path / "GOT-10k")
    benchmark = open_benchmark("got10k", tmp_path, "train")  # the target of the first is away for some frames
    rng, overlaps = np.random.default_rng(0), []
    for sequence in benchmark:
        boxes = sequence.boxes_xywh + rng.normal(0, 3, sequence.boxes_xywh.shape)
        boxes[0] = sequence.boxes_xywh[0]
        folder = tmp_path / "results" / sequence.name
        folder.mkdir(parents=True)
        np.savetxt(folder / f"{sequence.name}_001.txt", boxes, fmt="%.6f", delimiter=",")
        size = (miniature.WIDTH, miniature.HEIGHT)
        overlaps.append(metrics.got10k_overlaps(boxes, sequence.boxes_xywh, size, sequence.counted))
    comparison = compare(benchmark, {"noisy": tmp_path / "results"})
    assert comparison.main == "ao"
    assert comparison.overall("noisy") == pytest.approx(metrics.got10k_numbers(overlaps), abs=1e-6)
    still = {s.name: metrics.never_moves(s) for s in benchmark}
    for name, boxes in still.items():
        (tmp_path / "still").mkdir(exist_ok=True)
        np.savetxt(tmp_path / "still" / f"{name}.txt", boxes, fmt="%.6f", delimiter=",")
    comparison = compare(benchmark, {"noisy": tmp_path / "results", "still": tmp_path / "still"}, resamples=100)
    noisy, still = (comparison.overall(label) for label in ("noisy", "still"))
    for column in ("ao", "sr50", "sr75"):  # by frames, as the numbers themselves
        assert comparison.interval("noisy", "still", column).difference == pytest.approx(noisy[column] - still[column])
