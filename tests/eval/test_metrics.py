"""Metrics: they equal golden numbers of pytracking and GOT-10k's toolkit, and keep their invariants for any boxes."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.eval.metrics import (
    HEADINGS,
    RULES,
    got10k_numbers,
    got10k_overlaps,
    mean,
    measure,
    never_moves,
    whole_numbers,
)

SEQUENCES = 6


@pytest.fixture(scope="module")
def golden(fixtures):
    with np.load(fixtures / "metrics.npz") as file:
        return dict(file)


@pytest.mark.parametrize("rules", ["lasot", "nfs"])
def test_curves_equal_the_golden_numbers(golden, rules):
    curves = []
    for k in range(SEQUENCES):
        predicted, truth, visible = (golden[f"{rules}_{k}_{name}"] for name in ("pred", "gt", "visible"))
        curves.append(measure(predicted, truth, visible if rules == "lasot" else None))
    for name in ("success", "precision", "norm_precision", "average_overlap"):
        ours = np.array([getattr(c, name) for c in curves])
        np.testing.assert_allclose(ours, golden[f"{rules}_{name}"], rtol=0, atol=1e-9, err_msg=name)
    numbers = mean(curves).numbers()
    for ours, theirs in {"auc": "AUC", "p20": "P20", "np20": "NP20"}.items():
        assert numbers[ours] * 100 == pytest.approx(float(golden[f"{rules}_{theirs}"]), abs=1e-9)
    assert numbers["ao"] == pytest.approx(golden[f"{rules}_average_overlap"].mean(), abs=1e-9)


def test_the_golden_numbers_cover_absent_and_hidden_frames(golden):
    """Without absent and hidden frames they could not distinguish the rules."""
    for rules in ("lasot", "nfs"):
        assert any((golden[f"{rules}_{k}_gt"][:, 2:] == 0).any() for k in range(SEQUENCES))
        assert any(not golden[f"{rules}_{k}_visible"].all() for k in range(SEQUENCES))


@pytest.mark.parametrize("boxes", ["float", "integer"])
@pytest.mark.parametrize("rules", ["nfs", "lasot"])
def test_float_and_whole_number_boxes_equal_the_golden_numbers(boxes, rules, fixtures):
    """Of the release, which keeps its curves in float32."""
    with np.load(fixtures / "metrics_integer.npz") as file:
        golden = dict(file)
    for k in range(SEQUENCES):
        predicted, truth, visible = (golden[f"{k}/{name}"] for name in ("prediction_xywh", "truth_xywh", "visible"))
        predicted = whole_numbers(predicted) if boxes == "integer" else predicted
        curves = measure(predicted, truth, visible if rules == "lasot" else None)
        ours, theirs = [curves.auc, curves.p20, curves.np20], golden[f"{k}/{boxes}/{rules}"]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-7, err_msg=str(k))


def test_the_golden_boxes_of_one_frame_lose_their_area(fixtures):
    """Without it they could not tell whether the box before replaces them."""
    with np.load(fixtures / "metrics_integer.npz") as golden:
        for k in range(SEQUENCES):
            predicted = golden[f"{k}/prediction_xywh"]
            assert (predicted[:, 2:] > 0).all() and (whole_numbers(predicted)[:, 2:] == 0).any()


def test_whole_numbers_are_truncated_towards_zero():
    found = whole_numbers([[-0.9, -1.9, 2.9, 0.9], [5, 6, 7, 8]])
    assert found.tolist() == [[0, -1, 2, 0], [5, 6, 7, 8]] and not np.signbit(found[0, 0])
    assert whole_numbers(np.ones((1, 4), np.float32)).dtype == np.float64


def test_every_number_has_a_heading():
    row = measure([[0, 0, 9, 9]], [[0, 0, 9, 9]]).numbers() | got10k_numbers([])
    assert {name: HEADINGS[name] for name in row} == HEADINGS
    assert list(HEADINGS.values()) == ["AUC", "P20", "NP20", "AO", "SR0.5", "SR0.75"]


def test_a_box_that_loses_its_area_is_replaced_by_the_previous_one():
    truth = np.array([[10, 10, 20, 30], [10, 10, 20, 30], [10, 10, 0.8, 30]])
    predicted = truth + [0, 0, 0.4, 0.4]
    predicted[2, 2] = 0.9
    floats, whole = measure(predicted, truth), measure(whole_numbers(predicted), truth)
    assert floats.success[10] == 1 and whole.success[10] == pytest.approx(2 / 3)  # 0.8 / 20 in the last frame
    assert whole.average_overlap == pytest.approx((2 + 0.8 / 20) / 3)


def boxes(count, smallest=1.0):
    number = st.floats(-200, 200)
    size = st.floats(smallest, 200)
    box = st.tuples(number, number, size, size)
    return st.lists(box, min_size=count, max_size=count).map(np.array)


pairs = st.integers(2, 12).flatmap(lambda n: st.tuples(boxes(n, smallest=0.5), boxes(n)))


@settings(deadline=None, max_examples=50)
@given(pairs)
def test_curves_are_shares_that_rise_and_fall(pair):
    curves = measure(*pair)
    for curve in (curves.success, curves.precision, curves.norm_precision):
        assert (curve >= 0).all() and (curve <= 1).all()
    assert (np.diff(curves.success) <= 0).all()
    assert (np.diff(curves.precision) >= 0).all() and (np.diff(curves.norm_precision) >= 0).all()
    # The thresholds are 0.05 apart, so that the area is the mean overlap to within one step.
    assert abs(curves.auc - curves.average_overlap) <= 0.05 + 1e-9


@settings(deadline=None, max_examples=50)
@given(pairs, st.floats(-500, 500), st.floats(-500, 500))
def test_moving_everything_changes_nothing(pair, x, y):
    predicted, truth = pair
    shift = np.array([round(x), round(y), 0, 0])
    before, after = measure(predicted, truth), measure(predicted + shift, truth + shift)
    assert after.average_overlap == pytest.approx(before.average_overlap, abs=1e-6)


@settings(deadline=None, max_examples=50)
@given(pairs, st.integers(1, 4))
def test_a_frame_counts_once(pair, times):
    """A sequence played several times over, its first frame aside, has the curves of the frames it repeats."""
    predicted, truth = (np.concatenate([b[:1], *[b[1:]] * times]) for b in pair)
    once, often = measure(*pair), measure(predicted, truth)

    def without_first(curves, frames):
        return (curves.precision * frames - 1) / (frames - 1)

    np.testing.assert_allclose(without_first(often, len(truth)), without_first(once, len(pair[0])), atol=1e-12)


def test_the_truth_itself_is_perfect_but_for_the_last_threshold():
    """IoU is never strictly above 1: the best AUC of the field is 20/21."""
    truth = np.array([[10, 10, 20, 30], [12, 11, 20, 30.5], [300, 200, 5, 5]])
    curves = measure(truth, truth)
    assert curves.success.tolist() == [1.0] * 20 + [0.0]
    assert (curves.p20, curves.np20, curves.average_overlap) == (1.0, 1.0, 1.0)
    assert curves.auc == pytest.approx(20 / 21)


def test_the_thresholds_include_their_limits_as_in_other_tools():
    """IoU must exceed its threshold, a distance may reach it: 0.5 exactly, and 20 px (0.2 of the size) exactly."""
    truth = np.array([[0, 0, 10, 10], [0, 0, 100, 100], [0, 0, 100, 100.0]])
    predicted = np.array([[0, 0, 10, 10], [0, 0, 100, 50], [12, 16, 100, 100.0]])  # centre off by 25, and by 20
    curves = measure(predicted, truth)
    assert curves.success[10] == pytest.approx(2 / 3)  # the truth, and 88 * 84 / (20000 - 88 * 84) = 0.59
    assert curves.success[9] == pytest.approx(1.0)
    assert curves.precision[19] == pytest.approx(1 / 3) and curves.precision[20] == pytest.approx(2 / 3)
    assert curves.norm_precision[19] == pytest.approx(1 / 3) and curves.norm_precision[20] == pytest.approx(2 / 3)


def test_the_first_box_was_given():
    truth = np.array([[10, 10, 20, 30], [10, 10, 20, 30.0]])
    assert measure(truth + [[500, 0, 0, 0], [0, 0, 0, 0]], truth).average_overlap == 1.0


@pytest.mark.parametrize("absent", [[50, 50, 0, 0], [50, 50, 0, 20], [np.nan] * 4])
def test_a_frame_without_target_is_a_failure(absent):
    truth = np.array([[10, 10, 20, 30], absent])
    curves = measure([[10, 10, 20, 30], [50, 50, 20, 20]], truth)
    assert curves.success[0] == curves.precision[-1] == 0.5
    assert curves.average_overlap == 1.0  # the frame has no overlap
    assert curves.np20 == 1.0  # as in pytracking
    assert measure([[10, 10, 20, 30], [50, 50, 20, 20]], truth, visible=[True, False]).np20 == 0.5


def test_the_mean_does_not_weigh_by_length():
    truth = np.array([[0, 0, 10, 10.0]] * 9)
    lost = truth + [[1000, 0, 0, 0]]
    whole = mean([measure(truth, truth), measure(lost[:2], truth[:2])])
    assert whole.p20 == pytest.approx((1 + 0.5) / 2)
    np.testing.assert_allclose(whole.success, [0.75] * 20 + [0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nothing = measure(truth[:1], [[np.nan] * 4])
        unknown = mean([nothing, nothing])
    assert np.isnan(nothing.average_overlap) and np.isnan(unknown.average_overlap)
    assert mean([measure(truth, truth), nothing]).average_overlap == 1.0


def test_a_box_that_never_moves_is_the_first():
    truth = np.array([[1, 2, 3, 4], [50, 60, 7, 8.0]])
    sequence = Sequence("still", truth, np.ones(2, bool), lambda index: None)
    assert never_moves(sequence).tolist() == [[1, 2, 3, 4]] * 2
    whole = never_moves(replace(sequence, boxes_xywh=truth.astype(np.float32)))
    assert whole.dtype == np.float64 and whole.shape == (2, 4)


def test_distances_are_rounded_as_pytracking_rounds_them():
    """20 pixels, which become 20.000000000000004 between the centres of pixels 0 .. w - 1."""
    truth = np.array([[229.5, 0.8, 54.3, 15.3]] * 2)
    assert measure(truth + [12, 16, 0, 0], truth).p20 == 0.5


def test_numbers_of_half_precision_are_measured_in_full():
    truth = np.array([[1000.0, 2000, 30, 40], [1004, 2004, 30, 40]])
    predicted = truth + [[0, 0, 0, 0], [4, 4, 0, 0]]
    exact, half = measure(predicted, truth), measure(predicted.astype(np.float16), truth.astype(np.float16))
    assert half.average_overlap == exact.average_overlap and np.isfinite(half.average_overlap)
    np.testing.assert_array_equal(half.precision, exact.precision)


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ([[0, 0, 1, 1]], "1 predicted boxes for 2 frames"),
        ([[0, 0, 1, 1], [0, np.nan, 1, 1]], r"predicted box 1 is \[0.0, nan"),
        ([[0, 0, 1, 1], [0, 0, -1, 1]], "predicted box 1 .* negative size"),
    ],
)
def test_bad_predictions_are_refused(predicted, message):
    with pytest.raises(UserError, match=message):
        measure(predicted, [[0, 0, 1, 1], [0, 0, 1, 1]])


# Frame 0 is given; 1 is found; 2 has no box; 3 has a box and is flagged; 4 is lost.
TRUTH = np.array([[10, 10, 20, 30], [10, 10, 20, 30], [np.nan] * 4, [10, 10, 20, 30], [10, 10, 20, 30.0]])
PREDICTED = np.array([[10, 10, 20, 30]] * 4 + [[300, 300, 20, 30.0]])
FLAGS = np.array([True, True, True, False, True])


@pytest.mark.parametrize(
    ("rules", "success", "precise", "norm_precise"),
    [
        ("plain", 3, 3, 4),  # frame 2 is right for normalised precision alone
        ("uav123", 3, 4, 4),  # and here for precision too
        ("lasot", 2, 2, 3),  # frame 3 is wrong everywhere; frame 2 as plain
        ("lasot_ext", 2, 2, 4),  # frame 3 is right for normalised precision
    ],
)
def test_how_a_frame_without_target_counts(rules, success, precise, norm_precise):
    curves = measure(PREDICTED, TRUTH, FLAGS.astype(int), rules)
    assert curves.success[0] == success / 5
    assert curves.p20 == precise / 5 and curves.np20 == norm_precise / 5
    assert curves.precision[0] == precise / 5 and curves.norm_precision[0] == norm_precise / 5
    assert curves.auc == pytest.approx(success / 5 * 20 / 21)
    assert set(RULES) == {"plain", "uav123", "lasot", "lasot_ext"}


def test_a_prediction_without_area_is_replaced_by_the_previous_one():
    truth = np.array([[10, 10, 20, 30]] * 5, float)
    predicted = truth.copy()
    predicted[2:4, 2] = 0
    assert measure(predicted, truth).success[10] == 1.0
    unknown = truth.copy()
    unknown[2, 0] = np.nan  # pytracking replaces nothing in a frame without a truth, so that the next box has no area
    assert measure(predicted, unknown).success[10] == 3 / 5
    predicted[1] = [300, 300, 20, 30]
    assert measure(predicted, truth).success[10] == 2 / 5
    predicted[0], predicted[1:, 2] = truth[0], 0
    assert measure(predicted, truth).success[10] == 1.0


def test_got10k_counts_visible_frames_after_the_first_together():
    """By hand: boxes of 10 x 10 that are 0, 2, 5 and 100 pixels off: overlaps 1, 2/3, 1/3, 0; the fourth is covered."""
    truth = np.array([[50, 50, 10, 10.0]] * 6)
    predicted = truth + [[90, 0, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0], [5, 0, 0, 0], [100, 0, 0, 0], [100, 0, 0, 0]]
    visible = np.array([1, 1, 1, 1, 0, 1], bool)
    long = got10k_overlaps(predicted, truth, (200, 100), visible)
    np.testing.assert_allclose(long, [1, 2 / 3, 1 / 3, 0])
    short = got10k_overlaps(truth[:2], truth[:2], (200, 100), visible[:2])
    numbers = got10k_numbers([long, short])
    assert numbers == {"ao": pytest.approx((1 + 2 / 3 + 1 / 3 + 0 + 1) / 5), "sr50": 3 / 5, "sr75": 2 / 5}
    assert got10k_numbers([np.array([0.4, 0.48, 0.5, 0.51, 0.7, 0.75, 0.76, 0.8])]) == {
        "ao": pytest.approx(0.6125), "sr50": 5 / 8, "sr75": 2 / 8,
    }  # fmt: skip
    assert len(got10k_overlaps(predicted, truth)) == 5
    assert all(np.isnan(v) for v in got10k_numbers([]).values())


def test_got10k_counts_a_box_without_area_as_missed_where_nothing_covers_it():
    truth = np.array([[50, 50, 10, 10], [50, 50, 10, 10], [50, 50, 0, 0], [50, 50, 0, 0], [np.nan] * 4])
    predicted = np.array([[50, 50, 10, 10.0]] * 5)
    assert got10k_overlaps(predicted, truth, (200, 100), [1, 1, 1, 0, 1]).tolist() == [1.0, 0.0]
    assert got10k_overlaps(predicted, truth, (200, 100)).tolist() == [1.0]
    truth[1:] = [[50, 50, 0, 10], [50, 50, 10, 0], [np.nan, 50, 10, 10], [50, 50, 1, 1]]
    truth[3, 0] = np.nan
    assert got10k_overlaps(predicted, truth, (200, 100), [1] * 5).tolist() == [0, 0, 0.01]
    truth[3] = np.nan
    assert got10k_overlaps(predicted, truth, (200, 100)).tolist() == [0.01]


def test_got10k_cuts_boxes_at_the_borders():
    """A corner outside moves to the border and the box keeps its size there, as in the toolkit."""
    truth = np.array([[0, 0, 10, 10], [90, 40, 10, 10.0], [90, 40, 10, 10]])
    predicted = np.array([[0, 0, 1, 1], [90, 40, 30, 30.0], [-20, 40, 30, 10]])
    assert got10k_overlaps(predicted, truth, (100, 50)).tolist() == [1.0, 0.0]
    assert got10k_overlaps(predicted, truth)[0] == pytest.approx(1 / 9)
    moved = np.array([[0, 0, 1, 1], [-20, 0, 30, 10.0]])
    assert got10k_overlaps(moved, np.array([[0, 0, 10, 10], [0, 0, 30, 10.0]]), (100, 50)).tolist() == [1.0]
    corner = np.array([[0, 0, 1, 1], [0.5, 0, 2, 2.0]])
    assert got10k_overlaps(np.array([[0, 0, 1, 1], [0, 0, 2, 2.0]]), corner, (100, 50))[0] == pytest.approx(0.6)
