"""UAV123: sequences share folders of frames."""

from relo_jax.data import miniature
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
