"""Calibration: the fit recovers known weights, figures agree with hand computation, thresholds keep their promise."""

import dataclasses
import json

import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.eval import calibration
from relo_jax.eval.frame_evidence import FrameEvidence
from relo_jax.tracking import confidence

TRUE = dict(zip(confidence.FIELDS, (-7.0, 0.2, 3.0, 4.0, 2.0), strict=True))
FALSE_ALARMS = 0.1


def draw(count, weights=TRUE, seed=0):
    """Evidence of realistic size, and boxes that are right with the probability of the weights."""
    rng = np.random.default_rng(seed)
    evidence = rng.normal((6, 1, 0.8, 0.9), (4, 0.4, 0.3, 0.3), (count, 4))
    return evidence, rng.random(count) < probability(evidence, weights)


def probability(evidence, weights):
    return np.asarray(confidence.probability(evidence, weights), np.float64)


def test_the_fit_recovers_the_weights():
    evidence, right = draw(60_000)
    found = calibration.fit(evidence, right)
    for name, true in TRUE.items():
        assert found[name] == pytest.approx(true, rel=0.12), name
    held_out, answer = draw(20_000, seed=1)
    scores = probability(held_out, found)
    assert calibration.expected_calibration_error(scores, answer) < 0.015
    assert np.abs(scores - probability(held_out, TRUE)).max() < 0.05


def test_contrary_evidence_gets_no_weight_and_constant_evidence_does_no_harm():
    evidence, right = draw(4_000)
    evidence[:, 0], evidence[:, 2] = -evidence[:, 0], 0.5
    found = calibration.fit(evidence, right)
    assert found["score_local_probability"] == 0 and found["score_value"] > 2
    assert np.isfinite(list(found.values())).all()
    assert all(found[name] >= 0 for name in confidence.FIELDS[1:])


def test_too_few_frames_are_one_line():
    evidence, right = draw(400)
    few = np.zeros(400, bool)
    few[:29] = True
    for answer in (few, ~few):
        with pytest.raises(UserError, match="29 .*at least 30 of each"):
            calibration.fit(evidence, answer)
    with pytest.raises(UserError, match="not finite"):
        calibration.fit(np.where(evidence > 1, np.nan, evidence), right)


def test_the_calibration_error_by_hand():
    scores = np.array([0.05, 0.05, 0.05, 0.05, 0.95, 0.95, 1.0, 0.5])
    right = np.array([0, 0, 0, 1, 1, 1, 0, 1], bool)
    by_hand = 4 / 8 * abs(0.05 - 1 / 4) + 3 / 8 * abs(2.9 / 3 - 2 / 3) + 1 / 8 * abs(0.5 - 1)
    assert calibration.expected_calibration_error(scores, right) == pytest.approx(by_hand)
    assert calibration.expected_calibration_error([0.0, 1.0], [False, True]) == 0
    assert calibration.expected_calibration_error([0.0, 1.0], [True, False]) == 1


def test_the_area_under_the_roc_counts_pairs():
    rng = np.random.default_rng(0)
    scores, right = rng.integers(0, 6, 60) / 5, rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[right] for b in scores[~right]]
    assert calibration.auroc(scores, right) == pytest.approx(np.mean(pairs))
    assert np.isnan(calibration.auroc([0.1, 0.2], [True, True]))


@pytest.mark.parametrize("allowed", [0.0, 0.01, 0.05, 0.333, 0.5, 1.0])
def test_the_threshold_is_the_lowest_that_keeps_the_false_alarm_rate(allowed):
    rng = np.random.default_rng(1)
    scores, right = np.round(rng.random(400), 3), rng.random(400) < 0.5  # some equal
    threshold = calibration.threshold_for(scores, ~right, right, allowed)
    wrong = scores[~right]
    assert (wrong >= threshold).mean() <= allowed
    if threshold > 0:
        assert (wrong >= threshold - 2e-4).mean() > allowed


def test_without_a_rate_the_threshold_balances_both_errors():
    lost, tracked = np.array([0.1, 0.2, 0.3, 0.7]), np.array([0.25, 0.6, 0.8, 0.9])
    scores, is_lost = np.concatenate([lost, tracked, [0.5]]), np.arange(9) < 4  # the last frame is neither
    is_tracked = (np.arange(9) >= 4) & (np.arange(9) < 8)
    threshold = calibration.threshold_for(scores, is_lost, is_tracked, None)
    assert 0.3 < threshold < 0.6  # a quarter of either is on the wrong side
    assert threshold == pytest.approx(0.45, abs=1e-3)  # in the middle of all that are as good
    with pytest.raises(UserError, match="lost in no frame"):
        calibration.threshold_for(scores, is_lost & False, is_tracked, None)


def test_an_adjustment_is_two_numbers():
    evidence, right = draw(20_000)
    biased = {name: 0.5 * weight for name, weight in TRUE.items()} | {"score_bias": -9.0}
    found = calibration.adjust(evidence, right, biased)
    weights = np.array([[found[name], biased[name]] for name in confidence.FIELDS[1:]])
    np.testing.assert_allclose(weights[:, 0] / weights[:, 1], 2.0, rtol=0.1)
    np.testing.assert_allclose(weights[:, 0] / weights[:, 1], weights[0, 0] / weights[0, 1], rtol=1e-3)
    assert calibration.expected_calibration_error(probability(evidence, found), right) < 0.015
    assert calibration.expected_calibration_error(probability(evidence, biased), right) > 0.2


def test_the_threshold_keeps_its_promise_on_frames_that_it_has_not_seen():
    (evidence, right), (new, answer) = draw(8_000, seed=2), draw(8_000, seed=3)
    fitted = calibration.fit(evidence, right)
    threshold = calibration.threshold_for(probability(evidence, fitted), ~right, right, FALSE_ALARMS)
    scores = probability(new, fitted)
    numbers = calibration.figures(scores, 0.9 * answer, scores >= threshold)
    deviation = np.sqrt(2 * FALSE_ALARMS * (1 - FALSE_ALARMS) / (~answer).sum())  # of both halves
    assert abs(numbers["false_alarm_rate"] - FALSE_ALARMS) < 4 * deviation
    assert numbers["found_rate"] > 3 * FALSE_ALARMS


def test_the_interval_is_of_sequences_not_of_frames():
    groups = np.repeat(np.arange(20), 50)
    statistic = groups < 4  # all frames of a fifth of the sequences
    low, high = calibration.interval(statistic, groups)
    assert 0.02 < low < 0.1 and 0.3 < high < 0.45  # of independent frames: 0.175 to 0.225
    assert calibration.interval(np.zeros(10, bool), np.zeros(10)) == (0, 0)


def test_shares_of_nothing_are_none():
    numbers = calibration.figures([0.2, 0.9], [0.6, 0.7], [False, True])
    assert numbers["false_alarm_rate"] is None and numbers["auroc"] is None and numbers["found_rate"] == 0.5
    assert calibration.interval(np.zeros(0, bool), np.zeros(0)) == (0, 1)
    json.dumps(numbers, allow_nan=False)


def test_boxes_too_large_are_wrong_but_neither_lost_nor_tracked():
    numbers = calibration.figures([0.9, 0.4, 0.1, 0.6], [0.8, 0.3, 0.1, 0.0], [True, False, False, True])
    assert (numbers["right"], numbers["lost"]) == (0.25, 0.5)
    assert (numbers["found_rate"], numbers["false_alarm_rate"]) == (1.0, 0.5)
    assert numbers["auroc"] == 1.0 and numbers["auroc_lost"] == 0.75


def in_sequences(count, frames, seed):
    """Frames whose sequences share part of the evidence and of its errors."""
    rng = np.random.default_rng(seed)
    shown, unseen = np.repeat(rng.normal(0, (4, 0.4, 0.3, 0.3), (2, count, 4)), frames, 1)
    evidence = rng.normal((2, 0.9, 0.8, 0.8), (2, 0.2, 0.15, 0.15), shown.shape) + shown
    right = rng.random(count * frames) < probability(evidence + unseen, TRUE)
    number = np.repeat(np.arange(count), frames)
    return FrameEvidence(evidence, np.where(right, 0.9, 0.0), number, number)


def test_the_threshold_keeps_its_promise_on_sequences_that_it_has_not_seen():
    """On average over many small calibrations; a threshold chosen on the frames of the fit does not."""
    new = in_sequences(300, 40, seed=99)
    chosen, fitted_to = [], []
    for seed in range(30):
        frames = in_sequences(16, 40, seed)
        options = calibration.fit_with_threshold(frames, FALSE_ALARMS)
        wrong = probability(new.evidence, options)[new.lost]
        chosen.append((wrong >= options["found_threshold"]).mean())
        scores = probability(frames.evidence, options)
        threshold = calibration.threshold_for(scores, frames.lost, frames.right, FALSE_ALARMS)
        fitted_to.append((wrong >= threshold).mean())
    assert abs(np.mean(chosen) - FALSE_ALARMS) < 0.03 and np.mean(fitted_to) > FALSE_ALARMS + 0.06


def test_the_figures_of_a_sequence_do_not_depend_on_its_own_frames():
    given = in_sequences(12, 50, seed=0)
    right, sequence = given.right, given.sequence
    scores, found = calibration.cross_validate(given, 1, 0.2)
    assert (found[right].mean() > found[~right].mean()) and 0 < found[~right].mean() < 0.5
    for changed in (0, 7):
        frames = sequence == changed
        part = sequence % calibration.FOLDS == changed % calibration.FOLDS
        turned = dataclasses.replace(given, overlap=np.where(frames, 0.9 - given.overlap, given.overlap))
        again, found_again = calibration.cross_validate(turned, 1, 0.2)
        np.testing.assert_array_equal(again[part], scores[part])
        assert np.array_equal(found_again[part], found[part]) and np.abs(again[~part] - scores[~part]).max() > 1e-3


def test_of_few_sequences_each_is_scored_by_a_fit_to_all_others():
    assert (calibration.folds(8), calibration.folds(160)) == (8, calibration.FOLDS)
    given = in_sequences(4, 200, seed=3)
    scores, _ = calibration.cross_validate(given, 3, None)
    for number in range(4):
        own = given.sequence == number
        options = calibration.fit(given.evidence[~own], given.right[~own])
        np.testing.assert_allclose(scores[own], probability(given.evidence[own], options), atol=1e-6)


def test_found_of_each_video_begins_anew():
    scores = np.array([0.9, 0.1, 0.1, 0.1, 0.1, 0.1])
    evidence = np.zeros((6, 4))
    evidence[:, 0] = np.log(scores / (1 - scores))
    frames = FrameEvidence(evidence, np.zeros(6), np.array([0, 0, 0, 1, 1, 1]), np.zeros(6))
    seen, found = calibration.apply(frames, {**confidence.UNCALIBRATED, "found_threshold": 0.5, "found_frames": 2})
    np.testing.assert_allclose(seen, scores, atol=1e-6)
    assert found.tolist() == [True, True, False, True, False, False]
