"""Need for Speed: every eighth line, in the authors' layout and in pytracking's."""

import numpy as np

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
