"""Reading a plan: no frame is read twice, small crops come from reduced frames, and all ways give the same crops."""

import dataclasses
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.config.data_options import ClipOptions
from relo_jax.data.clips import read
from relo_jax.data.clips.plan import clip_rng, plan_clip
from relo_jax.data.sequence import Sequence
from relo_jax.data.synthetic import procedural
from relo_jax.geometry.crop import crop_host
from relo_jax.media.images import FrameError, decode

WIDTH, HEIGHT, FRAMES = 640, 360, 30
PLAIN = ClipOptions(
    templates=2, frames=6, template_size=64, search_size=128, brightness=0, grey=0, flip=0, frame_flip=0
)


def encoded(image, suffix=".jpg", **flags):
    flags = [part for name, value in flags.items() for part in (getattr(cv2, f"IMWRITE_{name}"), value)]
    return cv2.imencode(suffix, image[..., ::-1], flags)[1].tobytes()


@pytest.fixture(scope="module")
def frame(natural_image):
    return cv2.resize(natural_image, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def sequence(data, side=40.0, log=None):
    """A sequence whose frames are all the same file; `log` gets the index of each frame that is read."""
    boxes = np.stack([[100 + 9.0 * t, 60 + 5.0 * t, side, 0.8 * side] for t in range(FRAMES)])

    def read_encoded(index):
        if log is not None:
            log.append(index)
        return data

    read_frame = lambda index: decode(data, "frame")
    return Sequence("s", boxes, np.ones(FRAMES, bool), read_frame, read_encoded=read_encoded, where="frame {}".format)


def direct(source, plan):
    """The plan's crops, each cut from its own whole frame by the evaluation's cropper."""
    rows = zip(plan.frames, plan.crop_center_xywh, plan.factor, plan.size, strict=True)
    return [crop_host(source.read_frame(t), box, factor, int(size))[0] for t, box, factor, size in rows]


def read_crops(source, plan, **options):
    clip = read.read_clip(source, plan, **options)
    return [*clip["template_images"], *clip["search_images"]]


@pytest.mark.parametrize(
    "suffix, flags", [(".jpg", {}), (".png", {}), (".jpg", {"JPEG_RST_INTERVAL": 8})], ids=["jpeg", "png", "tiles"]
)
def test_crops_of_frames_at_full_size_equal_those_of_the_evaluation_byte_for_byte(frame, suffix, flags):
    source = sequence(encoded(frame, suffix, **flags))
    for index in range(10):
        plan = plan_clip(clip_rng(0, index), source, PLAIN)
        assert all(map(np.array_equal, read_crops(source, plan, reduced=False), direct(source, plan)))


@pytest.mark.parametrize("side", [20.0, 120.0])
def test_a_frame_is_read_once_however_often_a_clip_shows_it(frame, side):
    indices = []
    source = sequence(encoded(frame), side, indices)
    plan = plan_clip(clip_rng(0, 3), source, ClipOptions(templates=6, frames=20, template_size=64, search_size=128))
    assert len(set(plan.frames.tolist())) < len(plan.frames)
    read.read_clip(source, plan)
    assert sorted(indices) == sorted(set(plan.frames.tolist()))


def test_a_still_image_is_read_once(frame):
    indices = []
    whole = sequence(encoded(frame), log=indices)
    still = Sequence(
        "photo", whole.boxes_xywh[:1], whole.visible[:1], whole.read_frame,
        read_encoded=whole.read_encoded, where=whole.where, still=True,
    )  # fmt: skip
    clip = read.read_clip(still, plan_clip(clip_rng(0, 0), still, PLAIN))
    assert indices == [0] and clip["search_images"].shape == (6, 128, 128, 3)


@pytest.mark.parametrize("flags", [{}, {"JPEG_RST_INTERVAL": 8}], ids=["whole", "tiles"])
@pytest.mark.parametrize("side, blur, least, most", [(130.0, 4, 4, 0.7), (70.0, 0, 2, 2.0)])
def test_crops_from_a_reduced_frame_match_those_from_the_whole(frame, flags, side, blur, least, most):
    """If the positions match, only detail that one of the two cannot show differs: almost none in a blurred frame."""
    image = cv2.GaussianBlur(frame, (0, 0), blur) if blur else frame
    source, differences, reductions = sequence(encoded(image, **flags), side), [], []
    for index in range(10):
        plan = plan_clip(clip_rng(1, index), source, PLAIN)
        pairs = zip(read_crops(source, plan), direct(source, plan), strict=True)
        differences += [np.abs(a.astype(int) - b).mean() for a, b in pairs]
        data = source.read_encoded(0)
        reductions += [read.decode_frame(plan, t, data, "frame").reduce for t in np.unique(plan.frames).tolist()]
    assert np.max(reductions) >= least and np.mean(differences) < most


@settings(max_examples=60, deadline=None)
@given(st.floats(6, 400), st.integers(0, 10**6))
def test_no_crop_of_a_reduced_frame_is_enlarged(side, seed):
    source = sequence(JPEG, side)
    plan = plan_clip(clip_rng(seed, 0), source, PLAIN)
    for t in np.unique(plan.frames).tolist():
        decoded = read.decode_frame(plan, t, JPEG, "frame")
        for k in np.flatnonzero(plan.frames == t):
            window = np.ceil(np.sqrt(plan.crop_center_xywh[k, 2:].prod()) * plan.factor[k])
            assert decoded.reduce == 1 or window / decoded.reduce >= plan.size[k]


JPEG = encoded(np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def test_a_window_much_larger_than_the_frame_is_not_padded(frame, monkeypatch):
    """With jitter, the window of a close-up can be 10,000 pixels wide in a frame of 640."""
    monkeypatch.setattr(cv2, "copyMakeBorder", lambda *_: pytest.fail("the window was padded"))
    source = sequence(encoded(frame, ".png"), 3000.0)
    plan = plan_clip(clip_rng(0, 0), source, PLAIN)
    clip = read.read_clip(source, plan)
    assert clip["search_images"].shape == (6, 128, 128, 3) and clip["search_images"].max() > 0


def test_a_closed_loop_clip_has_the_size_of_its_frames(frame):
    """Whether they are decoded in parts, at a reduced size or as a whole, or drawn as frames or as crops."""
    files = [encoded(frame, **flags) for flags in ({}, {"JPEG_RST_INTERVAL": 8})] + [encoded(frame, ".png")]
    sources = [sequence(data, side) for data in files for side in (130.0, 20.0)]
    sources.append(dataclasses.replace(sources[0], read_encoded=None))
    options = dataclasses.replace(PLAIN, closed_loop=True)
    for source in sources:
        clip = read.read_clip(source, plan_clip(clip_rng(0, 0), source, options))
        np.testing.assert_array_equal(clip["frame_sizes"], [[HEIGHT, WIDTH]] * 6)
    scene = procedural.sequence(0, 0, num_frames=30, bank_size=8)
    clip = read.read_clip(scene, plan_clip(clip_rng(0, 0), scene, options))
    np.testing.assert_array_equal(clip["frame_sizes"], [scene.read_frame(0).shape[:2]] * 6)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "does not decode"),
        (b"not an image", "does not decode"),
        (JPEG[:-200], "ends too early"),
        # The header states 100,000 x 100,000 pixels, for which OpenCV raises an error of its own.
        (b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 100_000, 100_000, 1, 24, *[0] * 6), "does not decode"),
    ],
    ids=["empty", "text", "cut off", "huge"],
)
def test_a_frame_that_does_not_decode_is_named(data, message):
    source = sequence(data)
    with pytest.raises(FrameError, match=f"frame [0-9]+: .*{message}") as error:
        read.read_clip(source, plan_clip(clip_rng(0, 0), source, PLAIN))
    assert error.value.reason == "undecodable image"
