"""OTB-100: several targets per folder, and annotations of only part of the frames."""

import shutil

import numpy as np

from relo_jax.data import miniature
from tests.data.opened import by_name, opened


def test_targets_are_named_after_their_annotation_file(roots, tmp_path):
    sequences = by_name(opened("otb100", "test", roots, tmp_path))
    assert set(sequences) == {"Football1", "Human4.2", "Jogging.1", "Jogging.2"}
    assert np.allclose(sequences["Jogging.1"].boxes_xywh, miniature.walk())
    assert np.allclose(sequences["Jogging.2"].boxes_xywh, miniature.walk(seed=1) + [42, 0, 0, 0])
    assert sequences["Jogging.1"].where(3) == sequences["Jogging.2"].where(3)


def test_a_sequence_without_frames_is_named_by_its_official_folder(tmp_path):
    miniature.otb100(tmp_path)
    shutil.rmtree(tmp_path / "Football1" / "img")
    problems = [str(p) for p in opened("otb100", "test", tmp_path, tmp_path / "cache").problems]
    assert "Football1/img: no images in it: extract the sequence again" in problems


def test_annotations_that_cover_only_part_of_the_frames(tmp_path):
    """Only names and boxes matter, so the images are empty files. The x of a box is the number of its frame."""
    spans = {
        "David": (1, 770, 300, 770),  # first and last frame, first and last annotated frame
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
    dataset = opened("otb100", "test", tmp_path, tmp_path / "cache")
    used = {s.name: (int(s.boxes_xywh[0, 0]), int(s.boxes_xywh[-1, 0])) for s in dataset}
    assert used == {"David": (300, 770), "Football1": (1, 74), "BlurCar4": (18, 397), "Tiger1": (6, 354),
                    "Board": (1, 698)}  # fmt: skip
    for sequence in dataset:
        numbers = [int(sequence.where(k).split("/")[-1][:-4]) for k in range(len(sequence))]
        assert numbers == sequence.boxes_xywh[:, 0].astype(int).tolist(), sequence.name
