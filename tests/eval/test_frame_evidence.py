"""Which frames are right, lost, or neither."""

import numpy as np

from relo_jax.eval.frame_evidence import FrameEvidence, is_right, overlaps


def test_which_boxes_are_right_and_which_targets_lost():
    truth = np.array([[0, 0, 10, 10]] * 4 + [[np.nan] * 4, [5, 5, 0, 0], [0, 0, 10, 10]], float)
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 5.1], [0, 0, 10, 1.9]] + [[0, 0, 10, 10]] * 3, float)
    visible = np.array([True] * 6 + [False])
    # Equal; half, which is not above a half; a little more than half; a fifth; nowhere; without area; hidden.
    np.testing.assert_allclose(overlaps(boxes, truth, visible), [1, 0.5, 0.51, 0.19, 0, 0, 0])
    assert is_right(boxes, truth, visible).tolist() == [True, False, True, False, False, False, False]
    frames = FrameEvidence(np.zeros((7, 4)), overlaps(boxes, truth, visible), np.zeros(7), np.arange(7))
    assert frames.right.tolist() == [True, False, True, False, False, False, False]
    assert frames.lost.tolist() == [False, False, False, True, True, True, True]
    twice = FrameEvidence(np.zeros((4, 4)), np.zeros(4), np.array([3, 4, 5, 5]), np.array([1, 1, 2, 2]))
    assert twice.uninterrupted.tolist() == [True, False, True, True]
    assert frames[frames.lost].sequence.tolist() == [3, 4, 5, 6] and len(frames[frames.right]) == 2
