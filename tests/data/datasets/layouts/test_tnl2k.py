"""TNL2K: frames of many names, below one of several folders."""

import pytest

from relo_jax.data import miniature
from tests.data.opened import by_name, frame_file, hidden, opened


def test_only_test_sequences_are_read_with_png_and_unusual_names_in_order(roots, tmp_path):
    dataset = opened("tnl2k", "test", roots, tmp_path)
    sequences = by_name(dataset)
    assert set(sequences) == {"Bird_28-Done", "Battle_video_1_done"}
    assert [frame_file(sequences["Battle_video_1_done"], k) for k in (0, 1, 9)] == [
        "imgs/Battle-1.JPG", "imgs/Battle-2.JPG", "imgs/Battle-10.JPG",
    ]  # fmt: skip
    assert hidden(sequences["Bird_28-Done"]) == [6, 7]
    assert "698 of the published 700 are missing" in dataset.summary()


@pytest.mark.parametrize("root", ["TNL2K/TNL2K_test_subset", "TNL2K", "."])
def test_the_dataset_is_found_from_its_folder_or_any_above(root, tmp_path):
    miniature.tnl2k(tmp_path / "TNL2K")
    assert len(opened("tnl2k", "test", tmp_path / root, tmp_path / "cache")) == 2
