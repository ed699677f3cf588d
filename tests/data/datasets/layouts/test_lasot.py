"""LaSOT: both flag files hide frames."""

import numpy as np

from tests.data.opened import hidden, names, opened


def test_flags_hide_occluded_frames_and_frames_out_of_view(roots, tmp_path):
    test, train = (opened("lasot", split, roots, tmp_path) for split in ("test", "train"))
    assert names(test) == ["airplane-1", "bear-2"] and names(train) == ["airplane-2", "bear-1"]
    assert hidden(test[0]) == [5, 6, 7, 10, 15], "the box of the last has no area"
    assert np.flatnonzero(~test[0].counted).tolist() == [5, 6, 7, 10], "no flag hides the last"
    assert np.isfinite(test[0].boxes_xywh).all() and test[0].category == "airplane"
    assert test.missing == 278 and "278 of the published 280 are missing" in test.summary()
