"""COCO: objects become still sequences."""

import json

import pytest

from relo_jax import config as config_lib
from relo_jax.data import miniature
from relo_jax.data.clips.pipeline import sequences
from relo_jax.errors import UserError
from tests.data.opened import names, opened


def test_objects_that_are_large_enough_and_not_a_crowd_become_stills(roots, tmp_path):
    train = opened("coco", "train", roots, tmp_path)
    assert names(train) == ["100_1000", "101_1001", "100_1002"] and train.stills.all()
    assert [s.category for s in train] == ["dog", "dog", "person"] and [len(s) for s in train] == [1, 1, 1]
    assert train[0].boxes_xywh.tolist() == [[5, 6, 70, 60.5]] and train[1].boxes_xywh[0, 2] == 50.01
    assert train[2].where(0) == train[0].where(0) and train.problems == []


def test_a_config_chooses_the_smallest_side_and_each_has_an_index(roots, tmp_path):
    """As in the release: with 0, objects of every size are drawn, and only crowds are left out."""
    data = config_lib.base().data
    data.root = str(roots)
    usual = sequences("coco", data, cache=tmp_path)
    # As for runs and indices of the time before the choice.
    assert names(usual) == names(opened("coco", "train", roots, tmp_path)) and len(list(tmp_path.iterdir())) == 1
    for side, count in ((0, 5), (50, 3), (60, 1)):
        data.coco_smallest_side = side
        assert len(sequences("coco", data, cache=tmp_path)) == count
    data.coco_smallest_side = 0
    assert names(sequences("coco", data, train=False, cache=tmp_path))[3:] == ["900_9003", "900_9004"]
    assert len(list(tmp_path.iterdir())) == 4  # three of train, one of val


def test_images_may_be_below_a_folder_images(tmp_path):
    miniature.coco(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "train2017").rename(tmp_path / "images" / "train2017")
    train = opened("coco", "train", tmp_path, tmp_path / "cache")
    assert "/images/train2017/" in train[0].where(0) and train[0].read_frame(0).shape == (72, 96, 3)


def test_objects_of_missing_images_are_left_out_and_counted(tmp_path):
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
def test_a_broken_annotation_file_is_named(text, tmp_path):
    miniature.coco(tmp_path)
    (tmp_path / "annotations" / "instances_val2017.json").write_text(text)
    with pytest.raises(UserError, match=r"instances_val2017.json: not a COCO annotation file .*extract it again"):
        opened("coco", "val", tmp_path, tmp_path / "cache")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bbox", None), ("bbox", "5,6,70,60"), ("bbox", [5, 6, 70]), ("bbox", [5, 6, "70", 60]), ("bbox", {"x": 5}),
        ("bbox", [5, 6, 10**400, 60]), ("bbox", [[5], 6, 70, 60]), ("id", [1]), ("id", None), ("image_id", {"a": 1}),
        ("category_id", [18]), ("bbox", [True, 6, 70, 60]), ("image_id", "DROP"),
    ],
)  # fmt: skip
def test_an_object_with_values_of_other_types_is_left_out_and_named(tmp_path, field, value):
    miniature.coco(tmp_path)
    path = tmp_path / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    (first,) = [item for item in content["annotations"] if item["id"] == 1000]
    if value == "DROP":
        del first[field]
    else:
        first[field] = value
    path.write_text(json.dumps(content))
    train = opened("coco", "train", tmp_path, tmp_path / "cache")
    assert names(train) == ["101_1001", "100_1002"] and train.left_out == 1
    (problem,) = train.problems
    assert problem.kind == "unreadable annotation" and f"has the {field} " in str(problem)


@pytest.mark.parametrize("item", [{"id": [1], "file_name": "a.jpg"}, {"id": 1, "file_name": 7}, {"id": 1}])
def test_images_with_values_of_other_types_are_refused(tmp_path, item):
    miniature.coco(tmp_path)
    path = tmp_path / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"images": [item]}))
    with pytest.raises(UserError, match=r"instances_val2017.json: not a COCO annotation file"):
        opened("coco", "val", tmp_path, tmp_path / "cache")
