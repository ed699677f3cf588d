"""Copies of results as the release writes them."""

import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.eval.results.write import write_release_files

BOXES = {"bee": np.array([[-0.5, 3.99, 10.2, 20.9], [100000.9, 7, 8.5, 9]]), "dog_2": np.array([[1, 2, 3, 4.0]])}


@pytest.mark.parametrize(
    ("dataset", "names"), [("lasot", ("bee", "dog_2")), ("nfs", ("nfs_bee", "nfs_dog_2")), (None, ("bee", "dog_2"))]
)
def test_boxes_are_truncated_and_separated_by_tabs(dataset, names, tmp_path):
    (tmp_path / "bee_time.txt").write_text("0.004667\n0.034553\n")
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / f"{names[0]}.txt").write_text("of before\n")
    out = write_release_files(tmp_path, BOXES, dataset)
    assert out == tmp_path / "release"
    assert (out / f"{names[0]}.txt").read_text() == "0\t3\t10\t20\n100000\t7\t8\t9\n"
    assert (out / f"{names[0]}_time.txt").read_text() == "0.004667\n0.034553\n"
    expected = {f"{names[0]}.txt", f"{names[0]}_time.txt", f"{names[1]}.txt"}  # one has no times
    assert {path.name for path in out.iterdir()} == expected


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "release").write_text("a file")
    with pytest.raises(UserError, match="release cannot be made"):
        write_release_files(tmp_path, BOXES)
