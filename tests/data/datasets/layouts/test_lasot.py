"""LaSOT: both flag files hide frames."""

import shutil

import numpy as np
import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets import layouts
from tests.data.opened import hidden, names, opened

LASOT = layouts.dataset_layout("lasot")


def test_flags_hide_occluded_frames_and_frames_out_of_view(roots, tmp_path):
    test, train = (opened("lasot", split, roots, tmp_path) for split in ("test", "train"))
    assert names(test) == ["airplane-1", "bear-2"] and names(train) == ["airplane-2", "bear-1"]
    assert hidden(test[0]) == [5, 6, 7, 10, 15], "the box of the last has no area"
    assert np.flatnonzero(~test[0].counted).tolist() == [5, 6, 7, 10], "no flag hides the last"
    assert np.isfinite(test[0].boxes_xywh).all() and test[0].category == "airplane"
    assert test.missing == 278 and "278 of the published 280 are missing" in test.summary()


def test_sequences_of_lasot_ext_in_the_same_folder_are_not_trained_on(tmp_path):
    miniature.lasot(tmp_path / "LaSOT")
    miniature.lasot_ext(tmp_path / "ext")
    shutil.copytree(tmp_path / "ext" / "atv", tmp_path / "LaSOT" / "atv")
    (tmp_path / "ext" / "wingsuit").rename(tmp_path / "LaSOT" / "wingsuit")
    assert names(opened("lasot", "train", tmp_path, tmp_path / "cache")) == ["airplane-2", "bear-1"]
    assert names(opened("lasot_ext", "test", tmp_path, tmp_path / "cache")) == ["atv-1", "atv-10", "wingsuit-2"]
    assert layouts.dataset_layout("lasot_ext").find_root(tmp_path) == tmp_path / "LaSOT", "there its attributes are too"


@pytest.mark.parametrize("of_split", [False, True])
def test_the_class_train_and_the_folder_of_the_training_split_have_one_name(of_split, tmp_path):
    for name in ("train-1", "train-2", *(["bear-1", "airplane-1"] if of_split else [])):
        (tmp_path / "train" / name / "img").mkdir(parents=True)
    found = {split: [entry.name for entry in LASOT.entries(tmp_path, split)] for split in ("train", "test")}
    assert found == {
        "train": ["bear-1", "train-2"] if of_split else ["train-2"],
        "test": ["airplane-1", "train-1"] if of_split else ["train-1"],
    }


def test_a_sequence_in_two_places_is_read_once_and_named(tmp_path):
    miniature.lasot(tmp_path)
    shutil.copytree(tmp_path / "bear" / "bear-1", tmp_path / "train" / "bear-1")
    train = opened("lasot", "train", tmp_path, tmp_path / "cache")
    assert names(train) == ["airplane-2", "bear-1"] and train[1].where(0).endswith("/bear/bear-1/img/00000001.jpg")
    assert [str(p) for p in train.problems] == [
        "train/bear-1: is in bear/bear-1 too, which is read: remove one of them"
    ]
    assert not train.problems[0].fatal and not train.left_out
