"""Every dataset in its official layout, in miniature: what is found, which frames are visible, what is said of gaps."""

import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from relo_jax.data.datasets import index, layouts, split_lists
from relo_jax.data.datasets.index import open_dataset
from relo_jax.data.datasets.layout import list_folders
from relo_jax.errors import UserError
from tests.data import miniature


@pytest.fixture(scope="session")
def roots(tmp_path_factory):
    """Folder with every miniature dataset under the name its authors give it."""
    root = tmp_path_factory.mktemp("datasets")
    for name, make in miniature.MAKERS.items():
        make(root / layouts.dataset_layout(name).folders[0])
    return root


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_every_split_reads_and_every_frame_shows_its_box(name, roots, tmp_path):
    for split in layouts.dataset_layout(name).splits:
        dataset = open_dataset(layouts.dataset_layout(name), split, roots, tmp_path)
        assert len({s.name for s in dataset}) == len(dataset) > 0
        for sequence in dataset:
            for k in np.flatnonzero(sequence.visible)[:3]:
                x, y, w, h = sequence.boxes_xywh[k]
                red, green, blue = sequence.read_frame(k)[round(y + h / 2), round(x + w / 2)].astype(int)
                assert green > 180 and blue < 90, (sequence.name, k)


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_an_empty_folder_and_packed_archives_are_named(name, tmp_path):
    layout = layouts.dataset_layout(name)
    (tmp_path / "empty").mkdir()
    for split in layout.splits:
        with pytest.raises(UserError, match=f"{layout.title} is expected as"):
            open_dataset(layout, split, tmp_path / "empty", tmp_path / "cache")
        (tmp_path / "packed").mkdir(exist_ok=True)
        (tmp_path / "packed" / "part1.zip").write_bytes(b"PK")
        with pytest.raises(UserError, match=r"1 archives such as part1.zip: unpack"):
            open_dataset(layout, split, tmp_path / "packed", tmp_path / "cache")


def test_lasot_hides_occluded_frames_and_those_out_of_view(roots, tmp_path):
    test = open_dataset(layouts.dataset_layout("lasot"), "test", roots, tmp_path)
    train = open_dataset(layouts.dataset_layout("lasot"), "train", roots, tmp_path)
    assert [s.name for s in test] == ["airplane-1", "bear-2"] and [s.name for s in train] == ["airplane-2", "bear-1"]
    assert np.flatnonzero(~test[0].visible).tolist() == [5, 6, 7, 10, 15], "the box of the last has no area"
    assert np.flatnonzero(~test[0].counted).tolist() == [5, 6, 7, 10], "no flag hides it"
    assert np.isfinite(test[0].boxes_xywh).all() and test[0].category == "airplane"
    assert test.missing == 278 and "278 of the published 280 are missing" in test.summary()


def opened(name, split, roots, cache):
    return open_dataset(layouts.dataset_layout(name), split, roots, cache)


def names(dataset):
    return [sequence.name for sequence in dataset]


def hidden(sequence):
    return np.flatnonzero(~sequence.visible).tolist()


def test_lasot_ext_hides_by_either_flag_and_keeps_to_its_classes(roots, tmp_path):
    test = opened("lasot_ext", "test", roots, tmp_path)
    assert names(test) == ["atv-1", "atv-10", "wingsuit-2"] and test.missing == 147
    assert hidden(test[0]) == [4, 5, 6] and hidden(test[1]) == []
    assert np.array_equal(test[1].boxes_xywh, miniature.walk(seed=1)), "boxes with tabs between"


def test_got10k_frames_count_where_the_target_is_not_absent_nor_covered_whole(roots, tmp_path):
    train = opened("got10k", "train", roots, tmp_path)
    assert hidden(train[0]) == [3, 4, 5], "frames that the image border cuts stay"
    assert np.flatnonzero(~train[0].counted).tolist() == [4, 5], "its toolkit does not ask whether the target is absent"
    assert train[0].category == "polar bear" and train[0].where(0).endswith("GOT-10k_Train_000001/00000001.jpg")
    assert np.isfinite(train[0].boxes_xywh).all() and len(train[0]) == miniature.FRAMES


def test_got10k_vottrain_leaves_out_votval_and_what_vot_forbids(roots, tmp_path):
    numbers = lambda split: [int(name[-6:]) for name in names(opened("got10k", split, roots, tmp_path))]
    assert numbers("train") == [1, 2, 5, 6] and numbers("vottrain") == [1, 6] and numbers("votval") == [2]
    votval, excluded = (set(split_lists.official("got10k", f"{name}.txt")) for name in ("votval", "vot_excluded"))
    assert len(votval) == 1249 and len(excluded) == 1000 and not votval & excluded
    left = {str(position) for position in range(9335)} - votval - excluded
    assert len(left) == layouts.dataset_layout("got10k").splits["vottrain"]
    assert {"0", "3", "5", "9331"} <= left and {"1", "25", "9333"} <= votval and {"4", "13", "9334"} <= excluded


def test_hidden_boxes_of_a_test_split_are_nan_and_no_fault(roots, tmp_path):
    for name in ("got10k", "trackingnet"):
        for sequence in (test := opened(name, "test", roots, tmp_path)):
            assert len(sequence) == miniature.FRAMES and hidden(sequence) == list(range(1, miniature.FRAMES))
            assert np.isfinite(sequence.boxes_xywh[0]).all() and np.isnan(sequence.boxes_xywh[1:]).all()
        assert test.problems == []


def test_half_of_got10k_is_read_and_the_rest_is_counted(tmp_path):
    miniature.got10k(tmp_path)
    shutil.rmtree(tmp_path / "train" / "GOT-10k_Train_000002")
    (tmp_path / "train" / "GOT-10k_Train_000005" / "cover.label").unlink()
    train = opened("got10k", "train", tmp_path, tmp_path / "cache")
    assert [name[-1] for name in names(train)] == ["1", "6"] and train.left_out == 2 and train.missing == 9331
    assert "2 left out (2 unreadable annotation; first: train/GOT-10k_Train_000002/groundtruth.txt: " in train.summary()
    assert str(train.problems[1]) == "train/GOT-10k_Train_000005/cover.label: there is no such file: extract it again"


def test_got10k_without_its_list_says_how_to_get_one(tmp_path):
    miniature.got10k(tmp_path)
    (tmp_path / "val" / "list.txt").unlink()
    with pytest.raises(UserError, match=r"val/list.txt: the list of sequences is missing: extract it again, or write"):
        opened("got10k", "val", tmp_path, tmp_path / "cache")


def test_got10k_with_a_list_of_something_else_names_the_line(tmp_path):
    miniature.got10k(tmp_path)
    (tmp_path / "train" / "list.txt").write_text("GOT-10k_Train_000001\r\n\r\n<html>\n")
    with pytest.raises(
        UserError, match=r"train/list.txt: '<html>' is not the name of a sequence, .*: extract the list again"
    ):
        opened("got10k", "vottrain", tmp_path, tmp_path / "cache")


def test_an_official_list_that_was_not_installed_is_named(tmp_path, monkeypatch):
    miniature.lasot_ext(tmp_path)
    monkeypatch.setattr(split_lists, "dataset_folder", lambda name: tmp_path / "data" / name)
    with pytest.raises(
        UserError, match=r"data/lasot_ext/test.txt: this official list is missing: install relo_jax again"
    ):
        opened("lasot_ext", "test", tmp_path, tmp_path / "cache")


def test_a_line_of_a_list_may_stand_for_several_names(tmp_path):
    (tmp_path / "list.txt").write_text("# what it is\nbear-1..3,7  # and so on\n\nbear-03\n4,9..10\nHalf-Life\n")
    listed = ["bear-1", "bear-2", "bear-3", "bear-7", "bear-03", "4", "9", "10", "Half-Life"]
    assert split_lists.read_list(tmp_path / "list.txt") == listed


def test_trackingnet_frames_are_in_the_order_of_their_numbers(roots, tmp_path):
    train = opened("trackingnet", "train", roots, tmp_path)
    assert names(train) == ["-0tDKdfmJ2w_0", "AAB6lO-XiKE_0", "_zX_5tDKdfm_1"]
    files = [train[2].where(k).rpartition("/")[2] for k in range(miniature.FRAMES)]
    assert files == [f"{k}.jpg" for k in range(miniature.FRAMES)]


def test_trackingnet_names_the_parts_it_lacks(roots, tmp_path):
    train = opened("trackingnet", "train", roots, tmp_path)
    gone = {problem.where: problem.detail for problem in train.problems}
    assert list(gone) == [f"TRAIN_{k}" for k in (1, 2, 4, 5, 6, 7, 8, 9, 10, 11)] and train.left_out == 0
    assert "still packed" in gone["TRAIN_7"] and "download" in gone["TRAIN_8"]
    assert "30,129 of the published 30,132 are missing; 10 parts are missing (TRAIN_1, TRAIN_2," in train.summary()


def test_trackingnet_whose_every_frame_is_still_packed_is_told_so(tmp_path):
    miniature.trackingnet(tmp_path)
    for part in ("TRAIN_0", "TRAIN_3"):
        shutil.rmtree(tmp_path / part / "frames")
    with pytest.raises(UserError, match="TRAIN_7: frames are still packed: unpack"):
        opened("trackingnet", "train", tmp_path, tmp_path / "cache")


def test_vasttrack_is_split_by_the_list_of_its_authors(roots, tmp_path):
    train, test = (opened("vasttrack", split, roots, tmp_path) for split in ("train", "test"))
    assert names(train) == ["Aardwolf-3", "Andean Cock-Of-The-Rock-12"]
    assert names(test) == ["Aardwolf-1", "Blue-Crowned Hanging-Parrot-1"]
    assert [s.category for s in (*train, *test)][1::2] == ["Andean Cock-Of-The-Rock", "Blue-Crowned Hanging-Parrot"]
    assert hidden(train[0]) == [9, 10, 11] and not train.left_out, "a box of zeros is a target that does not show"
    assert len(set(split_lists.official("vasttrack", "test.txt"))) == 3500


def test_vasttrack_may_lie_in_one_folder_a_split(tmp_path):
    miniature.vasttrack(tmp_path / "all")
    for split, kind in (("train", "Andean Cock-Of-The-Rock"), ("test", "Blue-Crowned Hanging-Parrot")):
        (tmp_path / "parted" / split).mkdir(parents=True)
        (tmp_path / "all" / kind).rename(tmp_path / "parted" / split / kind)
    for split, name in (("train", "Andean Cock-Of-The-Rock-12"), ("test", "Blue-Crowned Hanging-Parrot-1")):
        assert names(opened("vasttrack", split, tmp_path / "parted", tmp_path / "cache")) == [name]


def test_coco_objects_are_stills_that_are_large_enough_and_no_crowd(roots, tmp_path):
    train = opened("coco", "train", roots, tmp_path)
    assert names(train) == ["100_1000", "101_1001", "100_1002"] and train.stills.all()
    assert [s.category for s in train] == ["dog", "dog", "person"] and [len(s) for s in train] == [1, 1, 1]
    assert train[0].boxes_xywh.tolist() == [[5, 6, 70, 60.5]] and train[1].boxes_xywh[0, 2] == 50.01
    assert train[2].where(0) == train[0].where(0) and train.problems == []


def test_coco_images_may_lie_below_a_folder_of_images(tmp_path):
    miniature.coco(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "train2017").rename(tmp_path / "images" / "train2017")
    train = opened("coco", "train", tmp_path, tmp_path / "cache")
    assert "/images/train2017/" in train[0].where(0) and train[0].read_frame(0).shape == (72, 96, 3)


def test_coco_objects_whose_image_is_not_there_are_left_out_and_counted(tmp_path):
    miniature.coco(tmp_path)
    (tmp_path / "train2017" / f"{100:012d}.jpg").unlink()
    train = opened("coco", "train", tmp_path, tmp_path / "cache")
    assert names(train) == ["101_1001"] and train.left_out == 2
    assert "(2 missing image; first: train2017/000000000100.jpg: an object refers to this image" in train.summary()


@pytest.mark.parametrize(
    "text",
    ["", "[" * 100_000, '{"images": [', '{"images": []}', "[]", '{"images": [], "categories": [], "annotations": 3}'],
    ids=["empty", "deep", "cut off", "half", "list", "number"],
)
def test_coco_annotations_that_are_cut_off_or_something_else_are_named(text, tmp_path):
    miniature.coco(tmp_path)
    (tmp_path / "annotations" / "instances_val2017.json").write_text(text)
    with pytest.raises(UserError, match=r"instances_val2017.json: not a COCO annotation file .*extract it again"):
        opened("coco", "val", tmp_path, tmp_path / "cache")


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_a_frame_that_goes_is_noticed_in_every_dataset(name, tmp_path):
    miniature.MAKERS[name](tmp_path / "root")
    layout = layouts.dataset_layout(name)
    split = layout.train or next(iter(layout.splits))
    open_index = lambda: index.open_index(layout, split, tmp_path / "root", tmp_path / "cache")
    before = open_index()
    Path(before[0].where(-1)).unlink()
    assert open_index().problems != before.problems


def test_vasttrack_annotation_in_small_letters_may_be_mended(tmp_path):
    miniature.vasttrack(tmp_path / "root")
    where = "Andean Cock-Of-The-Rock/Andean Cock-Of-The-Rock-12/groundtruth.txt"
    opened("vasttrack", "train", tmp_path / "root", tmp_path / "cache")
    (tmp_path / "root" / where).write_text("1,2,3,4\n")
    assert opened("vasttrack", "train", tmp_path / "root", tmp_path / "cache").left_out == 1


def test_a_built_dataset_beside_the_authors_folder_is_not_taken_for_it(tmp_path):
    miniature.lasot(tmp_path / "LaSOT")
    (tmp_path / "lasot" / "frames").mkdir(parents=True)
    assert layouts.dataset_layout("lasot").find_root(tmp_path) == tmp_path / "LaSOT"
    (tmp_path / "LaSOT").rename(tmp_path / "LASOT")
    shutil.rmtree(tmp_path / "lasot")
    assert layouts.dataset_layout("lasot").find_root(tmp_path) == tmp_path / "LASOT"


@pytest.mark.parametrize("name, folder", [("otb100", "Jogging/img"), ("tnl2k", "TNL2K_test_subset"), ("lasot", "bear")])
def test_a_folder_that_may_not_be_listed_is_not_an_empty_one(name, folder, tmp_path, monkeypatch):
    miniature.MAKERS[name](tmp_path / "root")
    denied = tmp_path / "root" / folder

    def guarded(function, path):
        if Path(path) == denied:
            raise PermissionError(13, "Permission denied", str(path))
        return function(path)

    for function in (os.scandir, os.listdir):
        monkeypatch.setattr(os, function.__name__, partial(guarded, function))
    try:
        said = index.open_index(layouts.dataset_layout(name), "test", tmp_path / "root", tmp_path / "cache").summary()
    except UserError as error:
        said = str(error)
    assert f"{folder}: cannot be listed (Permission denied)" in said


def test_a_link_to_itself_is_no_folder_and_hides_none(tmp_path):
    (tmp_path / "bear").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert list_folders(tmp_path) == ["bear"]


@pytest.mark.parametrize("box", ["1,1,1e-200,1e-200", "3,4,1e300,20", "1e12,5,30,30"])
def test_a_box_of_which_no_crop_can_be_cut_is_not_trained_on(box, tmp_path):
    """A single one would otherwise end a training run, days after it began."""
    miniature.lasot(tmp_path / "LaSOT")
    path = tmp_path / "LaSOT/airplane/airplane-2/groundtruth.txt"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows[:3], box, *rows[4:]]) + "\n")
    dataset = open_dataset(layouts.dataset_layout("lasot"), "train", tmp_path, tmp_path / "cache")
    assert np.flatnonzero(~dataset[0].visible).tolist() == [3] and len(dataset) == 2
    (problem,) = dataset.problems
    assert problem.kind == "absurd boxes" and "first in line 4" in problem.detail and not problem.fatal
