"""Crops: the host's equals the release's to the byte, the device's equals the host's, and boxes map back."""

import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.errors import UserError
from relo_jax.geometry import crop

quick = settings(deadline=None, max_examples=40)
cut_device = jax.jit(crop.crop_device, static_argnums=3)


def on_device(image, box, factor, out_size, canvas=None):
    """`crop_host` on the device, from a canvas that is larger than the image and holds noise elsewhere."""
    height, width = image.shape[:2]
    padded = np.random.default_rng(0).integers(0, 256, (*(canvas or (256, 384)), 3), np.uint8)
    padded[:height, :width] = image
    window = np.array(crop.crop_window(box, factor), np.int32)
    return np.asarray(cut_device(padded, window, np.array([height, width], np.int32), out_size))


@pytest.fixture(scope="module")
def golden(fixtures):
    return np.load(fixtures / "crop.npz")


@pytest.mark.parametrize("case", range(4))
def test_host_crop_equals_the_release_to_the_byte(golden, case):
    size = int(golden["size"][case])
    out, resize_factor = crop.crop_host(golden["image"], golden["box"][case], golden["factor"][case], size)
    np.testing.assert_array_equal(out, golden[f"crop_{case}"])
    assert resize_factor == golden["resize_factor"][case]


def test_host_crop_equals_all_golden_crops(shared):
    golden = np.load(shared / "golden" / "crop.npz")
    for case, (box, factor, size) in enumerate(zip(golden["box"], golden["factor"], golden["size"], strict=True)):
        out, _ = crop.crop_host(golden["image"], box, factor, int(size))
        np.testing.assert_array_equal(out, golden[f"crop_{case}"])


@pytest.mark.parametrize("case", range(4))
def test_box_in_crop_equals_the_release(golden, case):
    box = golden["box"][case]
    other = box + np.array([3, -2, 5, 4])
    seen = crop.box_to_crop_norm(other, box, golden["resize_factor"][case], int(golden["size"][case]))
    np.testing.assert_allclose(seen, golden["box_in_crop"][case], atol=1e-6)


def test_window_by_hand():
    assert crop.crop_window([10, 20, 40, 40], 2.0) == (-10, 0, 80)
    assert crop.crop_window([10, 20, 16, 4], 2.0) == (10, 14, 16)
    # Halves are rounded to even: 0.5 -> 0 and 1.5 -> 2.
    assert crop.crop_window([0, 1, 3, 3], 2 / 3)[:2] == (0, 2)
    assert crop.crop_window([0, 0, 0.3, 0.3], 2.0) == (0, 0, 1)


@pytest.mark.parametrize("box", [[5, 5, 0, 10], [5, 5, 10, 0], [5, 5, 10, -1], [5, 5, np.nan, 9], [np.inf, 5, 9, 9],
                                 [5, 5, -3, -3]])  # fmt: skip
def test_a_box_of_no_area_cannot_be_cropped(box):
    with pytest.raises(UserError, match="box x,y,w,h = .* cannot be cropped"):
        crop.crop_window(box, 4.0)


def test_a_box_whose_area_rounds_to_nothing_cannot_be_cropped():
    with pytest.raises(UserError, match="box x,y,w,h = 5,5,1e-200,1e-200 is too small"):
        crop.crop_window([5, 5, 1e-200, 1e-200], 4.0)


def test_a_template_shows_twice_the_target_and_a_search_region_four_times():
    assert (crop.TEMPLATE_FACTOR, crop.SEARCH_FACTOR) == (2, 4)


def test_outside_the_image_is_black(natural_image):
    out, _ = crop.crop_host(natural_image, [0, 0, 32, 32], 2.0, 64)
    assert (out[:16] == 0).all() and (out[:, :16] == 0).all() and out[16:, 16:].any()
    for box in ([900, 50, 32, 32], [-900, 50, 32, 32], [50, -900, 32, 32], [50, 900, 32, 32]):
        out, _ = crop.crop_host(natural_image, box, 2.0, 64)
        assert out.shape == (64, 64, 3) and out.dtype == np.uint8 and not out.any()
    for window in ((-32, 50, 32), (50, -32, 32), (319, 50, 32), (50, 239, 32)):  # just outside
        assert not crop.cut_host(natural_image, window, 64).any()


def test_the_last_column_is_lost_where_the_window_touches_the_border():
    white = np.full((100, 100, 3), 255, np.uint8)
    touching, _ = crop.crop_host(white, [68, 18, 64, 64], 1.0, 64)  # would end at 132
    assert (touching[:, :31] == 255).all() and not touching[:, 31:].any()
    inside, _ = crop.crop_host(white, [35, 35, 64, 64], 1.0, 64)  # ends at 99
    assert inside.min() == 255
    exact, _ = crop.crop_host(white, [36, 30, 64, 64], 1.0, 64)  # ends at 100, just touches
    assert (exact[:, :63] == 255).all() and not exact[:, 63].any()


# Enlarging, shrinking, exactly halving, over each border and corner, larger than the image, outside it.
BOXES = [[100, 80, 9, 7], [100, 80, 60, 50], [120, 90, 64, 64], [-5, 60, 40, 50], [290, 60, 60, 50], [80, -20, 50, 60],
         [80, 200, 50, 60], [0, 0, 30, 30], [300, 220, 40, 40], [40, 30, 240, 180], [500, 500, 20, 20]]  # fmt: skip


@pytest.mark.parametrize("size", [64, 128])
def test_device_crop_equals_the_hosts_to_the_byte(natural_image, size):
    for box in BOXES:
        host, _ = crop.crop_host(natural_image, box, 2.0, size)
        np.testing.assert_array_equal(on_device(natural_image, box, 2.0, size), host, err_msg=str(box))


def test_crops_from_a_part_of_the_frame_equal_those_from_all_of_it(natural_image):
    """On the host, on the device, and there from a row of patches. The part begins left of and above the window."""
    height, width = natural_image.shape[:2]
    for box in BOXES[:-1]:
        x, y, side = window = crop.crop_window(box, 2.0)
        left, top = max(x - 3, 0), max(y - 5, 0)
        part = natural_image[top : max(y + side, 0), left : max(x + side, 0)]
        whole = crop.cut_host(natural_image, window, 64)
        in_frame = ((height, width), (left, top))
        np.testing.assert_array_equal(crop.crop_host(part, box, 2.0, 64, in_frame)[0], whole, err_msg=str(box))
        patch = np.zeros((256, 384, 3), np.uint8)
        patch[: part.shape[0], : part.shape[1]] = part
        traced = np.array(window, np.int32), np.array([height, width], np.int32)
        corner = np.array([left, top], np.int32)
        device = jax.jit(crop.crop_device, static_argnums=3)(patch, *traced, 64, corner)
        np.testing.assert_array_equal(device, whole, err_msg=str(box))
        pixels = np.full((80_000, 3), 77, np.uint8)
        pixels[7 : 7 + part.size // 3] = part.reshape(-1, 3)
        place = np.array([7, part.shape[1], left, top], np.int32)
        packed = jax.jit(crop.crop_packed, static_argnums=4)(pixels, place, *traced, 64)
        np.testing.assert_array_equal(packed, whole, err_msg=str(box))


SIDES = st.one_of(st.integers(1, 40), st.integers(40, 700), st.sampled_from([32, 48, 64, 96, 128, 144, 192]))


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([32, 64]), st.integers(5, 256), st.integers(5, 384), SIDES, st.floats(-1.1, 1.1),
    st.floats(-1.1, 1.1), st.sampled_from(["anywhere", "touching", "one more", "one less"]),
)  # fmt: skip
def test_device_crop_equals_the_hosts_for_any_window(size, height, width, side, x, y, where):
    """Enlarged, shrunk, halved and unscaled; inside, outside, across each border and just touching it."""
    image = NOISE[:height, :width]
    window = round(x * max(width, side)), round(y * max(height, side)), side
    if where != "anywhere":
        past = {"touching": 0, "one more": 1, "one less": -1}[where]
        window = width - side + past, height - side + past, side
    device = cut_device(NOISE, np.array(window, np.int32), np.array([height, width], np.int32), size)
    np.testing.assert_array_equal(device, crop.cut_host(image, window, size))


def test_what_lies_outside_the_frame_adds_nothing_to_a_pixel():
    """At 1024 pixels a weight of 1/2048 counts, and with it a single unit more."""
    window, size = np.array([-9, 3, 101], np.int32), np.array([256, 384], np.int32)
    np.testing.assert_array_equal(cut_device(NOISE, window, size, 1024), crop.cut_host(NOISE, window.tolist(), 1024))


def test_other_sizes_than_powers_of_two_differ_by_at_most_a_grey_level():
    for side in (100, 445, 460, 900):
        device = cut_device(NOISE, np.array([-9, 3, side], np.int32), np.array([256, 384], np.int32), 112)
        assert np.abs(np.asarray(device).astype(int) - crop.cut_host(NOISE, (-9, 3, side), 112)).max() <= 1


NOISE = np.random.default_rng(3).integers(0, 256, (256, 384, 3), np.uint8)


def test_device_crop_of_photographs(shared):
    files = sorted((shared / "data" / "photos").glob("*.jpg"))[::250]
    rng = np.random.default_rng(1)
    for file in files:
        image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        height, width = image.shape[:2]
        for box in rng.uniform((-20, -20, 10, 10), (width, height, width, height), (6, 4)):
            host, _ = crop.crop_host(image, box, 4.0, 128)
            device = on_device(image, box, 4.0, 128, image.shape[:2])
            np.testing.assert_array_equal(device, host, err_msg=f"{file} {box}")


def test_picking_pixels_as_on_a_tpu_is_exact(natural_image, monkeypatch):
    window, size = np.array([-20, 30, 150], np.int32), np.array([240, 320], np.int32)
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda *arrays, tpu, default: tpu(*arrays))
    product = jax.jit(lambda *arrays: crop.crop_device(*arrays, 64))(natural_image, window, size)
    np.testing.assert_array_equal(product, crop.cut_host(natural_image, window.tolist(), 64))


def test_device_crops_follow_traced_boxes_through_a_scan(natural_image):
    """As in a rollout: each crop is cut around the last box, which the scan carries. A batch of two."""
    cut = jax.vmap(lambda window: crop.crop_device(natural_image, window, jnp.array([240, 320]), 32))

    def body(boxes, _):
        return boxes + jnp.array([7.0, 3.0, 1.0, 2.0]), cut(crop.crop_windows(boxes, 2.0))

    start = jnp.array([[40.0, 50.0, 30.0, 20.0], [250.0, 10.0, 60.0, 70.0]])
    _, crops = jax.jit(lambda boxes: jax.lax.scan(body, boxes, length=3))(start)
    for t in range(3):
        for row in range(2):
            host, _ = crop.crop_host(natural_image, np.array(start[row]) + t * np.array([7, 3, 1, 2]), 2.0, 32)
            np.testing.assert_array_equal(crops[t, row], host)


@pytest.mark.parametrize("factor", [2.0, 4.0])
def test_windows_in_float32_equal_the_releases(factor):
    """All windows of boxes in quarters of pixels and nearly all others; the device's equal the host's in float32."""
    rng = np.random.default_rng(0)
    boxes = rng.uniform((-50, -50, 10, 10), (1900, 1000, 400, 400), (4000, 4)).astype(np.float32)
    boxes[:2000] = np.round(4 * boxes[:2000]) / 4
    boxes[:100, 2:] = np.round(boxes[:100, 2:3])  # squares: their side times the factor is a whole number
    exact = np.array([crop.crop_window(box, factor) for box in boxes])
    ours = crop.crop_windows(boxes, factor)
    assert isinstance(ours, np.ndarray)
    np.testing.assert_array_equal(ours[:2000], exact[:2000])
    assert (ours != exact).any(1).mean() < 1e-3 and np.abs(ours - exact).max() <= 1
    np.testing.assert_array_equal(jax.jit(crop.crop_windows, static_argnums=1)(boxes, factor), ours)


@pytest.mark.parametrize("towards", [-np.inf, np.inf])
def test_windows_do_not_depend_on_the_last_bit_of_a_square_root(monkeypatch, towards):
    sides = np.arange(1, 300, dtype=np.float32)
    near = np.concatenate([sides, np.nextafter(sides, 0), np.nextafter(sides, 999)])
    boxes = np.stack([0 * near, 0 * near, near, near], 1)
    exact, root = [math.ceil(math.sqrt(np.float32(16) * side * side)) for side in near], np.sqrt
    monkeypatch.setattr(np, "sqrt", lambda x: np.nextafter(root(x), np.float32(towards)))
    np.testing.assert_array_equal(crop.crop_windows(boxes, 4.0)[:, 2], exact)
    assert crop.crop_windows(np.zeros(4, np.float32), 4.0)[2] == 1


def test_boxes_of_many_crops_map_as_one_by_one_in_their_own_precision():
    rng = np.random.default_rng(0)
    box, center, factor = rng.uniform(1, 50, (2, 3, 4)), rng.uniform(1, 50, (2, 3, 4)), rng.uniform(1, 3, (2, 3, 1))
    for mapped in (crop.box_to_crop_norm, crop.box_from_crop):
        many = mapped(box, center, factor, 128)
        assert many.dtype == np.float64
        for place in np.ndindex(2, 3):
            np.testing.assert_allclose(many[place], mapped(box[place], center[place], factor[place][0], 128))
        on_device = mapped(jnp.float32(box), jnp.float32(center), jnp.float32(factor), 128)
        assert isinstance(on_device, jax.Array)
        np.testing.assert_allclose(on_device, many, rtol=1e-5)


position, extent = st.floats(-100, 500), st.floats(5, 200)


@quick
@given(st.tuples(position, position, extent, extent), st.tuples(position, position, extent, extent))
def test_a_box_maps_into_a_crop_and_back(box, crop_center):
    """In the release, boxes are relative to S - 1 in training and to S at inference; the test converts."""
    box, crop_center, size = np.array(box), np.array(crop_center), 256
    resize_factor = size / crop.crop_window(crop_center, 4.0)[2]
    seen = crop.box_to_crop_norm(box, crop_center, resize_factor, size) * (size - 1)
    seen[:2] = (seen[:2] + seen[2:] / 2 + 0.5) / size  # corner in (S - 1) pixels -> centre in S pixels
    seen[2:] /= size
    back = crop.box_from_crop(seen, crop_center, resize_factor, size)
    np.testing.assert_allclose(back, box, atol=1e-6)


def test_box_from_crop_by_hand():
    # A crop of side 80 around the centre (30, 40), seen at S = 160: its middle is that centre.
    middle = crop.box_from_crop(np.array([0.5, 0.5, 0.25, 0.5]), np.array([20.0, 30.0, 20.0, 20.0]), 2.0, 160)
    np.testing.assert_allclose(middle, [20, 20, 20, 40])
    corner = crop.box_from_crop(jnp.array([0.0, 0.0, 0.1, 0.1]), jnp.array([20.0, 30.0, 20.0, 20.0]), 2.0, 160)
    np.testing.assert_allclose(corner, [-14, -4, 8, 8], atol=1e-5)
