"""Frames of failure cases: the loss is among them, and boxes of any size can be drawn."""

import numpy as np

from relo_jax.eval.report import failure_cases
from relo_jax.eval.report.comparison import of_measured
from relo_jax.eval.tracker_results import TrackerResults, measure
from relo_jax.tracking.result import Look
from tests.eval import trackers


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
    frame = np.full((90, 1920, 3), 90, np.uint8)
    image = failure_cases.draw_boxes(frame, np.array([20.0, 20, 60, 40]), [((100, 20, 60, 40), "#0072b2")])
    assert image.shape == (45, 960, 3)
    assert (image[20, 10] > 200).all() and image[20, 50, 2] > 140 > image[20, 50, 0]
    failure_cases.draw_boxes(frame, np.full(4, np.nan), [((-1e9, 1e9, 1e9, 0), "#ffffff")])


def test_a_small_target_is_enlarged_in_the_corner_away_from_it():
    frame = np.zeros((240, 320, 3), np.uint8)
    frame[20:30, 300:310] = (200, 100, 50)
    inset, corner = failure_cases.inset(frame, np.array([300.0, 20, 10, 10]), [])
    assert corner == "left bottom" and inset.shape == (240, 240, 3)
    assert (inset == (200, 100, 50)).all(-1).mean() > 0.04  # a thousandth of the frame
    away = np.full(4, np.nan)
    assert failure_cases.inset(frame, away, [((0, 200, 8, 8), "#0072b2")])[1] == "right top"  # of a tracker
    assert failure_cases.inset(frame, np.array([100.0, 100, 90, 50]), [])[0] is None  # large enough
    assert failure_cases.inset(frame, away, [])[0] is None


def test_a_policy_is_drawn_only_under_the_box_that_it_led_to():
    benchmark = trackers.five()
    entry = TrackerResults("t", boxes={s.name: trackers.boxes_of(s, 1) for s in benchmark})
    measure(benchmark, [entry])
    comparison, sequence = of_measured(benchmark, [entry]), benchmark[0]
    policy = np.zeros((4, 4), np.float32)
    policy[0, 0] = 1

    def look(index, off):
        x, y, w, h = entry.boxes[sequence.name][index] + [off, 0, 0, 0]
        return Look(
            (x, y, w, h), 1, True, 0, policy=policy, value=None, entropy=0, window=policy, region=(0, 0, 40, 40)
        )

    def shots(off):
        looks = lambda sequence, frames: {index: look(index, off) for index in frames[1:]}
        overlap = failure_cases.overlaps(comparison, sequence, ["t"])
        return failure_cases.key_frames(comparison, sequence, "t", overlap, {"t": "#0072b2"}, looks=looks)

    (first, *same), (_, *others), (_, *plain) = shots(0), shots(1000), shots(2000)
    for drawn, other, none in zip(same, others, plain, strict=True):
        assert (drawn.image != none.image).any() and (other.image == none.image).all()
    assert (first.image == shots(1000)[0].image).all()  # the first frame's box is given
