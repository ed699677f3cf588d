"""Folders of sequences in the usual forms, and error messages for broken ones."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from relo_jax.data.datasets.folder import LAYOUT, read_folder, read_sequence
from relo_jax.errors import UserError
from relo_jax.eval.benchmarks import open_benchmark
from relo_jax.media.images import list_images, read_image

BOXES = np.array([[10.5, 20, 30, 40], [12, 22, 31, 39], [14, 24, 32, 38.25]])


def write_sequence(folder, lines, frames=3, images="img", text="groundtruth.txt", suffix=".jpg"):
    (folder / images).mkdir(parents=True, exist_ok=True)
    for k in range(frames):
        image = np.full((48, 64, 3), 40 * (k + 1), np.uint8)
        image[..., 2] = 200  # red in OpenCV's order
        cv2.imwrite(str(folder / images / f"{k + 1:04d}{suffix}"), image)
    (folder / text).write_text("\n".join(lines) + "\n")
    return folder


LINES = [",".join(f"{v:g}" for v in box) for box in BOXES]


@pytest.mark.parametrize("images, text", [("img", "groundtruth_rect.txt"), (".", "groundtruth.txt")])
def test_images_and_annotation_may_have_other_names(images, text, tmp_path):
    s = read_sequence(write_sequence(tmp_path / "s", LINES, images=images, text=text, suffix=".png"))
    assert s.name == "s" and len(s) == 3 and np.array_equal(s.boxes_xywh, BOXES) and s.visible.all()
    frame = s.read_frame(1)
    assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
    assert frame[0, 0].tolist() == [200, 80, 80]  # RGB


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    for name in ("frame10.jpg", "frame9.jpg", "frame100.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [p.name for p in list_images(tmp_path)] == ["frame9.jpg", "frame10.jpg", "frame100.jpg"]


def test_one_based_boxes_are_shifted_by_one_pixel(tmp_path):
    s = read_sequence(write_sequence(tmp_path / "s", LINES), one_based=True)
    assert np.array_equal(s.boxes_xywh, BOXES - [1, 1, 0, 0])


def test_frames_without_a_box_are_not_visible(tmp_path):
    s = read_sequence(write_sequence(tmp_path / "s", [LINES[0], "NaN,NaN,NaN,NaN", "5,5,0,0"]))
    assert s.visible.tolist() == [True, False, False]
    assert np.isnan(s.boxes_xywh[1]).all()


@pytest.mark.parametrize(
    "lines, words",
    [
        (["nan,nan,nan,nan", "1,2,3,4", "1,2,3,4"], ["line 1", "no area"]),
        (["1,2,3,4", "1,2,3", "1,2,3,4"], ["line 2", "1,2,3"]),
        (["1,2,3,4", "one,2,3,4", "1,2,3,4"], ["line 2", "one"]),
        (["1,2,3,4", "", "1,2,3,4"], ["line 2"]),
        (["1,2,3,4", "1,2,3,4"], ["2 boxes for 3 frames: write one line for each frame"]),
        ([], ["no boxes"]),
    ],
)
def test_a_broken_annotation_is_named_with_its_line(tmp_path, lines, words):
    folder = write_sequence(tmp_path / "s", lines)
    with pytest.raises(UserError) as error:
        read_sequence(folder)
    message = str(error.value)
    assert str(folder / "groundtruth.txt") in message and "\n" not in message
    assert all(word in message for word in words), message


def test_an_image_that_does_not_decode_is_named(tmp_path):
    folder = write_sequence(tmp_path / "s", LINES)
    (folder / "img" / "0002.jpg").write_bytes(b"not an image")
    s = read_sequence(folder)
    s.read_frame(0)
    with pytest.raises(UserError, match="0002.jpg: does not decode"):
        s.read_frame(1)
    with pytest.raises(UserError, match="no such image"):
        read_image(tmp_path / "none.jpg")


def test_missing_parts_are_named(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no sequence in it"):
        read_folder(tmp_path)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "groundtruth.txt").write_text("1,2,3,4\n")
    with pytest.raises(UserError, match="no images"):
        read_folder(tmp_path)
    with pytest.raises(UserError, match="has no groundtruth.txt"):
        read_sequence(tmp_path)


def test_a_folder_of_frames_without_an_annotation_is_reported(tmp_path, capsys):
    for name in ("a", "b"):
        write_sequence(tmp_path / name, LINES)
    (tmp_path / "docs").mkdir()
    (tmp_path / "b" / "groundtruth.txt").rename(tmp_path / "b" / "boxes.txt")
    assert [s.name for s in read_folder(tmp_path).sequences] == ["a"]
    message = "has frames but no groundtruth.txt or groundtruth_rect.txt; is it boxes.txt? Then rename it"
    assert capsys.readouterr().err == f"left out: {tmp_path / 'b'}: {message}\n"


def test_a_folder_whose_annotations_all_have_another_name_says_so(tmp_path):
    folder = write_sequence(tmp_path / "s" / "a", LINES)
    (folder / "groundtruth.txt").rename(folder / "gt.txt")
    hint = r"no sequence in it \(.*\); a has frames but neither file; is it gt.txt\? Then rename it"
    for root in (tmp_path / "s", folder):
        for read in (read_folder, lambda root: LAYOUT.entries(root, "all")):
            with pytest.raises(UserError, match=hint):
                read(root)


@pytest.mark.parametrize("images", ["img", "imgs", "frames", "color", "img1", "."])
def test_other_names_of_files_and_folders_are_read(tmp_path, images):
    folder = write_sequence(tmp_path / "s", LINES, images=images)
    (folder / "groundtruth.txt").rename(folder / "Groundtruth.TXT")
    (folder / "masks").mkdir()
    (folder / images / "0000.jpg").mkdir()  # a folder is no frame
    assert len(read_sequence(folder)) == len(LINES)
    (entry,) = LAYOUT.entries(tmp_path, "all")
    (annotation,) = LAYOUT.read(tmp_path, entry)
    assert annotation.usable and len(annotation.frames) == len(LINES)


def test_a_broken_sequence_is_left_out_and_counted(tmp_path, capsys):
    for name in ("a", "b", "c"):
        write_sequence(tmp_path / name, LINES)
    (tmp_path / "b" / "groundtruth.txt").write_text("1,2,3,4\n")
    folder = read_folder(tmp_path)
    assert [s.name for s in folder] == ["a", "c"]
    assert [line.count("1 boxes for") for line in folder.left_out] == [1]
    assert capsys.readouterr().err.startswith(f"left out: {tmp_path / 'b'}")
    benchmark = open_benchmark("folder", tmp_path)
    assert (benchmark.missing, "1 could not be opened" in benchmark.omissions()[0]) == (1, True)


def test_boxes_that_look_like_corners_are_noted(tmp_path, capsys):
    corners = [f"{10 + 8 * k},{20 + 5 * k},{40 + 8 * k},{45 + 5 * k}" for k in range(6)]
    folder = write_sequence(tmp_path / "s", corners, frames=6)
    read_sequence(folder)
    assert "its boxes look like x1,y1,x2,y2, and are read as x,y,w,h" in capsys.readouterr().err
    (annotation,) = LAYOUT.read(tmp_path, LAYOUT.entries(tmp_path, "all")[0])
    assert [p.kind for p in annotation.problems] == ["boxes may be corners"]


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\): check its permissions"):
        read_folder(tmp_path)


def test_a_folder_holds_sequences_or_is_one(tmp_path):
    for name in ("b", "a"):
        write_sequence(tmp_path / name, LINES)
    (tmp_path / "docs").mkdir()
    assert [s.name for s in read_folder(tmp_path).sequences] == ["a", "b"]
    assert [s.name for s in read_folder(tmp_path / "b").sequences] == ["b"]


def test_real_sequences(shared):
    folder = read_folder(shared / "data" / "otb_mini")
    assert len(folder) == 8
    for s in folder.sequences:
        assert s.visible.all()
        height, width = s.read_frame(0).shape[:2]
        low, high = s.boxes_xywh[:, :2], s.boxes_xywh[:, :2] + s.boxes_xywh[:, 2:]
        assert (low >= -0.5).all() and (high <= (width + 1.5, height + 1.5)).all()
    grey = next(s for s in folder.sequences if s.name == "Freeman1").read_frame(0)
    assert grey.shape[-1] == 3


def test_every_tenth_sequence_is_held_out(tmp_path):
    for number in range(20):
        write_sequence(tmp_path / f"s{number:02d}", LINES)
    folder = read_folder(tmp_path)
    train, held_out = ([s.name for s in folder.split(which)] for which in (True, False))
    assert held_out == ["s09", "s19"] and sorted(train + held_out) == [s.name for s in folder]
