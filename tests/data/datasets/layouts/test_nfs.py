"""Need for Speed: every eighth line, in the authors' layout, in pytracking's and with the release's annotations."""

import shutil

import numpy as np
import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets.index import open_index
from relo_jax.data.datasets.layouts import dataset_layout
from tests.data.opened import by_name, frame_file, opened


def test_every_eighth_line_counts_from_the_first(roots, tmp_path):
    dataset = opened("nfs", "test", roots, tmp_path)
    sequences = by_name(dataset)
    assert set(sequences) == {"bee", "Gymnastics", "dog_2"}
    for seed, name in enumerate(("bee", "Gymnastics", "dog_2")):
        assert np.allclose(sequences[name].boxes_xywh, miniature.walk(seed=seed), atol=1e-3)
    assert frame_file(sequences["dog_2"], 2) == "dog_2/00017.jpg" and "/240/" in sequences["dog_2"].where(0)
    assert [str(p) for p in dataset.problems] == [
        "Gymnastics/30/Gymnastics.txt: the last of 25 frames has no box: left out"
    ]


def test_the_layout_of_pytracking_gives_the_same_sequences(roots, tmp_path):
    (tmp_path / "anno").mkdir()
    for seed, name in enumerate(("bee", "Gymnastics")):
        boxes = miniature.walk(seed=seed)
        miniature.write_frames(tmp_path / "sequences" / name, [*boxes, boxes[-1]], "{:05d}.jpg", seed=seed)
        (tmp_path / "anno" / f"nfs_{name}.txt").write_text(miniature.lines(boxes, "\t"))
    official = by_name(opened("nfs", "test", roots, tmp_path / "cache"))
    for sequence in opened("nfs", "test", tmp_path, tmp_path / "cache"):
        other = official[sequence.name]
        assert np.allclose(sequence.boxes_xywh, other.boxes_xywh, atol=1e-3) and len(sequence) == 24
        assert sequence.read_encoded(5) == other.read_encoded(5)


def test_a_line_that_is_not_a_track_is_named(tmp_path):
    miniature.nfs(tmp_path)
    for name, number, line in (("bee", 5, "0 12.5 oops 3 4 5 0 0 1 x"), ("dog_2", 9, '0 1 1 inf 30 9 0 0 1 "insect"')):
        path = tmp_path / name / "30" / f"{name}.txt"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[: number - 1], line, *lines[number:]]))
    (tmp_path / "Gymnastics" / "30" / "Gymnastics.txt").write_text("\n")
    dataset = open_index(dataset_layout("nfs"), "test", tmp_path, tmp_path / "cache")
    fatal = sorted(str(p) for p in dataset.problems if p.fatal)
    assert fatal[0] == "Gymnastics/30/Gymnastics.txt: holds no boxes"
    assert fatal[1].startswith("bee/30/bee.txt: line 5: '0 12.5 oops 3 4 5 0 0 1 x' is not")
    assert fatal[2].startswith("dog_2/30/dog_2.txt: line 9: '0 1 1 inf 30")


@pytest.fixture
def released(tmp_path):
    """A root with the release's annotations beside the authors'; both agree."""
    root = tmp_path / "nfs"
    miniature.nfs(root)
    for seed, name in enumerate(("bee", "Gymnastics", "dog_2")):
        (root / name / "30" / f"{name}_pytracking.txt").write_text(miniature.lines(miniature.walk(seed=seed).round(1)))
    return root


def open_released(root):
    return open_index(dataset_layout("nfs"), "test", root, root.parent / "cache")


def test_the_releases_annotations_go_before_the_authors(released):
    dataset = open_released(released)
    sequences = by_name(dataset)
    for seed, name in enumerate(("bee", "Gymnastics", "dog_2")):
        assert np.array_equal(sequences[name].boxes_xywh, miniature.walk(seed=seed).round(1))
        assert frame_file(sequences[name], 2) == f"{name}/00003.jpg" and "/30/" in sequences[name].where(0)
    assert [str(p) for p in dataset.problems] == [
        "Gymnastics/30/Gymnastics_pytracking.txt: the last of 25 frames has no box: left out",
        "Gymnastics/30/Gymnastics_pytracking.txt: 3 of 3 sequences have a file like this one: it is read, not the "
        "authors'",
    ]
    (released / "dog_2" / "30" / "dog_2_pytracking.txt").unlink()
    assert "2 of 3 sequences have a file like this one" in str(open_released(released).problems[-1])


def test_annotations_that_disagree_are_noted(released):
    boxes = miniature.walk().round(1)
    boxes[4:6, 0] += [1.5, 30]
    (released / "bee" / "30" / "bee_pytracking.txt").write_text(miniature.lines(boxes))
    short = released / "dog_2" / "30" / "dog_2.txt"
    short.write_text("".join(short.read_text().splitlines(keepends=True)[:80]))
    (released / "Gymnastics" / "30" / "Gymnastics.txt").write_text("0 1 2 oops\n")
    notes = {p.where.partition("/")[0]: p for p in open_released(released).problems if p.kind == "annotations differ"}
    assert notes["bee"].detail == "is read; bee.txt differs in 2 of 24 frames, by up to 30 pixels, the first in line 5"
    assert notes["dog_2"].detail == "is read; it has 24 boxes and every eighth line of dog_2.txt 10"
    assert notes["Gymnastics"].detail.startswith("is read; the authors' is broken: ")
    assert not any(note.fatal for note in notes.values()) and len(open_released(released)) == 3


def test_a_changed_annotation_of_either_kind_is_read_again(released):
    assert len(open_released(released)) == 3
    (released / "bee" / "30" / "bee.txt").write_text("0 1 2 oops\n")
    assert any(p.kind == "annotations differ" for p in open_released(released).problems)
    (released / "bee" / "30" / "bee_pytracking.txt").write_text("1,2,3\n")
    assert len(open_released(released)) == 2


def test_the_releases_boxes_of_dog_2_take_the_first_of_its_wrong_frames(released):
    folder = released / "dog_2" / "30" / "dog_2"
    for number in range(25, 41):
        shutil.copy(folder / "00001.jpg", folder / f"{number:05d}.jpg")
    dataset = open_released(released)
    assert len(by_name(dataset)["dog_2"]) == 24
    assert str(dataset.problems[1]) == (
        "dog_2/30/dog_2: 40 frames of another sequence for 24 boxes: the release reads the first ones too"
    )
    (released / "dog_2" / "30" / "dog_2_pytracking.txt").unlink()
    assert "/240/" in by_name(open_released(released))["dog_2"].where(0)
    shutil.rmtree(released / "dog_2" / "240")
    left_out = [str(p) for p in open_released(released).problems if p.fatal]
    assert left_out == ["dog_2/240/dog_2: no images in it: extract the sequence again"], "never the wrong frames"
