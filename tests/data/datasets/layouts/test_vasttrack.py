"""VastTrack: split by the authors' list, in one folder or two."""

from relo_jax.data import miniature
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
