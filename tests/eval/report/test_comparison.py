"""Trackers side by side: compared on what all have, and nothing is left out in silence."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from relo_jax.commands.report import named_folders
from relo_jax.data.datasets import layouts
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.eval import metrics
from relo_jax.eval.benchmarks import Benchmark, open_benchmark
from relo_jax.eval.bootstrap import draw
from relo_jax.eval.report import failure_cases, tables
from relo_jax.eval.report.comparison import compare
from relo_jax.eval.report.omissions import oddities
from tests import command
from tests.data import miniature

FRAMES = 30


@pytest.fixture(scope="module")
def benchmark():
    """Five sequences of a box that walks; the target of "c" is away for a while."""
    sequences = []
    for seed, name in enumerate("abcde"):
        boxes = miniature.walk(FRAMES, seed=seed)
        if name == "c":
            boxes[10:14] = np.nan
        image = np.zeros((miniature.HEIGHT, miniature.WIDTH, 3), np.uint8)
        sequences.append(Sequence(name, boxes, np.isfinite(boxes[:, 0]), lambda index, image=image: image))
    return Benchmark(None, None, "five", tuple(sequences))


def write_results(folder, benchmark, off=0.0, skip=()):
    """Boxes that are `off` pixels more to the right in every frame, with times and scores."""
    folder.mkdir()
    for sequence in benchmark:
        if sequence.name in skip:
            continue
        boxes = np.nan_to_num(sequence.boxes_xywh, nan=20.0) + [off, 0, 0, 0]
        boxes[0] = sequence.boxes_xywh[0]
        np.savetxt(folder / f"{sequence.name}.txt", boxes, delimiter=",")
        np.savetxt(folder / f"{sequence.name}_time.txt", [9.0] + [0.02] * (FRAMES - 1))
        np.savetxt(folder / f"{sequence.name}_score.txt", np.linspace(1, 0.5, FRAMES))
    return folder


@pytest.fixture
def folders(benchmark, tmp_path):
    return {
        "good": write_results(tmp_path / "good", benchmark, 1),
        "fair": write_results(tmp_path / "fair", benchmark, 4),
        "bad": write_results(tmp_path / "bad", benchmark, 60),
    }


def test_numbers_are_those_of_the_metrics(benchmark, folders):
    comparison = compare(benchmark, folders, resamples=500)
    assert comparison.names == tuple("abcde") and comparison.ranked == ["good", "fair", "bad"]
    assert oddities(comparison) == []
    for label, off in (("good", 1), ("fair", 4)):
        curves = []
        for sequence in benchmark:
            boxes = np.nan_to_num(sequence.boxes_xywh, nan=20.0) + [off, 0, 0, 0]
            curves.append(metrics.measure(boxes, sequence.boxes_xywh))
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


def test_a_benchmarks_own_rules_hold(benchmark, folders):
    hidden = [replace(s, visible=np.arange(FRAMES) % 3 > 0) for s in benchmark]
    by_rules = compare(Benchmark(None, None, "five", tuple(hidden), rules="lasot"), folders)
    boxes = np.nan_to_num(hidden[0].boxes_xywh, nan=20.0) + [1, 0, 0, 0]
    expected = metrics.measure(boxes, hidden[0].boxes_xywh, hidden[0].visible, "lasot").numbers()
    assert by_rules.entries["good"].numbers["a"] == pytest.approx(expected)
    assert expected["auc"] < compare(benchmark, folders).entries["good"].numbers["a"]["auc"]


def test_a_lasot_box_without_area_is_hidden_by_a_flag_alone(tmp_path):
    """The field's rule: in a frame that is flagged nothing is right, in one whose box has no area NP is."""
    miniature.lasot(tmp_path / "LaSOT")
    benchmark = open_benchmark("lasot", tmp_path, cache=tmp_path / "cache")
    away = {"airplane-1": [5, 6, 7, 10], "bear-2": []}
    (tmp_path / "results").mkdir()
    for sequence in benchmark:
        boxes = sequence.boxes_xywh.copy()
        boxes[(boxes[:, 2:] == 0).any(1)] = 1, 1, 5, 5
        np.savetxt(tmp_path / "results" / f"{sequence.name}.txt", boxes, delimiter=",")
    entry = compare(benchmark, {"truth": tmp_path / "results"}).entries["truth"]
    for name, flagged in away.items():
        without_area = int(name == "airplane-1")
        frames = miniature.FRAMES
        numbers = entry.numbers[name]
        assert numbers["np20"] == pytest.approx((frames - len(flagged)) / frames)
        assert numbers["p20"] == pytest.approx((frames - len(flagged) - without_area) / frames)
        assert numbers["auc"] == pytest.approx(numbers["p20"] * 20 / 21)


def test_what_one_tracker_lacks_is_left_out_for_all_and_named(benchmark, folders):
    (folders["good"] / "b.txt").unlink()
    (folders["fair"] / "d.txt").write_text("1,2,3,4\n")
    (folders["bad"] / "zebra.txt").write_text("1,2,3,4\n")
    (folders["bad"] / "a_time.txt").write_text("0.1\n")
    comparison = compare(benchmark, folders)
    assert comparison.names == ("a", "c", "e")
    said = oddities(comparison)
    assert said[0] == "Compared are the 3 of 5 sequences that all trackers have."
    assert said[1] == "good: no result for 1 of 5 sequences: b"
    assert re.search(r"^fair: d is left out: .*d.txt: has 1 boxes for 30 frames", said[2])
    assert said[3:5] == [
        "good: 2 files are of no sequence of this dataset, and not used: b_score, b_time",  # beside no boxes
        "bad: 1 file is of no sequence of this dataset, and not used: zebra",
    ]
    assert re.search(r"^bad: a: its times are not used: .*a_time.txt: has 1 times for 30 frames", said[-1])


def test_boxes_that_count_from_1_are_said_and_can_be_shifted(benchmark, folders):
    for path in folders["good"].glob("?.txt"):
        np.savetxt(path, np.loadtxt(path, delimiter=",") + [1, 1, 0, 0], delimiter=",")
    note = "good: a, b, c, d, e: its first box is the truth's with 1 added to x and y: pixels counted from 1?"
    assert oddities(compare(benchmark, folders)) == [note]
    shifted = compare(benchmark, folders, one_based=["good"])
    assert oddities(shifted) == []
    assert shifted.overall("good")["auc"] > compare(benchmark, folders).overall("good")["auc"]
    with pytest.raises(UserError, match="no tracker is called best: they are good, fair, bad"):
        compare(benchmark, folders, one_based=["best"])


def test_nothing_to_compare_is_a_users_mistake(benchmark, folders, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "zebra.txt").write_text("1,2,3,4\n")
    with pytest.raises(UserError, match="other: no file in .* is of a sequence of this dataset .it has zebra; wanted"):
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
    with pytest.raises(UserError, match="with the evaluation server"):
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


def test_uav123_has_its_attributes_in_the_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    miniature.uav123(tmp_path / "UAV123")
    benchmark = open_benchmark("uav123", tmp_path)
    for label, off in (("near", 1), ("far", 6)):
        (tmp_path / label / "uav").mkdir(parents=True)
        for sequence in benchmark:
            boxes = np.nan_to_num(sequence.boxes_xywh, nan=20.0) + [off, 0, 0, 0]
            boxes[0] = sequence.boxes_xywh[0]
            np.savetxt(tmp_path / label / "uav" / f"uav_{sequence.name}.txt", boxes.round(), fmt="%d", delimiter="\t")
        (tmp_path / label / "nfs").mkdir()
        (tmp_path / label / "nfs" / "nfs_bee.txt").write_text("1,2,3,4\n")  # another dataset's beside it
    options = [
        "--dataset",
        "uav123",
        "--data-root",
        tmp_path,
        "--out",
        tmp_path / "out",
        "--worst=1",
        "--resamples=100",
    ]
    command.run("report", "near", "far", *options)
    rows = list(csv.reader((tmp_path / "out" / "attributes.csv").open()))
    assert rows[0] == ["attribute", "sequences", "near", "far"]
    assert [row[:2] for row in rows[1:]] == [["Aspect Ratio Change", "3"], ["Background Clutter", "3"]]
    assert "By attribute" in (tmp_path / "out" / "report.html").read_text()
    assert layouts.dataset_layout("uav123").attributes is not None


def test_tables_are_files_for_others_to_read(benchmark, folders, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("relo_jax.eval.benchmarks.open_benchmark", lambda *_: benchmark)
    (folders["fair"] / "e.txt").write_text("20,20,inf,4\n")
    arguments = [f"good_one 100%={folders['good']}", f"fair={folders['fair']}"]
    with pytest.raises(UserError, match="1 result files cannot be used, the first of fair: .*e.txt, line 1: 20,20,inf"):
        command.run("report", *arguments, "--out", tmp_path / "out", "--against=fair", "--resamples=100")
    out, err = capsys.readouterr()
    assert out.splitlines()[1].startswith("good_one 100%") and "Compared are the 4 of 5" in err
    lines = (tmp_path / "out" / "ranking.tex").read_text().splitlines()
    assert lines[1] == r"\begin{tabular}{lrrrr}" and lines[-1] == r"\end{tabular}"
    assert lines[5].startswith(r"good\_one 100\% & \textbf{") and r"& \underline{" in lines[6]
    summary = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(summary["trackers"]) == {"good_one 100%", "fair"} and len(summary["sequences"]) == 4
    differences = {d["number"]: d for d in summary["differences"]}
    assert list(differences) == ["auc", "p20", "np20", "ao"]
    assert all(d["low"] <= d["difference"] <= d["high"] for d in differences.values())
    assert differences["auc"]["better"] == 4 and differences["p20"]["equal"] == 4
    heads, *rows = csv.reader((tmp_path / "out" / "differences.csv").open())
    assert heads[:6] == ["first", "second", "number", "difference", "low", "high"]
    assert [row[:3] for row in rows] == [["good_one 100%", "fair", title] for title in ("AUC", "P", "NP", "AO")]
    for row, d in zip(rows, differences.values(), strict=True):
        assert [float(v) for v in row[3:6]] == pytest.approx([d["difference"], d["low"], d["high"]], rel=1e-5)
    row = (tmp_path / "out" / "differences.tex").read_text().splitlines()[5]
    auc = "{difference:+.1f}}}$ [${low:+.1f}$, ${high:+.1f}$]"
    auc = auc.format(**{key: 100 * differences["auc"][key] for key in ("difference", "low", "high")})
    assert row.startswith(rf"good\_one 100\% minus fair & $\mathbf{{{auc} & $+0.0$ [$+0.0$, $+0.0$] & ")
    text = (tmp_path / "out" / "report.html").read_text()
    cells = re.search(r"<th>fair minus</th><th>P</th><th>NP</th><th>AO</th>.*?<tbody>(.*?)</tbody>", text)[1]
    overlap = differences["ao"]  # of the pair the other way round
    bounds = f"{-overlap['high']:+.3f} to {-overlap['low']:+.3f}".replace("-", "\u2212")
    assert cells.count("<td") == 4 and f'<div class="note">{bounds}</div></td>' in cells and "class=best" in cells
    for kind in ("svg", "pdf", "png"):
        assert (tmp_path / "out" / f"success.{kind}").stat().st_size > 5000


def test_one_tracker_alone_has_a_report_too(benchmark, folders, tmp_path, monkeypatch):
    monkeypatch.setattr("relo_jax.eval.benchmarks.open_benchmark", lambda *_: benchmark)
    (tmp_path / "out").mkdir()
    earlier = {"attributes.tex", "differences.tex", "differences.svg", "differences-2.png"}
    for name in ("report.json", *earlier, "notes.txt"):
        (tmp_path / "out" / name).write_text("of an earlier report, or of its reader")
    command.run("report", f"_<i>中 $x{'y' * 60}={folders['good']}", "--out", tmp_path / "out", "--worst=0")
    text = (tmp_path / "out" / "report.html").read_text()
    assert "five: 1 tracker<" in text and "Results" in text and "_&lt;i&gt;中 $xyyy" in text and "<i>中" not in text
    assert "more than chance" not in text and "sequence by sequence" not in text and "does worst" not in text
    assert not earlier & {p.name for p in (tmp_path / "out").iterdir()}
    assert (tmp_path / "out" / "notes.txt").is_file()
    with pytest.raises(UserError, match="no tracker is called b: they are good"):
        command.run("report", folders["good"], "--against=b")


def test_latex_ranks_as_it_prints_and_shows_what_is_unknown(tmp_path):
    tables.write_latex(tmp_path / "t.tex", ["AUC"], {"a": [0.50001], "b": [0.50002], "c": [None], "d": [0.2]})
    rows = (tmp_path / "t.tex").read_text().splitlines()[4:8]
    assert [row.split(" & ")[1] for row in rows] == [
        r"\textbf{50.0} \\", r"\textbf{50.0} \\", r"-- \\", r"\underline{20.0} \\",
    ]  # fmt: skip
    tables.write_csv(tmp_path / "t.csv", ["a", "b"], [['with "quotes", and', float("nan")]])
    assert list(csv.reader((tmp_path / "t.csv").open())) == [["a", "b"], ['with "quotes", and', ""]]


def test_names_of_trackers(tmp_path):
    (tmp_path / "odd=name").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text('{"tracker": "starter"}')
    given = [f"ours={tmp_path}/x", str(tmp_path / "odd=name"), str(tmp_path / "run")]
    assert list(named_folders(given)) == ["ours", "odd=name", "starter"]
    assert named_folders([f"lr=0.1={tmp_path}/odd=name"]) == {"lr=0.1": tmp_path / "odd=name"}
    for wrong, message in ((["=x"], "is not NAME=FOLDER"), (["a="], "is not NAME"), (["a=x", "a=y"], "two trackers")):
        with pytest.raises(UserError, match=message):
            named_folders(wrong)


def test_frames_are_shown_from_the_first_over_the_loss_to_the_last():
    overlap = np.full(100, 0.8)
    overlap[40:] = 0
    assert failure_cases.first_loss(overlap) == 40
    assert failure_cases.moments(overlap) == [0, 40, 66, 99]
    overlap[40:] = 0.5
    overlap[20:23] = 0  # three frames are no loss
    overlap[30:35] = np.nan
    assert failure_cases.first_loss(overlap) is None and failure_cases.moments(overlap) == [0, 33, 66, 99]
    assert failure_cases.moments(np.ones(1)) == [0] and failure_cases.moments(np.ones(2)) == [0, 1]


def test_boxes_are_drawn_in_their_colours_however_odd_they_are():
    frame = np.full((90, 1120, 3), 90, np.uint8)
    image = failure_cases.draw_boxes(frame, np.array([20.0, 20, 60, 40]), [((100, 20, 60, 40), "#0072b2")])
    assert image.shape == (45, 560, 3)
    assert (image[20, 10] > 200).all() and image[20, 50, 2] > 140 > image[20, 50, 0]
    failure_cases.draw_boxes(frame, np.full(4, np.nan), [((-1e9, 1e9, 1e9, 0), "#ffffff")])
