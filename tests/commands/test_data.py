"""`relo data`: what its actions print and write, and their exit status."""

import json
import shutil

import numpy as np
import pytest

from relo_jax.data import miniature
from relo_jax.data.records import tiled_jpeg
from relo_jax.errors import UserError
from tests import command


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    """The working directory, in which indices are kept."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def lasot(tmp_path):
    miniature.lasot(tmp_path / "LaSOT")
    return tmp_path / "LaSOT"


@pytest.fixture
def no_jpegtran(monkeypatch):
    monkeypatch.setattr(tiled_jpeg, "can_add_restarts", lambda: False)


def test_check_of_a_sound_folder_prints_its_size(tmp_path, capsys):
    miniature.write_frames(tmp_path / "s" / "img", miniature.walk())
    (tmp_path / "s" / "groundtruth.txt").write_text(miniature.lines(miniature.walk()))
    assert command.run("data", "check", "folder", "--data-root", tmp_path / "s") == 0
    size = "1 sequence, 24 frames, 5 of them decoded"
    assert capsys.readouterr().out == f"Folder all in {tmp_path / 's'}: {size}\n  no problems\n"


@pytest.mark.parametrize("flag", ["--data-root", "--root"])
def test_the_root_has_the_name_that_other_commands_use_and_a_short_one(flag, lasot, capsys):
    command.run("data", "stats", "lasot", flag, lasot)
    assert "lasot" in capsys.readouterr().out


def test_check_prints_three_examples_of_a_kind_and_writes_all(tmp_path, capsys):
    miniature.vot(tmp_path)
    for number in (3, 9, 11, 12):
        (tmp_path / "bag" / "color" / f"{number:08d}.jpg").write_bytes(b"<html>404</html>")
    shutil.rmtree(tmp_path / "ants1" / "color")
    report = tmp_path / "report.json"
    assert command.run("data", "check", "vot", "--data-root", tmp_path, "--frames", "all", "--json", report) == 1
    printed = capsys.readouterr().out
    (split,) = json.loads(report.read_text())["splits"]
    for problem in split["problems"]:
        first = problem["examples"][0]
        assert f"{first['file']}: {first['detail']}" in printed
    assert len(split["problems"][0]["examples"]) == 4 and "and 1 more" in printed
    kinds = [printed.index(kind) for kind in ("fatal  undecodable image", "fatal  no frames", "note   NaN boxes")]
    assert kinds == sorted(kinds)


def test_check_names_a_split_that_cannot_be_opened(tmp_path, capsys):
    miniature.coco(tmp_path / "coco")
    (tmp_path / "coco" / "annotations" / "instances_val2017.json").unlink()
    assert command.run("data", "check", "coco", "--data-root", tmp_path) == 0
    assert "COCO 2017 val: not checked: " in capsys.readouterr().out
    with pytest.raises(UserError, match=f"^{tmp_path / 'coco'}: no annotations/instances_val2017.json"):
        command.run("data", "check", "coco", "--data-root", tmp_path, "--split", "val")


def test_missing_sequences_fail_the_check(lasot):
    assert command.run("data", "check", "lasot", "--data-root", lasot, "--split", "train") == 1


@pytest.mark.parametrize("arguments", [["check", "lasot"], ["stats", "lasot"]])
def test_a_report_that_cannot_be_written_is_refused_before_the_work(arguments, lasot, tmp_path):
    with pytest.raises(UserError, match=f"there is no folder {tmp_path / 'no'}"):
        command.run("data", *arguments, "--data-root", lasot, "--json", tmp_path / "no" / "report.json")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["check", "lasot", "--data-root", "."], "1 archives such as airplane.zip: unpack them there"),
        (["check", "lassot"], r"no dataset is called 'lassot' \(did you mean 'lasot'\?\)"),
        (["check", "7"], r"no dataset is called '7' \(known: folder, coco, "),
        (["check", "my seqs"], "'my seqs'; for the folder of this name: relo data check folder --data-root 'my seqs'$"),
        (["check", "sub/GOT-10k"], "this name: relo data check got10k --data-root sub/GOT-10k$"),
        (["stats", "sub/LaSOT"], "for the folder of this name: relo data stats lasot --data-root sub/LaSOT$"),
        (["build", "folder", "--out", "built"], "name an official dataset; a folder of sequences is read as it is"),
        (["stats", "--data-root", "."], r"no dataset below it \(folders such as "),
        (["stats"], r"with --data-root \(in training with config.data.root\), or set RELO_DATA_DIR$"),
        (["check", "lasot", "--smallest-side", "0"], "coco has a smallest side, other datasets have none"),
        (["stats", "coco", "--smallest-side", "-1"], "give pixels, from 0 on"),
        (
            ["build", "lasot", "--out", "built", "--data-root", "nowhere"],
            r"^nowhere: no such folder \(looked for LaSOT\)",
        ),
    ],
)
def test_mistakes_are_named(arguments, message, tmp_path, monkeypatch):
    monkeypatch.delenv("RELO_DATA_DIR", raising=False)
    (tmp_path / "airplane.zip").write_bytes(b"PK")
    for folder in ("my seqs", "sub/GOT-10k", "sub/LaSOT"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(UserError, match=message):
        command.run("data", *arguments)


def test_stats_describe_all_datasets_below_a_root(tmp_path, capsys):
    miniature.coco(tmp_path / "coco")
    miniature.lasot(tmp_path / "LaSOTBenchmark")
    (tmp_path / "notes").mkdir()
    command.run("data", "stats", "--data-root", tmp_path, "--json", tmp_path / "stats.json")
    rows = {(r["dataset"], r["split"]): r for r in json.loads((tmp_path / "stats.json").read_text())}
    assert set(rows) == {("coco", "train"), ("coco", "val"), ("lasot", "train"), ("lasot", "test")}
    lasot = rows["lasot", "test"]
    assert (lasot["sequences"], lasot["frames"], lasot["classes"], lasot["missing"]) == (2, 48, 2, 278)
    assert lasot["visible_share"] == round(43 / 48, 4) and lasot["frame_sizes"] == {"96 x 72": 2}
    sides = [miniature.walk(seed=seed)[0, 2:] for seed in (0, 3)]
    low, high = sorted(np.sqrt(w * h) for w, h in sides)
    assert lasot["box_side_px"]["5%"] == pytest.approx(low, abs=0.06)
    assert lasot["box_side_px"]["95%"] == pytest.approx(high, abs=0.06)
    stored = sum(p.stat().st_size for p in (tmp_path / "coco" / "train2017").iterdir())
    assert rows["coco", "train"]["disk_bytes"] == pytest.approx(stored, rel=0.2)  # three objects, two photographs
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:4] == ["dataset", "split", "sequences", "frames"] and len(table) == 6
    command.run("data", "stats", "--data-root", tmp_path, "lasot")
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_stats_name_a_split_that_they_do_not_count(tmp_path, capsys):
    miniature.got10k(tmp_path / "GOT-10k")
    (tmp_path / "GOT-10k" / "val" / "list.txt").unlink()
    command.run("data", "stats", "got10k", "--data-root", tmp_path)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in printed[1:5]] == ["vottrain", "votval", "train", "test"]
    assert printed[-1].startswith("GOT-10k val: not counted: ") and "the list of sequences is missing" in printed[-1]


def test_build_reports_the_splits_that_it_built_and_those_that_it_did_not(lasot, no_jpegtran, capsys):
    shutil.rmtree(lasot / "airplane" / "airplane-1")
    shutil.rmtree(lasot / "bear" / "bear-2")
    (lasot / "bear" / "bear-1" / "groundtruth.txt").write_text("1,2,3\n")
    command.run("data", "build", "lasot", "--data-root", lasot, "--out", "built")
    tiles, train, test = capsys.readouterr().out.splitlines()
    assert tiles == "without tiles, which training would read faster: jpegtran is not installed"
    assert "LaSOT train: 1 sequence, 24 frames; 1 left out (1 unreadable annotation" in train
    assert train.endswith("24 images, unchanged; shards: 2 written, all verified")
    assert test.startswith("LaSOT test: not built: ")
    with pytest.raises(UserError, match="no sequence of the test split"):
        command.run("data", "build", "lasot", "--data-root", lasot, "--out", "built", "--split", "test")


def test_build_cannot_reach_a_bucket_without_the_extra(lasot):
    with pytest.raises(UserError, match="gs://bucket/x: cannot be reached"):
        command.run("data", "build", "lasot", "--data-root", lasot, "--out", "gs://bucket/x")


def test_build_refuses_tiles_without_jpegtran(lasot, no_jpegtran):
    with pytest.raises(UserError, match="need the program jpegtran"):
        command.run("data", "build", "lasot", "--data-root", lasot, "--out", "built", "--tiles")
