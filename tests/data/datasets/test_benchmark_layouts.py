"""The quirks of the benchmarks: which frames and which lines belong together, and what regions mean."""

import itertools
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.data.datasets import layouts, split_lists
from relo_jax.data.datasets.index import open_dataset
from relo_jax.data.datasets.layouts import vot
from relo_jax.errors import UserError
from tests.data import miniature

BENCHMARKS = ("tnl2k", "uav123", "otb100", "nfs", "vot")


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    """name -> its miniature, opened."""
    root = tmp_path_factory.mktemp("benchmarks")
    for name in BENCHMARKS:
        miniature.MAKERS[name](root / layouts.dataset_layout(name).folders[0])
    return {name: open_dataset(layouts.dataset_layout(name), "test", root, root / "cache") for name in BENCHMARKS}


def named(dataset):
    return {sequence.name: sequence for sequence in dataset}


def file_of(sequence, frame):
    return "/".join(sequence.where(frame).split("/")[-2:])


@pytest.mark.parametrize("name", ["tnl2k", "uav123", "otb100", "nfs"])
def test_the_official_list_is_complete(name):
    names = [line.split()[0] for line in split_lists.official(name, "test.txt")]
    assert len(names) == len(set(names)) == layouts.dataset_layout(name).splits["test"]


def test_uav123_sequences_share_a_folder_of_frames(benchmarks):
    found = named(benchmarks["uav123"])
    first, second = found["truck4_1"], found["truck4_2"]
    assert (len(first), len(second), len(found["uav6"])) == (577, 685, 109)
    assert file_of(first, 0) == "truck4/000001.jpg" and file_of(second, 684) == "truck4/001261.jpg"
    assert first.where(576) == second.where(0)  # the frame where one ends and the other begins
    assert np.flatnonzero(~second.visible).tolist() == list(range(124, 129))  # NaN from frame 701 on
    assert [str(p) for p in benchmarks["uav123"].problems] == [
        "anno/UAV123/truck4_2.txt: 5 boxes are NaN, the first in line 125: never trained on"
    ]


def test_uav123_without_frames_of_a_shared_folder_is_named(tmp_path):
    miniature.uav123(tmp_path)
    (tmp_path / "data_seq" / "UAV123" / "truck4" / "000900.jpg").unlink()
    dataset = open_dataset(layouts.dataset_layout("uav123"), "test", tmp_path, tmp_path / "cache")
    assert {s.name for s in dataset} == {"truck4_1", "uav6"}
    assert "685 boxes for 684 frames" in dataset.summary()


def test_tnl2k_reads_png_and_odd_names_in_order_and_only_test_sequences(benchmarks):
    found = named(benchmarks["tnl2k"])
    assert set(found) == {"Bird_28-Done", "Battle_video_1_done"}
    assert [file_of(found["Battle_video_1_done"], k) for k in (0, 1, 9)] == [
        "imgs/Battle-1.JPG", "imgs/Battle-2.JPG", "imgs/Battle-10.JPG",
    ]  # fmt: skip
    assert np.flatnonzero(~found["Bird_28-Done"].visible).tolist() == [6, 7]
    assert "698 of the published 700 are missing" in benchmarks["tnl2k"].summary()


@pytest.mark.parametrize("root", ["TNL2K/TNL2K_test_subset", "TNL2K", "."])
def test_tnl2k_is_found_from_its_folder_or_any_above(root, tmp_path):
    miniature.tnl2k(tmp_path / "TNL2K")
    assert len(open_dataset(layouts.dataset_layout("tnl2k"), "test", tmp_path / root, tmp_path / "cache")) == 2


def test_otb_names_targets_by_their_annotation(benchmarks):
    found = named(benchmarks["otb100"])
    assert set(found) == {"Football1", "Human4.2", "Jogging.1", "Jogging.2"}
    assert np.allclose(found["Jogging.1"].boxes_xywh, miniature.walk())
    assert np.allclose(found["Jogging.2"].boxes_xywh, miniature.walk(seed=1) + [42, 0, 0, 0])
    assert found["Jogging.1"].where(3) == found["Jogging.2"].where(3)


def test_otb_annotations_that_cover_a_part_of_the_frames(tmp_path):
    """Only names and boxes matter, so the images are empty files. Box x says the frame that a line is of."""
    spans = {
        "David": (1, 770, 300, 770),  # frames there, frames annotated
        "Football1": (1, 81, 1, 74),
        "BlurCar4": (18, 397, 18, 397),
        "Tiger1": (1, 354, 1, 354),
        "Board": (1, 698, 1, 698),
    }
    for name, (first, last, start, end) in spans.items():
        (tmp_path / name / "img").mkdir(parents=True)
        for number in range(first, last + 1):
            (tmp_path / name / "img" / f"{number:0{5 if name == 'Board' else 4}d}.jpg").touch()
        text = "\n".join(f"{number},5,20,30" for number in range(start, end + 1))
        (tmp_path / name / "groundtruth_rect.txt").write_text(text)
    dataset = open_dataset(layouts.dataset_layout("otb100"), "test", tmp_path, tmp_path / "cache")
    used = {s.name: (int(s.boxes_xywh[0, 0]), int(s.boxes_xywh[-1, 0])) for s in dataset}
    assert used == {"David": (300, 770), "Football1": (1, 74), "BlurCar4": (18, 397), "Tiger1": (6, 354),
                    "Board": (1, 698)}  # fmt: skip
    for sequence in dataset:
        numbers = [int(sequence.where(k).split("/")[-1][:-4]) for k in range(len(sequence))]
        assert numbers == sequence.boxes_xywh[:, 0].astype(int).tolist(), sequence.name


def test_nfs_takes_every_eighth_line_from_the_first(benchmarks):
    found = named(benchmarks["nfs"])
    assert set(found) == {"bee", "Gymnastics", "dog_2"}
    for seed, name in enumerate(("bee", "Gymnastics", "dog_2")):
        assert np.allclose(found[name].boxes_xywh, miniature.walk(seed=seed), atol=1e-3)
    assert file_of(found["dog_2"], 2) == "dog_2/00017.jpg" and "/240/" in found["dog_2"].where(0)
    assert [str(p) for p in benchmarks["nfs"].problems] == [
        "Gymnastics/30/Gymnastics.txt: the last of 25 frames has no box: left out"
    ]


def test_nfs_as_pytracking_hands_it_out_is_the_same(benchmarks, tmp_path):
    (tmp_path / "anno").mkdir()
    for seed, name in enumerate(("bee", "Gymnastics")):
        boxes = miniature.walk(seed=seed)
        miniature.write_frames(tmp_path / "sequences" / name, [*boxes, boxes[-1]], "{:05d}.jpg", seed=seed)
        (tmp_path / "anno" / f"nfs_{name}.txt").write_text(miniature.lines(boxes, "\t"))
    dataset = named(open_dataset(layouts.dataset_layout("nfs"), "test", tmp_path, tmp_path / "cache"))
    for name, sequence in dataset.items():
        other = named(benchmarks["nfs"])[name]
        assert np.allclose(sequence.boxes_xywh, other.boxes_xywh, atol=1e-3) and len(sequence) == 24
        assert sequence.read_encoded(5) == other.read_encoded(5)


def test_nfs_lines_that_are_no_track_are_named(tmp_path):
    miniature.nfs(tmp_path)
    path = tmp_path / "bee" / "30" / "bee.txt"
    text = path.read_text().splitlines()
    path.write_text("\n".join([*text[:4], "0 12.5 oops 3 4 5 0 0 1 x", *text[5:]]))
    (tmp_path / "Gymnastics" / "30" / "Gymnastics.txt").write_text("\n")
    dataset = open_dataset(layouts.dataset_layout("nfs"), "test", tmp_path, tmp_path / "cache")
    fatal = sorted(str(p) for p in dataset.problems if p.fatal)
    assert fatal[0] == "Gymnastics/30/Gymnastics.txt: holds no boxes"
    assert fatal[1].startswith("bee/30/bee.txt: line 5: '0 12.5 oops 3 4 5 0 0 1 x' is not")


def test_vot_reads_rectangles_polygons_masks_and_codes(benchmarks):
    found = named(benchmarks["vot"])
    away = {"bag": [5], "ball1": [0, 7], "ants1": [3]}
    for seed, name in enumerate(("bag", "ball1", "ants1")):
        boxes, visible = miniature.walk(seed=seed).round(), found[name].visible
        assert np.flatnonzero(~visible).tolist() == away[name]
        assert np.array_equal(found[name].boxes_xywh[visible], boxes[visible])
    assert "/color/" in found["bag"].where(0) and file_of(found["ball1"], 0) == "ball1/00000001.jpg"


def test_vot_without_a_list_takes_the_folders_that_have_an_annotation(tmp_path):
    miniature.vot(tmp_path)
    (tmp_path / "notes").mkdir()
    with_list = open_dataset(layouts.dataset_layout("vot"), "test", tmp_path, tmp_path / "cache")
    assert [s.name for s in with_list] == ["bag", "ball1", "ants1"]
    (tmp_path / "list.txt").unlink()
    without = open_dataset(layouts.dataset_layout("vot"), "test", tmp_path, tmp_path / "cache")
    assert [s.name for s in without] == ["ants1", "bag", "ball1"]


def test_vot_sequences_that_are_listed_and_not_there_are_counted(tmp_path):
    miniature.vot(tmp_path)
    shutil.rmtree(tmp_path / "ball1")
    found = open_dataset(layouts.dataset_layout("vot"), "test", tmp_path, tmp_path / "cache")
    assert [s.name for s in found] == ["bag", "ants1"] and found.left_out == 1
    assert "ball1/groundtruth.txt: there is no such file" in found.summary()
    (tmp_path / "list.txt").write_text("x" * 300)
    with pytest.raises(UserError, match="no sequence with a groundtruth.txt; VOT is expected as"):
        open_dataset(layouts.dataset_layout("vot"), "test", tmp_path, tmp_path / "cache")


def test_an_nfs_line_with_an_infinite_corner_is_named(tmp_path):
    miniature.nfs(tmp_path)
    text = tmp_path / "bee" / "30" / "bee.txt"
    lines = text.read_text().splitlines()
    text.write_text("\n".join([*lines[:8], '0 1 1 inf 30 9 0 0 1 "insect"', *lines[9:]]))
    found = open_dataset(layouts.dataset_layout("nfs"), "test", tmp_path, tmp_path / "cache")
    assert found.left_out == 1 and "bee/30/bee.txt: line 9: '0 1 1 inf 30" in found.summary()


def test_a_region_that_is_nan_in_part_is_no_box(tmp_path):
    (tmp_path / "groundtruth.txt").write_text("1,2,3,4\nNaN,2,3,4\n1,2,3,NaN,5,6\n")
    boxes = vot.read_regions(tmp_path / "groundtruth.txt")
    assert np.isnan(boxes).all(1).tolist() == [False, True, True]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 7), st.integers(1, 6), st.integers(0, 90), st.integers(0, 90), st.data())
def test_the_box_of_a_mask_is_that_of_its_pixels(width, height, x, y, data):
    pixels = data.draw(st.lists(st.booleans(), min_size=width * height, max_size=width * height))
    runs = [len(list(group)) for _, group in itertools.groupby(pixels)]
    runs = [0, *runs] if pixels[0] else runs
    if len(runs) > 1 and len(runs) % 2 and data.draw(st.booleans()):
        runs = runs[:-1]  # the zeros at the end may be left away
    box = vot._bounding_box("m" + ",".join(map(str, [x, y, width, height, *runs])))
    inside = [(x + k % width, y + k // width) for k, on in enumerate(pixels) if on]
    if not inside:
        assert np.isnan(box).all()
        return
    columns, rows = zip(*inside, strict=True)
    left, top = min(columns), min(rows)
    assert tuple(box) == (left, top, max(columns) - left + 1, max(rows) - top + 1)


@pytest.mark.parametrize(
    "line",
    [
        "m1,2,3,4,0,99", "m1,2,-3,4,0,1", "m1,2,x", "m1,2", "m0,0,99999999,99999999,5,5", "1,2,3", "1,2,3,4,5,6,7",
        "a,b", "1,2,inf,4",
    ],
)  # fmt: skip
def test_regions_that_are_none_are_named_with_their_line(line, tmp_path):
    (tmp_path / "groundtruth.txt").write_text(f"1,2,3,4\n{line}\n")
    with pytest.raises(UserError, match="groundtruth.txt, line 2: .* is neither a rectangle, a polygon nor a mask"):
        vot.read_regions(tmp_path / "groundtruth.txt")


def test_the_page_on_datasets_says_what_is_read():
    text = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text()
    table = text.partition("## Folders and splits")[2].partition("\n## ")[0]
    rows = {row.split("|")[1].strip(" `"): row for row in table.splitlines() if row.startswith("| `")}
    assert set(rows) == set(layouts.NAMES)
    for name, row in rows.items():
        layout = layouts.dataset_layout(name)
        assert f"`{layout.folders[0]}`" in row
        for split, count in layout.splits.items():
            assert (f"{split} {count:,}" if count else split) in row, (name, split)
    for path in (Path(layouts.__file__).parents[1]).rglob("*.py"):
        for kind in re.findall(r'Problem\("([^"]+)"', path.read_text()):
            assert re.search(rf"^\| [^|]*{kind}[^|]* \| (fatal|note) \|", text, re.M), (path, kind)
