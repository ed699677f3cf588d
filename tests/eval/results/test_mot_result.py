"""A result in MOT's form is read as any other; what it leaves out keeps the last box."""

import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.eval.results.read import read_result

TRUTH = (20.0, 30.0, 40.0, 50.0)


def result(tmp_path, *lines, frames=4):
    (tmp_path / "bird.txt").write_text("".join(f"{line}\n" for line in lines))
    return read_result(tmp_path / "bird.txt", frames, first=TRUTH)


def test_frames_that_are_left_out_keep_the_last_box(tmp_path):
    found = result(tmp_path, "4,7,23,30,40,50,0.5,-1,-1,-1", "1,7,20,30,40,50,1,-1,-1,-1", "2,7,21,30,40,50,1,-1,-1,-1")
    np.testing.assert_array_equal(found.boxes_xywh[:, 0], [20, 21, 21, 23])
    assert found.notes == ("1 of 4 frames have no box: the one before stays",)
    assert result(tmp_path, *(f"{t} 1 20 30 40 50" for t in range(1, 5))).notes == ()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["1,1,20,30,40,50,1", "2,2,20,30,40,50,1"], r"bird.txt: has 2 targets \(ids 1, 2\), a sequence has one"),
        (["2,1,20,30,40,50,1"], "bird.txt: its first box is of frame 2: frame 1 needs the given box"),
        (["1,1,20,30,40,50,1", "6,1,20,30,40,50,1"], "bird.txt: has 6 boxes for 4 frames, 2 too many"),
        (["1,1,20,30,40,50,1", "2,1,20,x,40,50,1"], "bird.txt, line 2: y is 'x', which is not a number"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, lines, said):
    with pytest.raises(UserError, match=said):
        result(tmp_path, *lines)
