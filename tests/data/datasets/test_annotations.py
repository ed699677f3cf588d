"""Annotation files are read with any separators and line ends, and broken lines are named."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.data.datasets import annotations
from relo_jax.errors import UserError

BOXES = [[10.5, 20, 30, 40], [12, 22, 31, 39], [14, 24, 32, 38.25]]


@pytest.mark.parametrize("separator", [",", "\t", " ", ", ", ";", " \t"])
def test_numbers_may_be_separated_by_commas_tabs_or_blanks(separator, tmp_path):
    (tmp_path / "boxes.txt").write_text("\n".join(separator.join(f"{v:g}" for v in box) for box in BOXES))
    assert annotations.read_boxes(tmp_path / "boxes.txt").tolist() == BOXES


def test_polygons_become_their_bounding_boxes(tmp_path):
    (tmp_path / "groundtruth.txt").write_text("10,5,30,8,28,25,9,20\n1 1 4 1 4 3 1 3\n")
    assert annotations.read_boxes(tmp_path / "groundtruth.txt").tolist() == [[9, 5, 21, 20], [1, 1, 3, 2]]


@given(st.text("0123456789.-+eNaNinf_,; \t\r\n\x0b", max_size=60))
@settings(deadline=None, max_examples=400)
def test_the_fast_parser_agrees_with_the_careful_one_or_declines(text):
    text = text.rstrip()
    fast = annotations._parse_plain(text) if text else None
    if fast is not None:
        assert np.array_equal(fast, annotations._parse_lines(Path("x"), text), equal_nan=True)


@given(
    st.lists(st.lists(st.floats(-1e6, 1e6, width=32) | st.just(float("nan")), min_size=4, max_size=4), min_size=1),
    st.sampled_from([",", " ", "\t", ";", ", ", " ,\t"]),
    st.sampled_from(["\n", "\r\n", ",\n"]),
)
@settings(deadline=None, max_examples=60)
def test_numbers_are_read_as_they_were_written(rows, separator, end):
    text = "".join(separator.join(map(repr, row)) + end for row in rows).rstrip()
    for parsed in (annotations._parse_plain(text), annotations._parse_lines(Path("x"), text)):
        assert np.array_equal(parsed, np.array(rows), equal_nan=True)


@pytest.mark.parametrize("text", ["1,2,3\n4,5,6,7,8", "1,2\n3,4\n", "1,2,3,4\n\n5,6,7,8", "1,2,3,4,5,6\n7,8"])
def test_surplus_numbers_of_one_line_do_not_complete_another(text, tmp_path):
    (tmp_path / "groundtruth.txt").write_text(text)
    with pytest.raises(UserError, match=r"groundtruth.txt, line [12]: .* is neither x,y,w,h nor"):
        annotations.read_boxes(tmp_path / "groundtruth.txt")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(end, tmp_path):
    (tmp_path / "groundtruth.txt").write_bytes(f"\ufeff1,2,3,4{end}5,6,7,8{end}{end}".encode())
    assert annotations.read_boxes(tmp_path / "groundtruth.txt").tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1,0.2,0.3,0.4\n0.1,0.2,0.31,0.4", "its boxes are fractions of the frame"),
        ("10,50;20,25;30,00;40,75\n" * 2, "line 1: '10,50;20,25;30,00;40,75' has decimal commas"),
        ("10,5 20,5 30,5 40,5", "line 1: .* has decimal commas"),
        ("1,2,3,4\n1,2,3,4_0", "line 2: .* is neither"),
        ("1,2,3,\u0664", "line 1: .* is neither"),
    ],
)
def test_numbers_of_another_kind_are_refused(text, message, tmp_path):
    (tmp_path / "groundtruth.txt").write_text(text)
    with pytest.raises(UserError, match=rf"groundtruth.txt.*{message}"):
        annotations.read_boxes(tmp_path / "groundtruth.txt")


def test_a_target_that_is_a_point_or_absent_is_no_fraction(tmp_path):
    (tmp_path / "groundtruth.txt").write_text("0,0,0,0\nNaN,NaN,NaN,NaN\n")
    assert annotations.read_boxes(tmp_path / "groundtruth.txt").shape == (2, 4)


@pytest.mark.parametrize("text", ["0,1,0.9", "1 nan", "0,1_0", "inf", "1,\u0664", "1e30"])
def test_flags_are_whole_numbers(text, tmp_path):
    (tmp_path / "flags.txt").write_text(text)
    with pytest.raises(UserError, match=r"flags.txt, number \d: .* expected one whole number per frame"):
        annotations.read_flags(tmp_path / "flags.txt")
    (tmp_path / "flags.txt").write_text("0,1,1.0\n0")
    assert annotations.read_flags(tmp_path / "flags.txt").tolist() == [0, 1, 1, 0]


def test_corners_are_told_from_sizes():
    steps = np.arange(8.0)[:, None]
    corners = np.hstack([[[10, 20]] + steps * [8, 5], [[40, 45]] + steps * [8, 5]])
    assert annotations.may_be_corners(corners)
    sizes = np.hstack([corners[:, :2], np.full((8, 2), 200) + np.random.default_rng(0).normal(size=(8, 2))])
    assert not annotations.may_be_corners(sizes)  # a large target near the corner that moves
    assert not annotations.may_be_corners(np.full((8, 4), [1, 2, 30, 40.0]))  # one that stands still
