"""Whole numbers or fractions: judged by all files of a tracker, so that chance decides nothing."""

import numpy as np
import pytest

from relo_jax.eval.results.box_kinds import FLOAT, MIXED, UNKNOWN, WHOLE, box_kind

FLOATS = np.linspace([10, 10, 20, 20], [15.5, 12.25, 21, 20], 9)
MOVES, STAYS = np.trunc(FLOATS), np.tile([10.0, 10, 20, 20], (9, 1))
GIVEN = np.concatenate([[[10.3, 10.4, 20.5, 20.6]], MOVES[1:]])  # a true first box, and truncated ones


@pytest.mark.parametrize(
    ("boxes", "kind"),
    [
        ({"a": FLOATS}, FLOAT),
        ({"a": MOVES, "b": STAYS}, WHOLE),
        ({"a": GIVEN}, WHOLE),  # the first box was given
        ({"a": FLOATS, "b": STAYS}, FLOAT),  # the box that never moves
        ({"a": FLOATS, "b": np.concatenate([STAYS, MOVES[[4, 8]]])}, FLOAT),  # and one that hardly moves
        ({"a": FLOATS, "b": MOVES[:1]}, FLOAT),  # one frame
        ({"a": FLOATS, "b": MOVES[:2]}, FLOAT),
        ({"a": STAYS, "b": MOVES[:1]}, UNKNOWN),
        ({"a": np.concatenate([FLOATS[:1], STAYS])}, UNKNOWN),
        ({str(k): MOVES[[0, k]] for k in range(1, 9)}, WHOLE),  # short sequences together
        ({"a": STAYS, "b": FLOATS, "c": MOVES}, MIXED),
        ({}, UNKNOWN),
    ],
)
def test_the_kind_of_a_trackers_boxes(boxes, kind):
    assert box_kind(boxes).kind == kind


def test_a_sequence_of_each_kind_is_named():
    found = box_kind({"a": STAYS, "b": FLOATS, "c": MOVES, "d": MOVES, "e": FLOATS})
    assert (found.whole, found.fractions) == ("c", "b")
