"""GOT-10k: its splits, its labels and its list of sequences."""

import shutil

import numpy as np
import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets import layouts, split_lists
from relo_jax.errors import UserError
from tests.data.opened import hidden, names, opened


def test_absent_and_fully_covered_targets_are_hidden(roots, tmp_path):
    train = opened("got10k", "train", roots, tmp_path)
    assert hidden(train[0]) == [3, 4, 5], "frames that the image border cuts stay visible"
    assert np.flatnonzero(~train[0].counted).tolist() == [4, 5], "its toolkit ignores the absence label"
    assert train[0].category == "polar bear" and train[0].where(0).endswith("GOT-10k_Train_000001/00000001.jpg")
    assert np.isfinite(train[0].boxes_xywh).all() and len(train[0]) == miniature.FRAMES


def test_vottrain_leaves_out_votval_and_the_sequences_that_vot_forbids(roots, tmp_path):
    numbers = lambda split: [int(name[-6:]) for name in names(opened("got10k", split, roots, tmp_path))]
    assert numbers("train") == [1, 2, 5, 6] and numbers("vottrain") == [1, 6] and numbers("votval") == [2]
    votval, excluded = (set(split_lists.official("got10k", f"{name}.txt")) for name in ("votval", "vot_excluded"))
    assert len(votval) == 1249 and len(excluded) == 1000 and not votval & excluded
    rest = {str(position) for position in range(9335)} - votval - excluded
    assert len(rest) == layouts.dataset_layout("got10k").splits["vottrain"]
    assert {"0", "3", "5", "9331"} <= rest and {"1", "25", "9333"} <= votval and {"4", "13", "9334"} <= excluded


def test_an_incomplete_dataset_is_read_and_the_rest_is_counted(tmp_path):
    miniature.got10k(tmp_path)
    shutil.rmtree(tmp_path / "train" / "GOT-10k_Train_000002")
    (tmp_path / "train" / "GOT-10k_Train_000005" / "cover.label").unlink()
    train = opened("got10k", "train", tmp_path, tmp_path / "cache")
    assert [name[-1] for name in names(train)] == ["1", "6"] and train.left_out == 2 and train.missing == 9331
    assert "2 left out (2 unreadable annotation; first: train/GOT-10k_Train_000002/groundtruth.txt: " in train.summary()
    assert str(train.problems[1]) == "train/GOT-10k_Train_000005/cover.label: there is no such file: extract it again"


@pytest.mark.parametrize(
    "text, message",
    [
        (None, r"train/list.txt: the list of sequences is missing: extract it again, or write"),
        ("GOT-10k_Train_000001\r\n\r\n<html>\n", r"train/list.txt: '<html>' is not the name .*: extract the list"),
    ],
    ids=["missing", "a web page"],
)
def test_a_broken_list_of_sequences_is_named(text, message, tmp_path):
    miniature.got10k(tmp_path)
    (tmp_path / "train" / "list.txt").unlink()
    if text:
        (tmp_path / "train" / "list.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        opened("got10k", "vottrain", tmp_path, tmp_path / "cache")
