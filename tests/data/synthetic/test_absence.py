"""Absences: the target is out of sight for a while and comes back; the rest of the scene does not change."""

from dataclasses import replace

import numpy as np
import pytest

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.composed import target_extremes
from relo_jax.data.synthetic.procedural import Procedural, heldout
from relo_jax.data.synthetic.scene import render

FRAMES = 100
SEQUENCES = 16
WITH = Options(num_frames=FRAMES, bank_size=24, occlusion=0.0, absence=1.0)
WITHOUT = Options(num_frames=FRAMES, bank_size=24, occlusion=0.0)


@pytest.fixture(scope="module")
def pairs():
    """(scene, sequence) with an absence, and the same without, for each index."""
    sources = [Procedural(7, "heldout", options) for options in (WITH, WITHOUT)]
    return [[(source.scene(k), source[k]) for source in sources] for k in range(SEQUENCES)]


def runs(hidden):
    """(first, last + 1) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], hidden, [False]]).astype(int)))
    return list(zip(edges[::2], edges[1::2], strict=True))


def test_the_target_goes_and_comes_back(pairs):
    for (_, gone), (_, here) in pairs:
        absences = [run for run in runs(~gone.visible & here.visible) if run[1] - run[0] > 5]
        assert len(absences) == 1, gone.name
        first, end = absences[0]
        assert 0.1 * FRAMES < first and end < 0.9 * FRAMES and 0.15 * FRAMES < end - first < 0.6 * FRAMES
        assert gone.visible[end : end + 3].any() or not here.visible[end : end + 3].all()


def test_some_leave_the_frame_and_the_others_are_hidden(pairs):
    left = [len(gone.layers) == len(here.layers) for (gone, _), (here, _) in pairs]
    assert 1 <= sum(left) <= SEQUENCES - 4
    for out, ((_, sequence), _) in zip(left, pairs, strict=True):
        gone = runs(~sequence.visible)
        middle = max(gone, key=lambda run: run[1] - run[0])
        area = sequence.boxes_xywh[sum(middle) // 2, 2:].prod()
        assert (area == 0) == out  # a hidden target keeps its box, one outside has none


def test_an_absent_target_does_not_show(pairs):
    """Rendered without its target, a frame of the absence is the same."""
    for (scene, sequence), _ in pairs:
        first, end = max(runs(~sequence.visible), key=lambda run: run[1] - run[0])
        t = (first + end) // 2
        without = replace(scene, layers=tuple(v for n, v in enumerate(scene.layers) if n not in scene.target))
        a, b = (render(s, t, 0, 0, 1, scene.width, scene.height).astype(int) for s in (scene, without))
        low, high = target_extremes(scene)
        assert (np.abs(a - b).max(-1) > 40).sum() < 0.02 * (high - low)[t].prod()


def test_the_frames_before_the_absence_are_the_same(pairs):
    for (_, gone), (_, here) in pairs[:6]:
        assert np.array_equal(gone.read_frame(0), here.read_frame(0))
        assert np.array_equal(gone.boxes_xywh[:6], here.boxes_xywh[:6])


def test_the_option_is_the_share_of_sequences_with_an_absence():
    some = heldout(7, 40, Options(num_frames=30, bank_size=24, occlusion=0.0, absence=0.5))
    none = heldout(7, 40, Options(num_frames=30, bank_size=24, occlusion=0.0))
    differ = [not np.array_equal(a.visible, b.visible) for a, b in zip(some, none, strict=True)]
    assert 10 <= sum(differ) <= 30
