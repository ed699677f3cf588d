"""Trackers are compared by boxes of one kind, or the report says that they are not."""

from pathlib import Path

import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.eval.report.box_rule import choose
from relo_jax.eval.results.box_kinds import FLOAT, MIXED, UNKNOWN, WHOLE
from relo_jax.eval.tracker_results import TrackerResults

FLOATS = np.linspace([10, 10, 20, 20], [15.5, 12.25, 21, 20], 9)
BOXES = {
    WHOLE: {"a": np.trunc(FLOATS), "b": np.trunc(FLOATS)},
    FLOAT: {"a": FLOATS, "b": FLOATS},
    MIXED: {"a": FLOATS, "b": np.trunc(FLOATS)},
    UNKNOWN: {"a": np.tile(np.trunc(FLOATS[:1]), (9, 1)), "b": np.trunc(FLOATS[:1])},
}


def tracker(kind):
    files = {name: Path(f"results/{name}.txt") for name in BOXES[kind]}
    return TrackerResults(kind, Path("results"), files, BOXES[kind])


def test_boxes_of_one_kind_are_measured_as_they_are():
    floats = choose([tracker(FLOAT), tracker(UNKNOWN)])
    assert not floats.whole and floats.name == "float boxes" and floats.warning() is None
    assert floats.sentence().startswith("Float boxes, as in the files.")
    whole = choose([tracker(WHOLE), tracker(UNKNOWN)])
    assert whole.whole and whole.name == "whole-number boxes" and whole.warning() is None
    assert whole.sentence().startswith("Whole-number boxes, as in the files")


def test_boxes_too_few_to_tell_are_truncated_on_request():
    rule = choose([tracker(UNKNOWN)], "whole")
    assert rule.whole and rule.sentence().startswith("Whole-number boxes: all are truncated")
    assert choose([tracker(UNKNOWN)]).sentence() == "Float boxes."


def test_boxes_of_two_kinds_are_truncated_and_it_is_said():
    rule = choose([tracker(FLOAT), tracker(WHOLE)])
    assert rule.whole and rule.name == "whole-number boxes" and rule.warning() == rule.sentence()
    assert "all are truncated, because the files differ (fractions: fractions; whole numbers: whole" in rule.sentence()
    assert rule.summary()["files"] == {FLOAT: FLOAT, WHOLE: WHOLE}


def test_the_user_may_choose_and_an_unfair_choice_is_marked():
    asked = choose([tracker(FLOAT)], "whole")
    assert asked.whole and asked.warning() is None and "all are truncated" in asked.sentence()
    unfair = choose([tracker(FLOAT), tracker(WHOLE)], "float")
    assert not unfair.whole and unfair.name == "float boxes and whole-number boxes"
    assert unfair.warning().startswith("Not a fair comparison: --boxes float")
    assert choose([tracker(WHOLE)], "float").name == "whole-number boxes"  # they have no fractions to keep


def test_files_of_two_runs_are_refused_unless_the_user_chooses():
    with pytest.raises(UserError) as caught:
        choose([tracker(FLOAT), tracker(MIXED)])
    assert str(caught.value) == (
        "some files of each: results of two runs? results/b.txt has whole numbers, a.txt fractions: evaluate again "
        "into a new folder, or truncate all with --boxes whole"
    )
    assert choose([tracker(MIXED)], "whole").whole
    assert choose([tracker(MIXED)], "float").warning().startswith("Not a fair comparison")
