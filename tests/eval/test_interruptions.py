"""Jumps and cuts: where the target is then, and that boxes stay on it."""

import numpy as np
import pytest

from relo_jax.data.sequence import Sequence
from relo_jax.eval.interruptions import with_interruptions

FRAMES, HEIGHT, WIDTH = 20, 60, 100


def moving(name, colour, y=40):
    """A bright square of 10 pixels that moves right over a grey frame, in front of a colour."""
    boxes = np.array([[10 + 2 * t, y, 10, 10] for t in range(FRAMES)], float)

    def read_frame(index):
        frame = np.full((HEIGHT, WIDTH, 3), colour, np.uint8)
        x, y, w, h = boxes[index].astype(int)
        frame[y : y + h, x : x + w] = 255
        return frame

    return Sequence(name, boxes, np.ones(FRAMES, bool), read_frame)


@pytest.fixture(scope="module")
def videos():
    return with_interruptions([moving("a", 50), moving("b", 90)])


def test_each_sequence_has_a_jump_and_a_cut(videos):
    versions, made_from = videos
    assert [video.name for video in versions] == ["a", "a, jump", "a, cut", "b", "b, jump", "b, cut"]
    assert made_from == [0, 0, 0, 1, 1, 1]
    assert [video.name for video in with_interruptions([moving("a", 50)])[0]] == ["a", "a, jump"]


def test_after_a_jump_the_target_is_elsewhere_and_whole(videos):
    plain, jump = videos[0][:2]
    moved = np.flatnonzero((jump.boxes_xywh != plain.boxes_xywh).any(1))
    assert moved.tolist() == list(range(8, 12))
    for index in range(FRAMES):
        x, y, w, h = jump.boxes_xywh[index].astype(int)
        assert (
            (jump.read_frame(index) == 255).sum() == 300 == (jump.read_frame(index)[y : y + h, x : x + w] == 255).sum()
        )
    shift = jump.boxes_xywh[8] - plain.boxes_xywh[8]
    assert shift.tolist() == [100 - 42, -40, 0, 0]  # as far as there is room: right and up


def test_a_cut_shows_another_scene_without_the_target(videos):
    cut, other = videos[0][2], videos[0][3]
    away = np.flatnonzero(~cut.visible)
    assert away.tolist() == list(range(8, 12)) and np.isnan(cut.boxes_xywh[away]).all()
    assert np.array_equal(cut.read_frame(9), other.read_frame(1)) and cut.read_frame(12)[0, 0, 0] == 50
