"""`relo data check` and `relo data stats`: damage of every kind is counted and named with its file, and status is 1."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from relo_jax.commands import main as cli
from relo_jax.data.datasets import check, layouts, stats
from relo_jax.data.datasets.folder import LAYOUT as FOLDER
from tests.data import miniature


def counts(source, root, tmp_path, frames="all", split="test"):
    """Kinds of problems with their number, in one split."""
    (findings,), _ = check.check(source, [split], root, tmp_path / "cache", frames)
    return findings, dict(findings.counts)


@pytest.fixture
def vot(tmp_path):
    """A dataset with nothing wrong, of which no number of sequences is published."""
    miniature.vot(tmp_path / "VOT")
    for name, line in (("bag", 5), ("ball1", 7), ("ants1", 3)):
        path = tmp_path / "VOT" / name / "groundtruth.txt"
        text = path.read_text().splitlines()
        text[line] = text[line + 1]
        if name == "ball1":
            text[0] = text[1]
        path.write_text("\n".join(text))
    return tmp_path / "VOT"


def replace_line(path: Path, number: int, text: str):
    lines = path.read_text().splitlines()
    lines[number - 1] = text
    path.write_text("\n".join(lines) + "\n")


def test_a_sound_dataset_passes(vot, tmp_path, capsys):
    assert cli.main(["data", "check", "vot", "--root", str(vot), "--cache", str(tmp_path / "cache")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"VOT test in {vot}: 3 sequences, 72 frames, 15 of them decoded\n")
    assert "no problems" in out


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_of_every_miniature_all_frames_are_read_and_only_the_rest_is_missing(name, tmp_path):
    miniature.MAKERS[name](tmp_path / "root")
    found, absent = check.check(layouts.dataset_layout(name), [], tmp_path / "root", tmp_path / "cache", "all")
    assert [f.dataset.split for f in found] == list(layouts.dataset_layout(name).splits) and not absent
    for findings in found:
        assert findings.scanned == findings.dataset.lengths.sum() > 0
        assert set(findings.kinds) <= {"sequences missing", "missing part", "NaN boxes", "last frame has no box"}
        published = findings.dataset.layout.splits[findings.dataset.split]
        assert ("sequences missing" in findings.kinds) == (published is not None)


def test_every_kind_of_damage_is_counted_by_the_command(vot, tmp_path):
    """As a process, on a dataset with all of it at once."""
    bag, ball = vot / "bag", vot / "ball1"
    for number in (3, 9):  # cut off, as by a full disk
        path = bag / "color" / f"{number:08d}.jpg"
        path.write_bytes(path.read_bytes()[:-200])
    (bag / "color" / "00000011.jpg").write_bytes(b"<html>404</html>")
    (bag / "color" / "00000012.jpg").write_bytes(b"")
    replace_line(ball / "groundtruth.txt", 4, "NaN,NaN,NaN,NaN")
    replace_line(ball / "groundtruth.txt", 6, "200,10,20,20")
    replace_line(ball / "groundtruth.txt", 7, "5,-30,20,20")
    replace_line(ball / "groundtruth.txt", 8, "-30,5,20,20")
    replace_line(bag / "groundtruth.txt", 8, "5,90,20,20")
    (vot / "ants1" / "color" / "00000005.jpg").unlink()
    miniature.write_frames(vot / "none", miniature.walk())
    (vot / "none" / "groundtruth.txt").write_text("0\n" * miniature.FRAMES)
    (vot / "empty").mkdir()
    (vot / "empty" / "groundtruth.txt").write_text("1,2,3,4\n")
    (vot / "cut").mkdir()
    (vot / "cut" / "groundtruth.txt").write_text("1,2,3,4\n1,2,3\n")
    (vot / "list.txt").write_text("bag\nball1\nants1\nnone\nempty\ncut\n")
    report = tmp_path / "report.json"
    command = ["data", "check", "vot", "--root", str(vot), "--frames", "all", "--json", str(report)]
    done = subprocess.run(
        [sys.executable, "-m", "relo_jax.commands.main", *command, "--cache", str(tmp_path / "cache")],
        capture_output=True, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    (split,) = json.loads(report.read_text())["splits"]
    found = {p["kind"]: (p["fatal"], p["count"]) for p in split["problems"]}
    assert found == {
        "undecodable image": (True, 4),
        "boxes and frames differ": (True, 1),
        "target never shows": (True, 1),
        "no frames": (True, 1),
        "unreadable annotation": (True, 1),
        "NaN boxes": (False, 2),
        "box outside the image": (False, 2),
    }
    assert split["sequences"] == 2 and split["left_out"] == 4 and split["scanned_frames"] == 48
    examples = {p["kind"]: [f"{e['file']}: {e['detail']}" for e in p["examples"]] for p in split["problems"]}
    assert examples["undecodable image"] == [
        "bag/color/00000003.jpg: the file ends too early: copy or extract it again",
        "bag/color/00000009.jpg: the file ends too early: copy or extract it again",
        "bag/color/00000011.jpg: does not decode as an image: copy or extract it again",
        "bag/color/00000012.jpg: does not decode as an image: copy or extract it again",
    ]
    assert examples["box outside the image"] == [
        "bag/color/00000001.jpg: 1 of 24 boxes are outside the image, the first in frame 8: 5,90,20,20 in 96 x 72; "
        "if many are, the images are of another size than annotated",
        "ball1/00000001.jpg: 3 of 24 boxes are outside the image, the first in frame 6: 200,10,20,20 in 96 x 72; "
        "if many are, the images are of another size than annotated",
    ]
    assert "24 boxes for 23 frames in ants1/color" in examples["boxes and frames differ"][0]
    assert examples["unreadable annotation"][0].startswith("cut/groundtruth.txt: line 2: '1,2,3'")
    for kind, lines in examples.items():
        assert kind in done.stdout and lines[0] in done.stdout
    assert "and 1 more" in done.stdout  # three examples of four on the screen, all in the file
    order = [done.stdout.index(kind) for kind in ("undecodable image", "no frames", "NaN boxes")]
    assert order == sorted(order)


def test_a_sample_looks_at_the_ends_and_between(vot, tmp_path):
    for number in (1, 24):
        (vot / "bag" / "color" / f"{number:08d}.jpg").write_bytes(b"")
    findings, found = counts(layouts.dataset_layout("vot"), vot, tmp_path, frames="sample")
    assert found == {"undecodable image": 2} and findings.scanned == 15


def test_half_a_dataset_is_counted_with_a_missing_name_and_archives(tmp_path):
    miniature.lasot(tmp_path / "LaSOT")
    source, cache = layouts.dataset_layout("lasot"), tmp_path / "cache"
    findings, found = counts(source, tmp_path, tmp_path)
    assert found == {"sequences missing": 1}
    assert str(findings.examples["sequences missing"][0]) == (
        ".: 278 of the published 280 are missing, such as airplane-9: download or unpack them"
    )
    (tmp_path / "LaSOT" / "basketball.zip").write_bytes(b"PK")
    (tmp_path / "LaSOT" / "airplane" / "airplane-1" / "img" / "00000003.jpg").unlink()
    findings, found = counts(source, tmp_path, tmp_path)
    assert found == {"sequences missing": 1, "boxes and frames differ": 1}
    told = str(findings.examples["sequences missing"][0])  # airplane-1 is broken, not missing
    assert told == (
        ".: 278 of the published 280 are missing, such as airplane-9; unpack 1 archives such as basketball.zip"
    )
    assert cli.main(["data", "check", "lasot", "--root", str(tmp_path), "--split", "train", "--cache", str(cache)]) == 1


def test_a_list_that_holds_no_names_gives_none(tmp_path):
    miniature.got10k(tmp_path)
    findings, _ = counts(layouts.dataset_layout("got10k"), tmp_path, tmp_path, split="votval")
    told = findings.examples["sequences missing"][0].detail
    assert told == "1,248 of the published 1,249 are missing: download or unpack them"


def test_a_report_that_cannot_be_written_is_said_before_the_work(vot, tmp_path, capsys):
    for part in (["check", "vot"], ["stats", "vot"]):
        arguments = ["--root", str(vot), "--json", str(tmp_path / "no" / "report.json")]
        assert cli.main(["data", *part, *arguments, "--cache", str(tmp_path / "cache")]) == 1
        assert f"there is no folder {tmp_path / 'no'}" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_a_split_that_is_not_there_is_no_fault_unless_it_was_asked_for(tmp_path, capsys):
    miniature.coco(tmp_path / "coco")
    (tmp_path / "coco" / "annotations" / "instances_val2017.json").unlink()
    arguments = ["data", "check", "coco", "--root", str(tmp_path), "--cache", str(tmp_path / "cache")]
    assert cli.main(arguments) == 0
    assert "COCO 2017 val: not checked: " in capsys.readouterr().out
    assert cli.main([*arguments, "--split", "val"]) == 1
    assert capsys.readouterr().err.startswith(f"relo: {tmp_path / 'coco'}: no annotations/instances_val2017.json")


def test_an_image_that_several_objects_share_is_counted_once(tmp_path):
    miniature.coco(tmp_path)
    path = tmp_path / "train2017" / "000000000100.jpg"  # of two objects
    path.write_bytes(path.read_bytes()[:-300])
    findings, found = counts(layouts.dataset_layout("coco"), tmp_path, tmp_path, split="train")
    assert found == {"undecodable image": 1} and findings.scanned == 3


def test_packed_archives_alone_are_one_line(tmp_path, capsys):
    (tmp_path / "airplane.zip").write_bytes(b"PK")
    assert cli.main(["data", "check", "lasot", "--root", str(tmp_path)]) == 1
    assert "1 archives such as airplane.zip: unpack them there" in capsys.readouterr().err


def test_a_video_whose_frames_change_size_is_noted(vot, tmp_path):
    path = vot / "bag" / "color" / "00000006.jpg"
    cv2.imwrite(str(path), np.zeros((20, 30, 3), np.uint8))
    findings, found = counts(layouts.dataset_layout("vot"), vot, tmp_path)
    assert found["frame size changes"] == 1 and not findings.fatal("frame size changes")
    assert "96 x 72 and 30 x 20" in findings.examples["frame size changes"][0].detail


def test_images_of_half_the_size_are_seen_in_a_sample(vot, tmp_path):
    """Boxes of frames that were not decoded are compared too."""
    for path in (vot / "ball1").glob("*.jpg"):
        cv2.imwrite(str(path), np.zeros((18, 24, 3), np.uint8))
    findings, found = counts(layouts.dataset_layout("vot"), vot, tmp_path, frames="sample")
    boxes = miniature.walk(seed=1).round()
    outside = int(((boxes[:, 0] >= 24) | (boxes[:, 1] >= 18)).sum())
    assert outside > 5 and findings.examples["box outside the image"][0].detail.startswith(f"{outside} of 24 boxes")


def test_any_folder_of_sequences_is_checked_the_same_way(tmp_path, capsys):
    for name in ("a", "b", "c", "d"):
        miniature.write_frames(tmp_path / "s" / name / "img", miniature.walk())
        (tmp_path / "s" / name / "groundtruth.txt").write_text(miniature.lines(miniature.walk()))
    replace_line(tmp_path / "s" / "b" / "groundtruth.txt", 1, "0,0,0,0")
    (tmp_path / "s" / "c" / "img" / "00000002.jpg").unlink()
    (tmp_path / "s" / "d" / "groundtruth.txt").rename(tmp_path / "s" / "d" / "boxes.txt")
    findings, found = counts(FOLDER, tmp_path / "s", tmp_path, split="all")
    assert found == {"no first box": 1, "boxes and frames differ": 1, "unreadable annotation": 1}
    assert len(findings.dataset) == 1
    cache = ["--cache", str(tmp_path / "cache")]
    assert cli.main(["data", "check", "folder", "--root", str(tmp_path / "s" / "a"), *cache]) == 0
    assert cli.main(["data", "check", "folder", "--root", str(tmp_path / "s"), *cache]) == 1
    out = capsys.readouterr().out
    assert "b/groundtruth.txt: the first box [0.0, 0.0, 0.0, 0.0] has no area" in out


def test_nothing_usable_is_still_a_table(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "groundtruth.txt").write_text("1,2,3,4\n")
    findings, found = counts(FOLDER, tmp_path, tmp_path, split="all")
    assert found == {"no frames": 1} and findings.scanned == 0


def test_stats_of_all_that_is_below_a_root(tmp_path, capsys):
    miniature.coco(tmp_path / "coco")
    miniature.lasot(tmp_path / "LaSOTBenchmark")
    (tmp_path / "notes").mkdir()
    arguments = ["data", "stats", "--root", str(tmp_path), "--cache", str(tmp_path / "cache")]
    assert cli.main([*arguments, "--json", str(tmp_path / "stats.json")]) == 0
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
    assert cli.main([*arguments[:4], "--cache", str(tmp_path / "cache"), "lasot"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_stats_are_of_visible_boxes(tmp_path):
    miniature.vot(tmp_path)  # NaN where the target is away
    ((row,), absent) = stats.describe(layouts.dataset_layout("vot"), tmp_path, tmp_path / "cache")
    assert not absent and row["visible_share"] == round(68 / 72, 4)
    assert all(10 < v < 30 for v in row["box_side_px"].values())


def test_stats_without_a_dataset_is_one_line(tmp_path, capsys, monkeypatch):
    assert cli.main(["data", "stats", "--root", str(tmp_path)]) == 1
    assert "no dataset below it (folders such as " in capsys.readouterr().err
    monkeypatch.delenv("RELO_DATA_DIR", raising=False)
    assert cli.main(["data", "stats"]) == 1
    assert "RELO_DATA_DIR" in capsys.readouterr().err


def test_stats_say_which_split_they_do_not_count(tmp_path, capsys):
    miniature.got10k(tmp_path / "GOT-10k")
    (tmp_path / "GOT-10k" / "val" / "list.txt").unlink()
    assert cli.main(["data", "stats", "got10k", "--root", str(tmp_path), "--cache", str(tmp_path / "cache")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in said[1:5]] == ["vottrain", "votval", "train", "test"]
    assert said[-1].startswith("GOT-10k val: not counted: ") and "the list of sequences is missing" in said[-1]
