"""Boxes: the formats convert into each other, overlap is right and its gradient finite, boxes stay in their image."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.geometry import boxes

FORMATS = {"xywh", "xyxy", "cxcywh"}
number = st.floats(-500, 500, allow_nan=False, width=32)
extent = st.floats(1, 500, allow_nan=False, width=32)
box = st.tuples(number, number, extent, extent).map(np.array)
quick = settings(deadline=None, max_examples=40)


def conversion(source, target):
    return getattr(boxes, f"{source}_to_{target}")


@pytest.mark.parametrize("source", sorted(FORMATS))
@pytest.mark.parametrize("target", sorted(FORMATS))
def test_a_conversion_and_its_inverse_return_the_box(source, target):
    if source == target:
        return

    @quick
    @given(st.lists(box, min_size=1, max_size=4).map(np.stack))
    def check(b):
        start = b if source == "xywh" else conversion("xywh", source)(b)
        back = conversion(target, source)(conversion(source, target)(start))
        np.testing.assert_allclose(back, start, atol=1e-9)

    check()


def test_formats_by_hand():
    xywh = np.array([10.0, 20.0, 4.0, 6.0])
    np.testing.assert_array_equal(boxes.xywh_to_xyxy(xywh), [10, 20, 14, 26])
    np.testing.assert_array_equal(boxes.xywh_to_cxcywh(xywh), [12, 23, 4, 6])
    np.testing.assert_array_equal(boxes.cxcywh_to_xyxy(np.array([12, 23, 4, 6])), [10, 20, 14, 26])
    np.testing.assert_array_equal(boxes.xyxy_to_cxcywh(np.array([10, 20, 14, 26])), [12, 23, 4, 6])


def test_boxes_may_have_any_leading_axes():
    b = np.random.default_rng(0).uniform(50, 90, (2, 3, 4))
    other = b[::-1] + 5
    functions = [conversion(*pair) for pair in itertools.permutations(sorted(FORMATS), 2)]
    functions += [lambda b: boxes.clip_box_xywh(b, 100, 120)]
    for convert in functions:
        one_by_one = [[convert(one) for one in row] for row in b]
        np.testing.assert_array_equal(convert(b), one_by_one)
        np.testing.assert_allclose(convert(jnp.float32(b)), one_by_one, rtol=1e-5)
    for overlap in (boxes.iou_xyxy, boxes.giou_xyxy, boxes.iou_xywh):
        one_by_one = [[overlap(*pair) for pair in zip(*rows, strict=True)] for rows in zip(b, other, strict=True)]
        np.testing.assert_array_equal(overlap(b, other), one_by_one)


def test_host_boxes_keep_float64_and_device_boxes_stay_on_the_device():
    assert boxes.xywh_to_xyxy(np.ones(4)).dtype == np.float64
    assert boxes.iou_xywh(np.ones(4), np.ones(4)).dtype == np.float64
    assert isinstance(boxes.xywh_to_xyxy(jnp.ones(4)), jax.Array)
    assert isinstance(boxes.iou_xywh(np.ones(4), jnp.ones(4)), jax.Array)


def test_overlap_by_hand():
    a = np.array([0.0, 0.0, 2.0, 2.0])
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [6, 0, 8, 2], [0, 0, 4, 4]], float)
    np.testing.assert_allclose(boxes.iou_xyxy(a, others), [1, 1 / 3, 0, 0, 1 / 4])
    np.testing.assert_allclose(boxes.giou_xyxy(a, others), [1, 1 / 3, 0, -0.5, 1 / 4])
    np.testing.assert_allclose(boxes.iou_xywh(np.array([0, 0, 2, 2]), np.array([1, 0, 2, 2])), 1 / 3)


@quick
@given(box, box, number, number, st.floats(0.1, 10))
def test_overlap_is_symmetric_bounded_and_invariant_to_shift_and_scale(a, b, dx, dy, scale):
    a, b = boxes.xywh_to_xyxy(a), boxes.xywh_to_xyxy(b)
    iou, giou = boxes.iou_xyxy(a, b), boxes.giou_xyxy(a, b)
    assert 0 <= iou <= 1 + 1e-9
    assert -1 <= giou <= iou + 1e-9
    assert boxes.iou_xyxy(b, a) == pytest.approx(iou, abs=1e-9)
    assert boxes.giou_xyxy(b, a) == pytest.approx(giou, abs=1e-9)
    moved = [scale * (box + np.array([dx, dy, dx, dy])) for box in (a, b)]
    assert boxes.iou_xyxy(*moved) == pytest.approx(iou, abs=1e-6)
    assert boxes.giou_xyxy(*moved) == pytest.approx(giou, abs=1e-6)
    assert boxes.iou_xyxy(a, a) == boxes.giou_xyxy(a, a) == 1


DEGENERATE = {
    "a point": [0.5, 0.5, 0.5, 0.5],
    "a line": [0.2, 0.5, 0.8, 0.5],
    "inside out": [0.8, 0.8, 0.2, 0.2],
    "almost a point": [0.5, 0.5, 0.5 + 1e-7, 0.5 + 1e-7],
    "disjoint": [2.0, 2.0, 3.0, 3.0],
    "touching": [0.6, 0.2, 0.9, 0.6],
    "the same": [0.2, 0.2, 0.6, 0.6],
    "at the origin": [0.0, 0.0, 0.0, 0.0],
}


@pytest.mark.parametrize("case", ["a point", "a line", "inside out", "almost a point", "at the origin"])
def test_boxes_without_area_do_not_overlap(case):
    box = np.array(DEGENERATE[case])
    assert boxes.iou_xyxy(box, box) == boxes.giou_xyxy(box, box) == 0


@pytest.mark.parametrize("overlap", [boxes.iou_xyxy, boxes.giou_xyxy], ids=["iou", "giou"])
@pytest.mark.parametrize("case", DEGENERATE)
def test_gradients_are_finite_for_degenerate_boxes(overlap, case):
    usual = jnp.array([0.2, 0.2, 0.6, 0.6])
    case = jnp.array(DEGENERATE[case])
    for pair in ((case, usual), (usual, case), (case, case)):
        values = overlap(*pair), *jax.grad(overlap, argnums=(0, 1))(*pair)
        assert all(np.isfinite(v).all() for v in values)


def test_giou_draws_disjoint_boxes_together():
    gradient = jax.grad(boxes.giou_xyxy)(jnp.array([2.0, 2.0, 3.0, 3.0]), jnp.array([0.2, 0.2, 0.6, 0.6]))
    assert gradient[0] + gradient[2] < 0 and gradient[1] + gradient[3] < 0  # to the left and up, towards the other


def test_clipping_equals_the_release(fixtures):
    golden = np.load(fixtures / "crop.npz")
    np.testing.assert_array_equal(boxes.clip_box_xywh(golden["clip_in"], 240, 320), golden["clip_out"])
    on_device = jax.jit(boxes.clip_box_xywh, static_argnums=(1, 2))(jnp.asarray(golden["clip_in"]), 240, 320)
    np.testing.assert_allclose(on_device, golden["clip_out"], atol=1e-4)


@quick
@given(box)
def test_a_clipped_box_keeps_ten_pixels_of_its_image(b):
    x, y, w, h = boxes.clip_box_xywh(b, 240, 320)
    assert 0 <= x <= 310 and 0 <= y <= 230
    assert w >= 10 and h >= 10 and x + w <= 320 + 1e-9 and y + h <= 240 + 1e-9
    x0, y0, w0, h0 = b
    if x0 >= 0 and y0 >= 0 and min(w0, h0) >= 10 and x0 + w0 <= 320 and y0 + h0 <= 240:
        np.testing.assert_allclose([x, y, w, h], b, atol=1e-9)
