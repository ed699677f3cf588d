"""Benchmarks: every dataset opens under its rules, and missing sequences of a published split are counted and named."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets import layouts
from relo_jax.data.records import build
from relo_jax.errors import UserError
from relo_jax.eval import benchmarks, calibrate
from relo_jax.eval.benchmarks import NAMES, open_benchmark
from relo_jax.eval.metrics import RULES

FOUND = {  # sequences of the miniature's test split, and how many the published one has
    "lasot": (2, 280), "lasot_ext": (3, 150), "got10k": (2, 180), "trackingnet": (1, 511), "vasttrack": (2, 3500),
    "tnl2k": (2, 700), "uav123": (3, 123), "otb100": (4, 100), "nfs": (3, 100), "vot": (2, None),
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder of datasets, all in miniature."""
    root = tmp_path_factory.mktemp("datasets")
    for name in FOUND:
        miniature.MAKERS[name](root / layouts.dataset_layout(name).folders[0])
    return root


@pytest.mark.parametrize("name", FOUND)
def test_every_dataset_opens_as_a_benchmark(name, root, tmp_path):
    benchmark = open_benchmark(name, root, cache=tmp_path)
    count, published = FOUND[name]
    # One sequence of OTB's miniature has an empty annotation, one of VOT's no first box.
    assert len(benchmark) == count == len({s.name for s in benchmark}) and benchmark.published == published
    assert benchmark.split == "test" and benchmark.title == f"{layouts.dataset_layout(name).title} test"
    assert benchmark.rules in RULES and benchmark[0].read_frame(0).dtype == np.uint8
    assert benchmark.server == (name in ("got10k", "trackingnet"))
    if published is None:
        assert benchmark.omissions() == [  # an old edition has a code instead of the first box
            "VOT test: 2 sequences; 1 could not be opened", "  ball1: its first frame has no box to start from",
        ]  # fmt: skip
    else:
        assert benchmark.missing == published - count
        assert (
            f"{count} of the published {published:,} sequences; {published - count:,} could" in benchmark.omissions()[0]
        )
        assert len(benchmark.absent) == published - count


def test_rules_are_the_benchmarks_own():
    rules = {name: benchmarks._RULES.get(name, "plain") for name in FOUND}
    assert {name for name, rule in rules.items() if rule != "plain"} == {"lasot", "lasot_ext", "uav123"}
    assert set(NAMES) == {"folder", "procedural", *FOUND}


def test_got10k_has_its_own_numbers_and_splits(root, tmp_path):
    benchmark = open_benchmark("got10k", root, "val", cache=tmp_path)
    assert len(benchmark) == 2 and not benchmark.server and list(benchmark.columns) == ["ao", "sr50", "sr75"]
    assert benchmark.absent[0] == "GOT-10k_Val_000003" and len(benchmark.absent) == 178
    assert list(open_benchmark("nfs", root, cache=tmp_path).columns) == ["auc", "p20", "np20"]


@pytest.mark.parametrize("name, frames", [("uav123", "data_seq/UAV123/"), ("got10k", "test/")])
def test_sequences_that_are_listed_and_not_there_are_absent(name, frames, tmp_path):
    root = tmp_path / layouts.dataset_layout(name).folders[0]
    miniature.MAKERS[name](root)
    whole = open_benchmark(name, tmp_path, cache=tmp_path / "index")
    shutil.rmtree(sorted(folder for folder in (root / frames).iterdir() if folder.is_dir())[0])
    part = open_benchmark(name, tmp_path, cache=tmp_path / "index")
    assert whole.broken == part.broken == 0 and len(part) < len(whole)


def test_broken_and_missing_sequences_are_named(tmp_path):
    miniature.lasot_ext(tmp_path / "LaSOT_ext")
    folder = tmp_path / "LaSOT_ext" / "atv"
    (folder / "atv-10" / "img" / "00000007.jpg").unlink()
    benchmark = open_benchmark("lasot_ext", tmp_path, cache=tmp_path / "cache")
    assert [s.name for s in benchmark] == ["atv-1", "wingsuit-2"] and benchmark.missing == 148
    assert "atv-10" in benchmark.absent and "atv-1" not in benchmark.absent
    first, reason = benchmark.omissions()
    assert first.startswith("LaSOT_ext test: 2 of the published 150 sequences; 148 could not be opened: ")
    assert "and 143 more" in first and "24 boxes for 23 frames" in reason and "atv-10" in reason
    shutil.rmtree(folder / "atv-10")
    assert len(open_benchmark("lasot_ext", tmp_path, cache=tmp_path / "cache").omissions()) == 1


def test_names_with_blanks_are_whole(root, tmp_path):
    benchmark = open_benchmark("vasttrack", root, cache=tmp_path)
    assert {s.name for s in benchmark}.isdisjoint(benchmark.absent)
    assert any(" " in name for name in benchmark.absent)


def test_a_built_dataset_is_the_same_benchmark(root, tmp_path, monkeypatch):
    build.build(layouts.dataset_layout("lasot_ext"), "test", tmp_path / "built", root, cache=tmp_path)
    monkeypatch.setenv("RELO_DATA_DIR", str(tmp_path / "built"))
    built, folders = (open_benchmark("lasot_ext", where, cache=tmp_path) for where in (None, root))
    assert (built.title, built.rules, built.absent) == (folders.title, folders.rules, folders.absent)
    for one, other in zip(built, folders, strict=True):
        assert one.name == other.name and one.read_encoded(3) == other.read_encoded(3)
        np.testing.assert_array_equal(one.visible, other.visible)
        np.testing.assert_array_equal(one.counted, other.counted)
    assert built.fingerprint() == folders.fingerprint()


def test_other_truth_has_another_fingerprint(root, tmp_path):
    whole = open_benchmark("lasot", root, cache=tmp_path)
    first, second = whole
    moved, shown = first.boxes_xywh.copy(), first.counted.copy()
    moved[3, 2] += 0.01
    shown[5] = True
    others = [
        (replace(first, boxes_xywh=moved), second), (replace(first, shown=shown), second),
        (replace(first, name="airplane-3"), second), (second, first), (first,),
    ]  # fmt: skip
    found = {replace(whole, sequences=sequences).fingerprint() for sequences in ((first, second), *others)}
    assert whole.fingerprint() in found and len(found) == 1 + len(others)


def test_a_folder_of_sequences(tmp_path, monkeypatch):
    miniature.write_frames(tmp_path / "mine" / "a" / "img", miniature.walk(5))
    (tmp_path / "mine" / "a" / "groundtruth.txt").write_text(miniature.lines(miniature.walk(5)))
    monkeypatch.setenv("RELO_DATA_DIR", str(tmp_path / "mine"))
    ours, ones = open_benchmark("folder"), open_benchmark("folder", tmp_path / "mine", one_based=True)
    assert ours.title == "mine" and ours.omissions() == [] and ours.split is None
    np.testing.assert_allclose(ours[0].boxes_xywh - ones[0].boxes_xywh, [[1, 1, 0, 0]] * 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lassot",), r"'lassot' \(did you mean 'lasot'"),
        (("qqqq",), "known: folder, procedural, .*lasot"),
        (("coco",), "photographs"),
        (("lasot", None, "val"), "LaSOT has no split 'val': it has train, test"),
        (("folder", None, "test"), "no splits"),
        (("otb100", None, None, True), "--one-based is for a folder"),
        (("procedural", "{empty}"), "are drawn, not read: name the dataset in .* with --dataset"),
        (("procedural", None, None, True), "--one-based is for a folder"),
        (("lasot", None, None, False, 3), "--count and --seed choose procedural sequences"),
        (("folder", None, None, False, None, 0), "--count and --seed choose procedural sequences"),
        (("got10k", "{empty}"), r"no folder test; .* \(looked for its test split; --split has vottrain, votval, train"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message, root, tmp_path, monkeypatch):
    monkeypatch.setenv("RELO_DATA_DIR", str(root))
    arguments = [tmp_path if a == "{empty}" else a for a in arguments]
    *chosen, one_based, count, seed = arguments + [None, None, False, None, None][len(arguments) - 1 :]
    with pytest.raises(UserError, match=message):
        open_benchmark(*chosen, one_based, count=count, seed=seed, cache=tmp_path / "cache")
    if chosen[0] == "procedural" or count is not None:
        with pytest.raises(UserError, match=message):
            calibrate.open_sequences(*chosen, one_based, count, seed)


def test_a_path_is_a_folder_of_sequences(tmp_path):
    folder = tmp_path / "mine"
    (folder / "ball" / "img").mkdir(parents=True)
    for k in (1, 2):
        cv2.imwrite(str(folder / "ball" / "img" / f"{k}.jpg"), np.zeros((40, 60, 3), np.uint8))
    (folder / "ball" / "groundtruth.txt").write_text("1,2,3,4\n2,2,3,4\n")
    benchmark = open_benchmark(folder)
    assert (benchmark.name, benchmark.title, [s.name for s in benchmark]) == ("folder", "mine", ["ball"])
    with pytest.raises(UserError, match="there is no folder .*/other: give one of sequences, or a dataset's name"):
        open_benchmark(tmp_path / "other")
    with pytest.raises(UserError, match="no dataset is called 'lasott'.*lasot"):
        open_benchmark("lasott")
