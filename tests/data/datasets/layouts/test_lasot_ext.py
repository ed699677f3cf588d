"""LaSOT_ext: its own list and LaSOT's flags."""

import numpy as np

from relo_jax.data import miniature
from tests.data.opened import hidden, names, opened


def test_either_flag_hides_a_frame_and_other_classes_are_ignored(roots, tmp_path):
    test = opened("lasot_ext", "test", roots, tmp_path)
    assert names(test) == ["atv-1", "atv-10", "wingsuit-2"] and test.missing == 147
    assert hidden(test[0]) == [4, 5, 6] and hidden(test[1]) == []
    assert np.array_equal(test[1].boxes_xywh, miniature.walk(seed=1)), "boxes separated by tabs"
