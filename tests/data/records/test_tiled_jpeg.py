"""Tiled JPEG: a region decodes to the same pixels as in the whole image."""

import os

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.data.records import tiled_jpeg
from relo_jax.errors import UserError
from relo_jax.media.images import decode

WIDTH, HEIGHT = 200, 120
_420, _444 = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
needs_jpegtran = pytest.mark.skipif(not tiled_jpeg.can_add_restarts(), reason="needs jpegtran (libjpeg-turbo-progs)")


def make_image(width=WIDTH, height=HEIGHT, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 10 + 1, width // 10 + 1, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    return np.clip(smooth + rng.integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8)


def jpeg(image, interval=0, sampling=_420, progressive=0):
    """The image encoded with a restart every `interval` blocks."""
    flags = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling, cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
    done, data = cv2.imencode(".jpg", image, [*flags, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])
    assert done
    return data.tobytes()


TILED = {
    # 208 pixels are 13 blocks of 16, a prime; 26 of 8.
    "whole rows": jpeg(make_image(), 13),
    "parts of rows": jpeg(make_image(192), 4),
    "full colour": jpeg(make_image(), 5, _444),
    "grey": jpeg(make_image()[..., 0], 5),
    "one block": jpeg(make_image(96, 64), 1),
}
corner = st.tuples(st.integers(-60, WIDTH + 60), st.integers(-60, HEIGHT + 60))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(TILED)), corner, corner)
def test_a_region_equals_that_part_of_the_whole(kind, a, b):
    data = TILED[kind]
    whole = decode(data, kind)
    height, width = whole.shape[:2]
    (left, right), (top, bottom) = sorted((a[0], b[0])), sorted((a[1], b[1]))
    region = tiled_jpeg.extract_region(data, left - 2, top - 2, right + 2, bottom + 2)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if left >= right or top >= bottom:
        return
    assert region.image_size == (height, width)
    x, y = region.corner
    found = decode(region.data, kind)[top - y : bottom - y, left - x : right - x]
    assert np.array_equal(found, whole[top:bottom, left:right])


def test_a_small_region_has_few_bytes():
    data = TILED["one block"]
    region = tiled_jpeg.extract_region(data, 40, 20, 56, 36)
    assert len(region.data) - tiled_jpeg.read_header(data).scan < 0.3 * len(data)
    assert decode(region.data, "part").shape == (32, 32, 3)  # the blocks that it touches


def test_files_without_tiles_have_no_regions():
    plain = jpeg(make_image())
    ragged = jpeg(make_image(), 5)  # 13 blocks in a row: restarts are at different places in each
    for data in (plain, ragged, b"", b"\xff\xd8", plain[:300], b"\x89PNG", jpeg(make_image(), 13, progressive=1)):
        assert tiled_jpeg.extract_region(data, 0, 0, 50, 50) is None
    assert tiled_jpeg.extract_region(TILED["whole rows"], 300, 10, 350, 20) is None  # outside the image


def test_a_truncated_tiled_file_has_no_regions():
    data = TILED["parts of rows"]
    assert tiled_jpeg.extract_region(data[: len(data) // 2], 0, 0, 30, 30) is None


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_broken_headers_raise_no_exception(data):
    whole = bytearray(TILED["full colour"])
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, min(700, len(whole) - 1)))] = data.draw(st.integers(0, 255))
    region = tiled_jpeg.extract_region(bytes(whole[: data.draw(st.integers(0, len(whole)))]), 10, 10, 60, 60)
    assert region is None or (region.corner[0] <= 10 and region.corner[1] <= 10 and region.data[-2:] == b"\xff\xd9")


@needs_jpegtran
@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("sampling", [_420, _444])
@pytest.mark.parametrize("width", [192, 200, 208])
def test_restarts_are_added_without_loss(width, sampling, progressive):
    plain = jpeg(make_image(width), sampling=sampling, progressive=progressive)
    tiled = tiled_jpeg.add_restarts(plain)
    assert np.array_equal(decode(plain, "plain"), decode(tiled, "tiled"))
    assert tiled_jpeg.read_header(tiled).tiled and tiled_jpeg.extract_region(tiled, 20, 20, 60, 60) is not None
    assert tiled_jpeg.add_restarts(tiled) == tiled


@needs_jpegtran
def test_files_that_cannot_be_tiled_are_unchanged():
    plain = jpeg(make_image())
    for data in (b"", b"not an image", plain[: len(plain) // 2], cv2.imencode(".png", make_image())[1].tobytes()):
        assert tiled_jpeg.add_restarts(data) == data


def test_a_missing_program_is_noticed(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert not tiled_jpeg.can_add_restarts()


def test_a_killed_program_is_an_error(tmp_path, monkeypatch):
    program = tmp_path / tiled_jpeg.PROGRAM
    program.write_text("#!/bin/sh\ncat > /dev/null\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(UserError, match=r"jpegtran was killed \(signal 9\).*again"):
        tiled_jpeg.add_restarts(jpeg(make_image()))


def test_the_program_does_not_receive_ctrl_c(tmp_path, monkeypatch):
    program = tmp_path / tiled_jpeg.PROGRAM
    program.write_text(f"#!/bin/sh\nps -o sid= -p $$ > {tmp_path}/session\ncat\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    tiled_jpeg.add_restarts(jpeg(make_image()))
    assert int((tmp_path / "session").read_text()) != os.getsid(0)
