"""UAV123: sequences share folders of frames."""

import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets import layouts, split_lists
from relo_jax.errors import UserError
from tests.data.opened import by_name, frame_file, hidden, names, opened


def test_sequences_share_a_folder_of_frames(roots, tmp_path):
    dataset = opened("uav123", "test", roots, tmp_path)
    sequences = by_name(dataset)
    first, second = sequences["truck4_1"], sequences["truck4_2"]
    assert (len(first), len(second), len(sequences["uav6"])) == (577, 685, 109)
    assert frame_file(first, 0) == "truck4/000001.jpg" and frame_file(second, 684) == "truck4/001261.jpg"
    assert first.where(576) == second.where(0)  # the frame where one ends and the other begins
    assert hidden(second) == list(range(124, 129))  # NaN from frame 701 on
    assert [str(p) for p in dataset.problems] == [
        "anno/UAV123/truck4_2.txt: 5 boxes are NaN, the first in line 125: never trained on"
    ]


def test_a_missing_frame_in_a_shared_folder_is_named(tmp_path):
    miniature.uav123(tmp_path)
    (tmp_path / "data_seq" / "UAV123" / "truck4" / "000900.jpg").unlink()
    dataset = opened("uav123", "test", tmp_path, tmp_path / "cache")
    assert set(names(dataset)) == {"truck4_1", "uav6"} and "685 boxes for 684 frames" in dataset.summary()


def test_the_edition_at_10_frames_a_second_has_a_split_of_its_own(tmp_path):
    """Only names and boxes matter here, so the images are empty. The x of a box is the number of its frame."""
    frames, boxes = tmp_path / "data_seq" / "UAV123_10fps" / "bird1", tmp_path / "anno" / "UAV123_10fps"
    frames.mkdir(parents=True)
    boxes.mkdir(parents=True)
    for number in range(1, 900):
        (frames / f"{number:06d}.jpg").touch()
    spans = {"bird1_1": (1, 85), "bird1_2": (259, 493), "bird1_3": (525, 813)}
    for name, (first, last) in spans.items():
        (boxes / f"{name}.txt").write_text("".join(f"{k},5,20,30\n" for k in range(first, last + 1)))
    dataset = opened("uav123", "test_10fps", tmp_path, tmp_path / "cache")
    assert {s.name: (frame_file(s, 0)[-10:-4], frame_file(s, -1 + len(s))[-10:-4]) for s in dataset} == {
        name: (f"{first:06d}", f"{last:06d}") for name, (first, last) in spans.items()
    }
    assert all(int(frame_file(s, 7)[-10:-4]) == s.boxes_xywh[7, 0] for s in dataset)
    rows = [line.split()[2:] for line in split_lists.official("uav123", "test.txt")]
    assert all((int(number) - 1) % 3 == 0 for row in rows for number in row if row[0] != "1"), "every third frame"


@pytest.mark.parametrize("split, other", [("test", "test_10fps"), ("test_10fps", "test")])
def test_one_edition_is_not_read_as_the_other(split, other, tmp_path):
    folder = {"test": "UAV123", "test_10fps": "UAV123_10fps"}
    (tmp_path / "UAV123" / "data_seq" / folder[other]).mkdir(parents=True)
    with pytest.raises(UserError) as error:
        opened("uav123", split, tmp_path, tmp_path / "cache")
    assert str(error.value) == (
        f"{tmp_path}/UAV123: no data_seq/{folder[split]}, but data_seq/{folder[other]}, another benchmark: read its "
        f"split {other}, or give the folder that has {folder[split]}"
    )


def test_the_download_at_10_frames_a_second_is_found_by_its_name(tmp_path):
    miniature.uav123(tmp_path / "UAV123_10fps", range(570, 590))
    layout = layouts.dataset_layout("uav123")
    assert layout.find_root(tmp_path) == tmp_path / "UAV123_10fps"
    (tmp_path / "uav123").mkdir()
    assert layout.find_root(tmp_path) == tmp_path / "uav123", "the usual folder goes first"
