"""What holds for every dataset in its official layout, and the functions that all layouts share."""

import os
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets import index, layouts
from relo_jax.data.datasets.listing import list_folders, list_frames
from relo_jax.errors import UserError
from tests.data.opened import hidden, names, opened


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_every_split_reads_and_every_frame_shows_its_box(name, roots, tmp_path):
    for split in layouts.dataset_layout(name).splits:
        dataset = opened(name, split, roots, tmp_path)
        assert len(set(names(dataset))) == len(dataset) > 0
        for sequence in dataset:
            for k in np.flatnonzero(sequence.visible)[:3]:
                x, y, w, h = sequence.boxes_xywh[k]
                red, green, blue = sequence.read_frame(k)[round(y + h / 2), round(x + w / 2)].astype(int)
                assert green > 180 and blue < 90, (sequence.name, k)


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_empty_folders_and_packed_archives_are_named(name, tmp_path):
    layout = layouts.dataset_layout(name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "part1.zip").write_bytes(b"PK")
    for split in layout.splits:
        with pytest.raises(UserError, match=f"{layout.title} is expected as"):
            opened(name, split, tmp_path / "empty", tmp_path / "cache")
        with pytest.raises(UserError, match=r"1 archives such as part1.zip: unpack"):
            opened(name, split, tmp_path / "packed", tmp_path / "cache")


@pytest.mark.parametrize("name", ["got10k", "trackingnet"])
def test_unpublished_boxes_of_a_test_split_are_nan_and_not_a_problem(name, roots, tmp_path):
    test = opened(name, "test", roots, tmp_path)
    for sequence in test:
        assert len(sequence) == miniature.FRAMES and hidden(sequence) == list(range(1, miniature.FRAMES))
        assert np.isfinite(sequence.boxes_xywh[0]).all() and np.isnan(sequence.boxes_xywh[1:]).all()
    assert test.problems == []


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_a_removed_frame_is_noticed_in_every_dataset(name, tmp_path):
    miniature.MAKERS[name](tmp_path / "root")
    layout = layouts.dataset_layout(name)
    split = layout.train or next(iter(layout.splits))
    open_index = lambda: index.open_index(layout, split, tmp_path / "root", tmp_path / "cache")
    before = open_index()
    Path(before[0].where(-1)).unlink()
    assert open_index().problems != before.problems


def test_a_built_dataset_next_to_the_authors_folder_is_not_mistaken_for_it(tmp_path):
    miniature.lasot(tmp_path / "LaSOT")
    (tmp_path / "lasot" / "frames").mkdir(parents=True)
    assert layouts.dataset_layout("lasot").find_root(tmp_path) == tmp_path / "LaSOT"
    (tmp_path / "LaSOT").rename(tmp_path / "LASOT")
    shutil.rmtree(tmp_path / "lasot")
    assert layouts.dataset_layout("lasot").find_root(tmp_path) == tmp_path / "LASOT"


@pytest.mark.parametrize("name, folder", [("otb100", "Jogging/img"), ("tnl2k", "TNL2K_test_subset"), ("lasot", "bear")])
def test_a_folder_without_permission_is_not_taken_for_an_empty_one(name, folder, tmp_path, monkeypatch):
    miniature.MAKERS[name](tmp_path / "root")
    denied = tmp_path / "root" / folder

    def guarded(function, path):
        if Path(path) == denied:
            raise PermissionError(13, "Permission denied", str(path))
        return function(path)

    for function in (os.scandir, os.listdir):
        monkeypatch.setattr(os, function.__name__, partial(guarded, function))
    try:
        message = index.open_index(
            layouts.dataset_layout(name), "test", tmp_path / "root", tmp_path / "cache"
        ).summary()
    except UserError as error:
        message = str(error)
    assert f"{folder}: cannot be listed (Permission denied)" in message


def test_a_link_to_itself_is_not_a_folder_and_does_not_hide_others(tmp_path):
    (tmp_path / "bear").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert list_folders(tmp_path) == ["bear"]


@pytest.mark.parametrize(
    "names",
    [
        ["0.jpg", "1.jpg", "2.jpg", "10.jpg", "11.jpg"],
        ["0008.jpg", "0009.jpg", "0010.png"],
        ["img1_9.jpg", "img1_10.jpg", "img2_1.jpg"],
        ["1_9.jpg", "1_10.jpg", "2_1.jpg"],
    ],
)
def test_frames_are_listed_in_the_order_of_their_numbers(names, tmp_path):
    for name in (*reversed(names), "groundtruth.txt", ".hidden.jpg"):
        (tmp_path / name).touch()
    assert list_frames(tmp_path) == names


@pytest.mark.parametrize("box", ["1,1,1e-200,1e-200", "3,4,1e300,20", "1e12,5,30,30"])
def test_a_box_that_no_crop_can_be_cut_around_is_not_trained_on(box, tmp_path):
    """A single one would otherwise end a training run, days after its start."""
    miniature.lasot(tmp_path / "LaSOT")
    path = tmp_path / "LaSOT/airplane/airplane-2/groundtruth.txt"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows[:3], box, *rows[4:]]) + "\n")
    dataset = opened("lasot", "train", tmp_path, tmp_path / "cache")
    assert hidden(dataset[0]) == [3] and len(dataset) == 2
    (problem,) = dataset.problems
    assert problem.kind == "absurd boxes" and "first in line 4" in problem.detail and not problem.fatal


def test_the_page_on_datasets_lists_every_layout_and_every_kind_of_problem():
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
