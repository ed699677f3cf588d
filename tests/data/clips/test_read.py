"""Pictures of a plan: no frame read twice, small crops from small pictures, and the same crops whatever the way."""

import dataclasses
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.config.data_options import ClipOptions
from relo_jax.data.clips import read as crops
from relo_jax.data.clips.plan import clip_rng, plan_clip
from relo_jax.data.sequence import Sequence
from relo_jax.data.synthetic import procedural
from relo_jax.geometry.crop import crop_host
from relo_jax.media.images import FrameError, decode

WIDTH, HEIGHT, FRAMES = 640, 360, 30
PLAIN = ClipOptions(
    templates=2, frames=6, template_size=64, search_size=128, brightness=0, grey=0, flip=0, frame_flip=0
)


def encode(image, suffix=".jpg", **flags):
    flags = [part for name, value in flags.items() for part in (getattr(cv2, f"IMWRITE_{name}"), value)]
    return cv2.imencode(suffix, image[..., ::-1], flags)[1].tobytes()


@pytest.fixture(scope="module")
def frame(natural_image):
    return cv2.resize(natural_image, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def sequence(data, side=40.0, log=None):
    """A sequence whose frames are all the same file; `log` gets the number of each that is read."""
    boxes = np.stack([[100 + 9.0 * t, 60 + 5.0 * t, side, 0.8 * side] for t in range(FRAMES)])

    def read_encoded(index):
        if log is not None:
            log.append(index)
        return data

    read_frame = lambda index: decode(data, "frame")
    return Sequence("s", boxes, np.ones(FRAMES, bool), read_frame, read_encoded=read_encoded, where="frame {}".format)


def direct(source, plan):
    """The plan's crops, each from its own whole frame by the cropper of the evaluation."""
    rows = zip(plan.frames, plan.crop_center_xywh, plan.factor, plan.size, strict=True)
    return [crop_host(source.read_frame(t), box, factor, int(size))[0] for t, box, factor, size in rows]


def drawn(source, plan, **options):
    clip = crops.draw(source, plan, **options)
    return [*clip["template_images"], *clip["search_images"]]


@pytest.mark.parametrize(
    "suffix, flags", [(".jpg", {}), (".png", {}), (".jpg", {"JPEG_RST_INTERVAL": 8})], ids=["jpeg", "png", "tiles"]
)
def test_at_full_size_every_crop_is_the_evaluation_s_to_the_byte(frame, suffix, flags):
    source = sequence(encode(frame, suffix, **flags))
    for index in range(10):
        plan = plan_clip(clip_rng(0, index), source, PLAIN)
        assert all(map(np.array_equal, drawn(source, plan, reduced=False), direct(source, plan)))


@pytest.mark.parametrize("side", [20.0, 120.0])
def test_a_frame_is_read_once_however_often_a_clip_shows_it(frame, side):
    read = []
    source = sequence(encode(frame), side, read)
    plan = plan_clip(clip_rng(0, 3), source, ClipOptions(templates=6, frames=20, template_size=64, search_size=128))
    assert len(set(plan.frames.tolist())) < len(plan.frames)
    crops.draw(source, plan)
    assert sorted(read) == sorted(set(plan.frames.tolist()))


def test_one_image_that_stands_for_a_video_is_read_once(frame):
    read = []
    whole = sequence(encode(frame), log=read)
    still = Sequence(
        "photo", whole.boxes_xywh[:1], whole.visible[:1], whole.read_frame,
        read_encoded=whole.read_encoded, where=whole.where, still=True,
    )  # fmt: skip
    clip = crops.draw(still, plan_clip(clip_rng(0, 0), still, PLAIN))
    assert read == [0] and clip["search_images"].shape == (6, 128, 128, 3)


@pytest.mark.parametrize("flags", [{}, {"JPEG_RST_INTERVAL": 8}], ids=["whole", "tiles"])
@pytest.mark.parametrize("side, blur, least, most", [(130.0, 4, 4, 0.7), (70.0, 0, 2, 2.0)])
def test_crops_from_a_reduced_picture_are_those_of_the_whole(frame, flags, side, blur, least, most):
    """Where they are in the same place, what is left is detail that one of the two cannot show: none when blurred."""
    picture = cv2.GaussianBlur(frame, (0, 0), blur) if blur else frame
    source, apart, reduced = sequence(encode(picture, **flags), side), [], []
    for index in range(10):
        plan = plan_clip(clip_rng(1, index), source, PLAIN)
        pairs = zip(drawn(source, plan), direct(source, plan), strict=True)
        apart += [np.abs(a.astype(int) - b).mean() for a, b in pairs]
        data = source.read_encoded(0)
        reduced += [crops.decode_frame(plan, t, data, "frame").reduce for t in np.unique(plan.frames).tolist()]
    assert np.max(reduced) >= least and np.mean(apart) < most


@settings(max_examples=60, deadline=None)
@given(st.floats(6, 400), st.integers(0, 10**6))
def test_nothing_is_enlarged_that_was_reduced(side, seed):
    source = sequence(JPEG, side)
    plan = plan_clip(clip_rng(seed, 0), source, PLAIN)
    for t in np.unique(plan.frames).tolist():
        picture = crops.decode_frame(plan, t, JPEG, "frame")
        for k in np.flatnonzero(plan.frames == t):
            window = np.ceil(np.sqrt(plan.crop_center_xywh[k, 2:].prod()) * plan.factor[k])
            assert picture.reduce == 1 or window / picture.reduce >= plan.size[k]


JPEG = encode(np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def test_a_window_much_larger_than_the_frame_takes_no_more_memory(frame, monkeypatch):
    """A close-up with jitter can ask for 10,000 pixels around a frame of 640."""
    monkeypatch.setattr(cv2, "copyMakeBorder", lambda *_: pytest.fail("the window was padded"))
    source = sequence(encode(frame, ".png"), 3000.0)
    plan = plan_clip(clip_rng(0, 0), source, PLAIN)
    clip = crops.draw(source, plan)
    assert clip["search_images"].shape == (6, 128, 128, 3) and clip["search_images"].max() > 0


def test_a_closed_loop_is_told_the_size_of_the_frames(frame):
    """Whatever way they come: in parts, at a reduced size, as they are, or as crops that are drawn."""
    files = [encode(frame, **flags) for flags in ({}, {"JPEG_RST_INTERVAL": 8})] + [encode(frame, ".png")]
    ways = [sequence(data, side) for data in files for side in (130.0, 20.0)]
    ways.append(dataclasses.replace(ways[0], read_encoded=None))
    options = dataclasses.replace(PLAIN, closed_loop=True)
    for way in ways:
        clip = crops.draw(way, plan_clip(clip_rng(0, 0), way, options))
        np.testing.assert_array_equal(clip["frame_sizes"], [[HEIGHT, WIDTH]] * 6)
    scene = procedural.sequence(0, 0, num_frames=30, bank_size=8)
    clip = crops.draw(scene, plan_clip(clip_rng(0, 0), scene, options))
    np.testing.assert_array_equal(clip["frame_sizes"], [scene.read_frame(0).shape[:2]] * 6)


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "does not decode"),
        (b"no picture", "does not decode"),
        (JPEG[:-200], "ends too early"),
        # Of 100,000 x 100,000 pixels by its header, which OpenCV does not take, and says so by another error.
        (b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 100_000, 100_000, 1, 24, *[0] * 6), "does not decode"),
    ],
    ids=["empty", "text", "cut off", "huge"],
)
def test_a_frame_that_does_not_decode_is_named(data, words):
    source = sequence(data)
    with pytest.raises(FrameError, match=f"frame [0-9]+: .*{words}") as error:
        crops.draw(source, plan_clip(clip_rng(0, 0), source, PLAIN))
    assert error.value.reason == "undecodable image"
