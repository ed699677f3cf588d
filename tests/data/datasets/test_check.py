"""Checks of a dataset: every kind of damage is counted and named with its file."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets import check, layouts
from relo_jax.data.datasets.folder import LAYOUT as FOLDER

LASOT, VOT = layouts.dataset_layout("lasot"), layouts.dataset_layout("vot")


def checked(layout, root, tmp_path, frames="all", split="test"):
    """Findings of one split, and kind of problem -> number."""
    (findings,), _ = check.check(layout, [split], root, tmp_path / "cache", frames)
    return findings, dict(findings.counts)


def replace_lines(path: Path, lines: dict[int, str]) -> None:
    text = path.read_text().splitlines()
    path.write_text("".join(f"{lines.get(number, line)}\n" for number, line in enumerate(text, 1)))


@pytest.fixture
def vot(tmp_path):
    """A sound dataset without a published number of sequences."""
    miniature.vot(tmp_path / "VOT")
    for name, copies in (("bag", {6: 7}), ("ball1", {8: 9, 1: 2}), ("ants1", {4: 5})):  # of lines without a box
        path = tmp_path / "VOT" / name / "groundtruth.txt"
        text = path.read_text().splitlines()
        replace_lines(path, {number: text[other - 1] for number, other in copies.items()})
    return tmp_path / "VOT"


def test_a_sound_dataset_has_no_findings(vot, tmp_path):
    findings, counts = checked(VOT, vot, tmp_path, frames="sample")
    assert counts == {} and findings.scanned == 15 and len(findings.dataset) == 3


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_all_frames_of_every_miniature_are_read_and_only_sequences_are_missing(name, tmp_path):
    miniature.MAKERS[name](tmp_path / "root")
    layout = layouts.dataset_layout(name)
    splits, unopened = check.check(layout, [], tmp_path / "root", tmp_path / "cache", "all")
    assert [findings.dataset.split for findings in splits] == list(layout.splits) and not unopened
    for findings in splits:
        assert findings.scanned == findings.dataset.lengths.sum() > 0
        usual = {"sequences missing", "missing part", "NaN boxes", "last frame has no box", "another list"}
        assert set(findings.kinds) <= usual
        assert ("sequences missing" in findings.kinds) == (layout.splits[findings.dataset.split] is not None)


def test_every_kind_of_damage_is_counted_and_named(vot, tmp_path):
    """All of it at once, in one dataset."""
    bag, ball = vot / "bag", vot / "ball1"
    for number in (3, 9):  # cut off, as by a full disk
        path = bag / "color" / f"{number:08d}.jpg"
        path.write_bytes(path.read_bytes()[:-200])
    (bag / "color" / "00000011.jpg").write_bytes(b"<html>404</html>")
    (bag / "color" / "00000012.jpg").write_bytes(b"")
    outside = {6: "200,10,20,20", 7: "5,-30,20,20", 8: "-30,5,20,20"}
    replace_lines(ball / "groundtruth.txt", {4: "NaN,NaN,NaN,NaN", **outside})
    replace_lines(bag / "groundtruth.txt", {8: "5,90,20,20"})
    (vot / "ants1" / "color" / "00000005.jpg").unlink()
    miniature.write_frames(vot / "none", miniature.walk())
    for name, text in (("none", "0\n" * miniature.FRAMES), ("empty", "1,2,3,4\n"), ("cut", "1,2,3,4\n1,2,3\n")):
        (vot / name).mkdir(exist_ok=True)
        (vot / name / "groundtruth.txt").write_text(text)
    (vot / "list.txt").write_text("bag\nball1\nants1\nnone\nempty\ncut\n")
    split = checked(VOT, vot, tmp_path)[0].as_json()
    assert [(p["kind"], p["fatal"], p["count"]) for p in split["problems"]] == [
        ("undecodable image", True, 4),
        ("boxes and frames differ", True, 1),
        ("no frames", True, 1),
        ("target never shows", True, 1),
        ("unreadable annotation", True, 1),
        ("NaN boxes", False, 2),
        ("box outside the image", False, 2),
    ]
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


def test_a_sample_includes_the_first_and_the_last_frame(vot, tmp_path):
    for number in (1, 24):
        (vot / "bag" / "color" / f"{number:08d}.jpg").write_bytes(b"")
    findings, counts = checked(VOT, vot, tmp_path, frames="sample")
    assert counts == {"undecodable image": 2} and findings.scanned == 15


def test_missing_sequences_are_counted_with_a_name_and_archives(tmp_path):
    miniature.lasot(tmp_path / "LaSOT")
    missing = ".: 278 of the published 280 are missing, such as airplane-9"
    findings, counts = checked(LASOT, tmp_path, tmp_path)
    assert counts == {"sequences missing": 1}
    assert str(findings.examples["sequences missing"][0]) == f"{missing}: download or unpack them"
    (tmp_path / "LaSOT" / "basketball.zip").write_bytes(b"PK")
    (tmp_path / "LaSOT" / "airplane" / "airplane-1" / "img" / "00000003.jpg").unlink()
    findings, counts = checked(LASOT, tmp_path, tmp_path)
    assert counts == {"sequences missing": 1, "boxes and frames differ": 1}, "airplane-1 is broken, not missing"
    packed = f"{missing}; unpack 1 archives such as basketball.zip"
    assert str(findings.examples["sequences missing"][0]) == packed


def test_a_list_of_numbers_gives_no_name(tmp_path):
    miniature.got10k(tmp_path)
    findings, _ = checked(layouts.dataset_layout("got10k"), tmp_path, tmp_path, split="votval")
    detail = findings.examples["sequences missing"][0].detail
    assert detail == "1,248 of the published 1,249 are missing: download or unpack them"


def test_an_image_that_several_objects_share_is_counted_once(tmp_path):
    miniature.coco(tmp_path)
    path = tmp_path / "train2017" / "000000000100.jpg"  # of two objects
    path.write_bytes(path.read_bytes()[:-300])
    findings, counts = checked(layouts.dataset_layout("coco"), tmp_path, tmp_path, split="train")
    assert counts == {"undecodable image": 1} and findings.scanned == 3


def test_a_video_whose_frames_change_size_is_noted(vot, tmp_path):
    path = vot / "bag" / "color" / "00000006.jpg"
    cv2.imwrite(str(path), np.zeros((20, 30, 3), np.uint8))
    findings, counts = checked(VOT, vot, tmp_path)
    assert counts["frame size changes"] == 1 and not findings.fatal("frame size changes")
    assert "96 x 72 and 30 x 20" in findings.examples["frame size changes"][0].detail


def test_boxes_of_frames_outside_the_sample_are_compared_too(vot, tmp_path):
    for path in (vot / "ball1").glob("*.jpg"):
        cv2.imwrite(str(path), np.zeros((18, 24, 3), np.uint8))
    findings, _ = checked(VOT, vot, tmp_path, frames="sample")
    boxes = miniature.walk(seed=1).round()
    outside = int(((boxes[:, 0] >= 24) | (boxes[:, 1] >= 18)).sum())
    assert outside > 5 and findings.examples["box outside the image"][0].detail.startswith(f"{outside} of 24 boxes")


def test_any_folder_of_sequences_is_checked_the_same_way(tmp_path):
    for name in ("a", "b", "c", "d"):
        miniature.write_frames(tmp_path / "s" / name / "img", miniature.walk())
        (tmp_path / "s" / name / "groundtruth.txt").write_text(miniature.lines(miniature.walk()))
    replace_lines(tmp_path / "s" / "b" / "groundtruth.txt", {1: "0,0,0,0"})
    (tmp_path / "s" / "c" / "img" / "00000002.jpg").unlink()
    (tmp_path / "s" / "d" / "groundtruth.txt").rename(tmp_path / "s" / "d" / "boxes.txt")
    findings, counts = checked(FOLDER, tmp_path / "s", tmp_path, split="all")
    assert counts == {"no first box": 1, "boxes and frames differ": 1, "unreadable annotation": 1}
    assert len(findings.dataset) == 1
    missing, unlike = (str(findings.examples[kind][0]) for kind in ("unreadable annotation", "boxes and frames differ"))
    assert missing == "d/groundtruth.txt: there is no such file; is it boxes.txt? Then rename it"
    assert unlike == "c/groundtruth.txt: 24 boxes for 23 frames in c/img: write one line for each frame"
    first_box = "b/groundtruth.txt: the first box [0.0, 0.0, 0.0, 0.0] has no area, and tracking starts from it"
    assert str(findings.examples["no first box"][0]) == first_box
    assert checked(FOLDER, tmp_path / "s" / "a", tmp_path, split="all")[1] == {}


def test_a_folder_without_an_annotation_is_checked_again_after_its_remedy(tmp_path):
    for name in ("a", "b"):
        miniature.write_frames(tmp_path / "s" / name / "img", miniature.walk())
        (tmp_path / "s" / name / "groundtruth.txt").write_text(miniature.lines(miniature.walk()))
    (tmp_path / "s" / "b" / "groundtruth.txt").unlink()
    details = []
    for file in ("notes.txt", "gt.txt", "groundtruth.txt"):
        findings, _ = checked(FOLDER, tmp_path / "s", tmp_path, split="all")
        details += [p.detail for p in findings.examples.get("unreadable annotation", ())]
        for text in (tmp_path / "s" / "b").glob("*.txt"):
            text.unlink()
        (tmp_path / "s" / "b" / file).write_text(miniature.lines(miniature.walk()))
    hints = [": write one line for each frame", "; is it notes.txt? Then rename it", "; is it gt.txt? Then rename it"]
    assert details == [f"there is no such file{hint}" for hint in hints]
    assert checked(FOLDER, tmp_path / "s", tmp_path, split="all")[1] == {}


def test_a_dataset_without_usable_sequences_still_has_findings(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "groundtruth.txt").write_text("1,2,3,4\n")
    findings, counts = checked(FOLDER, tmp_path, tmp_path, split="all")
    assert counts == {"no frames": 1} and findings.scanned == 0
