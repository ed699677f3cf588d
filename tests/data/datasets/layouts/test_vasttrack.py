"""VastTrack: split by the authors' list, in one folder or two, and the release's own list."""

import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets.index import open_index
from relo_jax.data.datasets.layouts import dataset_layout
from relo_jax.errors import UserError
from tests.data.opened import hidden, names, opened


def test_the_authors_list_splits_the_sequences(roots, tmp_path):
    train, test = (opened("vasttrack", split, roots, tmp_path) for split in ("train", "test"))
    assert names(train) == ["Aardwolf-3", "Andean Cock-Of-The-Rock-12"]
    assert names(test) == ["Aardwolf-1", "Blue-Crowned Hanging-Parrot-1"]
    assert [s.category for s in (*train, *test)][1::2] == ["Andean Cock-Of-The-Rock", "Blue-Crowned Hanging-Parrot"]
    assert hidden(train[0]) == [9, 10, 11] and not train.left_out, "a box of zeros is a target that does not show"


def test_each_split_may_have_a_folder_of_its_own(tmp_path):
    miniature.vasttrack(tmp_path / "all")
    for split, category in (("train", "Andean Cock-Of-The-Rock"), ("test", "Blue-Crowned Hanging-Parrot")):
        (tmp_path / "divided" / split).mkdir(parents=True)
        (tmp_path / "all" / category).rename(tmp_path / "divided" / split / category)
    for split, name in (("train", "Andean Cock-Of-The-Rock-12"), ("test", "Blue-Crowned Hanging-Parrot-1")):
        assert names(opened("vasttrack", split, tmp_path / "divided", tmp_path / "cache")) == [name]


def test_an_annotation_in_lower_case_is_watched_for_changes(tmp_path):
    miniature.vasttrack(tmp_path / "root")
    file = "Andean Cock-Of-The-Rock/Andean Cock-Of-The-Rock-12/groundtruth.txt"
    opened("vasttrack", "train", tmp_path / "root", tmp_path / "cache")
    (tmp_path / "root" / file).write_text("1,2,3,4\n")
    assert opened("vasttrack", "train", tmp_path / "root", tmp_path / "cache").left_out == 1


LIST = "vasttrack_train_split.txt"


@pytest.mark.parametrize("place", ["", "train"])
def test_the_releases_list_chooses_its_training_sequences(place, tmp_path):
    miniature.vasttrack(tmp_path / "root" / place)
    opened_release = lambda: opened("vasttrack", "train_release", tmp_path / "root", tmp_path / "cache")
    dataset = opened_release()
    assert names(dataset) == ["Andean Cock-Of-The-Rock-12"] and dataset.missing == 47_102
    (problem,) = dataset.problems
    assert str(problem) == f"{place and 'train/'}{LIST}: lists 1, the release's list 47,103: copy that one to train " \
        "as the release"  # fmt: skip
    assert not problem.fatal and problem.kind == "another list"
    (tmp_path / "root" / place / LIST).write_text("".join(f"Aardwolf-{k}\n" for k in [3, *range(9, 47_111)]))
    assert names(opened_release()) == ["Aardwolf-3"] and not opened_release().problems


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "the release's list of training sequences is missing: copy lib/train/data_specs/vasttrack_train_split"),
        ("Aardwolf-3\nAardwolf-1\n", "Aardwolf-1 is a test sequence: copy the release's list"),
        ("<!DOCTYPE html>\n", "'<!DOCTYPE html>' is not the name of a sequence, such as Aardwolf-1"),
        ("Bear-1\n", "lists no sequence that is in "),
    ],
)
def test_a_list_that_is_not_the_releases_is_refused(text, message, tmp_path):
    miniature.vasttrack(tmp_path)
    (tmp_path / LIST).unlink()
    if text:
        (tmp_path / LIST).write_text(text)
    with pytest.raises(UserError) as error:
        open_index(dataset_layout("vasttrack"), "train_release", tmp_path, tmp_path / "cache")
    assert str(error.value).startswith(f"{tmp_path / LIST}: {message}")
    assert len(opened("vasttrack", "train", tmp_path, tmp_path / "cache")) == 2, "the whole split needs no list"
