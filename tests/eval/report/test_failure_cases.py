"""Frames of failure cases: the loss is among them, and boxes of any size can be drawn."""

import numpy as np

from relo_jax.eval.report import failure_cases


def test_frames_are_shown_from_the_first_over_the_loss_to_the_last():
    overlap = np.full(100, 0.8)
    overlap[40:] = 0
    assert failure_cases.first_loss(overlap) == 40
    assert failure_cases.moments(overlap) == [0, 40, 66, 99]
    overlap[40:] = 0.5
    overlap[20:23] = 0  # three frames are no loss
    overlap[30:35] = np.nan
    assert failure_cases.first_loss(overlap) is None and failure_cases.moments(overlap) == [0, 33, 66, 99]
    assert failure_cases.moments(np.ones(1)) == [0] and failure_cases.moments(np.ones(2)) == [0, 1]


def test_boxes_are_drawn_in_their_colours_however_odd_they_are():
    frame = np.full((90, 1120, 3), 90, np.uint8)
    image = failure_cases.draw_boxes(frame, np.array([20.0, 20, 60, 40]), [((100, 20, 60, 40), "#0072b2")])
    assert image.shape == (45, 560, 3)
    assert (image[20, 10] > 200).all() and image[20, 50, 2] > 140 > image[20, 50, 0]
    failure_cases.draw_boxes(frame, np.full(4, np.nan), [((-1e9, 1e9, 1e9, 0), "#ffffff")])
