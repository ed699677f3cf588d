"""VOT: rectangles, polygons, masks and codes, with or without a list of sequences."""

import itertools
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.data import miniature
from relo_jax.data.datasets.layouts import vot
from relo_jax.errors import UserError
from tests.data.opened import by_name, frame_file, hidden, names, opened


def test_rectangles_polygons_masks_and_codes_are_read(roots, tmp_path):
    sequences = by_name(opened("vot", "test", roots, tmp_path))
    absent = {"bag": [5], "ball1": [0, 7], "ants1": [3]}
    for seed, name in enumerate(("bag", "ball1", "ants1")):
        boxes, visible = miniature.walk(seed=seed).round(), sequences[name].visible
        assert hidden(sequences[name]) == absent[name]
        assert np.array_equal(sequences[name].boxes_xywh[visible], boxes[visible])
    assert "/color/" in sequences["bag"].where(0) and frame_file(sequences["ball1"], 0) == "ball1/00000001.jpg"


def test_without_a_list_every_folder_with_an_annotation_is_a_sequence(tmp_path):
    miniature.vot(tmp_path)
    (tmp_path / "notes").mkdir()
    assert names(opened("vot", "test", tmp_path, tmp_path / "cache")) == ["bag", "ball1", "ants1"]
    (tmp_path / "list.txt").unlink()
    assert names(opened("vot", "test", tmp_path, tmp_path / "cache")) == ["ants1", "bag", "ball1"]


def test_listed_sequences_that_are_missing_are_counted(tmp_path):
    miniature.vot(tmp_path)
    shutil.rmtree(tmp_path / "ball1")
    dataset = opened("vot", "test", tmp_path, tmp_path / "cache")
    assert names(dataset) == ["bag", "ants1"] and dataset.left_out == 1
    assert "ball1/groundtruth.txt: there is no such file" in dataset.summary()
    (tmp_path / "list.txt").write_text("x" * 300)
    with pytest.raises(UserError, match="no sequence with a groundtruth.txt; VOT is expected as"):
        opened("vot", "test", tmp_path, tmp_path / "cache")


def test_a_region_with_a_nan_is_no_box(tmp_path):
    (tmp_path / "groundtruth.txt").write_text("1,2,3,4\nNaN,2,3,4\n1,2,3,NaN,5,6\n")
    boxes = vot.read_regions(tmp_path / "groundtruth.txt")
    assert np.isnan(boxes).all(1).tolist() == [False, True, True]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 7), st.integers(1, 6), st.integers(0, 90), st.integers(0, 90), st.data())
def test_the_box_of_a_mask_bounds_its_pixels(width, height, x, y, data):
    pixels = data.draw(st.lists(st.booleans(), min_size=width * height, max_size=width * height))
    runs = [len(list(group)) for _, group in itertools.groupby(pixels)]
    runs = [0, *runs] if pixels[0] else runs
    if len(runs) > 1 and len(runs) % 2 and data.draw(st.booleans()):
        runs = runs[:-1]  # trailing zeros may be omitted
    box = vot._bounding_box("m" + ",".join(map(str, [x, y, width, height, *runs])))
    inside = [(x + k % width, y + k // width) for k, on in enumerate(pixels) if on]
    if not inside:
        assert np.isnan(box).all()
        return
    columns, rows = zip(*inside, strict=True)
    left, top = min(columns), min(rows)
    assert tuple(box) == (left, top, max(columns) - left + 1, max(rows) - top + 1)


def test_a_mask_of_billions_of_pixels_takes_no_memory():
    assert tuple(vot._bounding_box("m1,2,60000,60000,60005,3,0,2")) == (6, 3, 5, 1)
    assert tuple(vot._bounding_box("m0,0,60000,60000,59999,2")) == (0, 0, 60000, 2)


@pytest.mark.parametrize(
    "line",
    [
        "m1,2,3,4,0,99", "m1,2,-3,4,0,1", "m1,2,x", "m1,2", "m0,0,99999999,99999999,5,5", "1,2,3", "1,2,3,4,5,6,7",
        "a,b", "1,2,inf,4", "1,2,3,4_0", "m1,2,3,4,0,1_0", "m1,2,3,4,0,0.5", "m1,2,3,4,0," + "9" * 400,
    ],
)  # fmt: skip
def test_a_line_that_is_not_a_region_is_named(line, tmp_path):
    (tmp_path / "groundtruth.txt").write_text(f"1,2,3,4\n{line}\n")
    with pytest.raises(UserError, match="groundtruth.txt, line 2: .* is neither a rectangle, a polygon nor a mask"):
        vot.read_regions(tmp_path / "groundtruth.txt")
