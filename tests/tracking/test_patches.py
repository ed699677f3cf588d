"""Patches of frames: the same boxes as whole frames, whatever a target does; few bytes, few sizes of arrays."""

from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from relo_jax.data.sequence import Sequence
from relo_jax.eval import lockstep
from relo_jax.eval.lockstep import Lockstep
from relo_jax.geometry.crop import crop_windows, cut_host
from relo_jax.tracking import follow, patches, programs, tracker
from relo_jax.tracking.patches import Packer, bucket_side, reach

BOX = (100.0, 80.0, 40.0, 30.0)
STARTS = [BOX, (380.0, 300.0, 30.0, 50.0)]
UPDATING = {"window_power": 2.0, "update_interval": 3, "update_threshold": -999.0}


@pytest.fixture(scope="module")
def jumping(natural_image):
    """A camera that pans calmly, and twice jumps farther than a calm target is expected to."""
    shifts = [2 * t + (70 if t > 6 else 0) - (90 if t > 11 else 0) for t in range(16)]
    large = np.tile(natural_image, (2, 2, 1))
    return [np.roll(large, (shift // 2, -shift), (0, 1)) for shift in shifts]


def boxes(followed):
    return np.array([[r.box for r in (one if isinstance(one, list) else [one])] for _, one in followed])


def resent(monkeypatch, tracked):
    """A list that gets an entry whenever frames are sent again."""
    calls = []
    for name in ("track_frame", "track_chunk"):
        track = getattr(tracked._engine, name)

        def counted(*args, track=track, **kwargs):
            if "resumes" in kwargs:
                calls.append(args)
            return track(*args, **kwargs)

        monkeypatch.setattr(tracked._engine, name, counted)
    return calls


@pytest.mark.parametrize("uniform", [False, True])
def test_crops_from_patches_are_those_from_frames(uniform, jumping):
    """In both layouts, where the window lies in the frame, across its border, and outside."""
    windows = np.array([[100, 60, 150], [-30, 400, 90], [560, -20, 110], [700, 20, 40]], np.int32)
    reached = np.concatenate([windows[:, :2], windows[:, :2] + windows[:, 2:]], axis=1)[None].astype(float)
    for frames in (jumping[:4], jumping[:1] * 4):
        shared = frames[0] is frames[1]
        pixels, place = Packer(lambda *arrays: None, uniform, shared=shared).pack([frames], reached, False)
        assert programs._covers(place[0], windows).all()
        crops = jax.jit(programs._cut, static_argnums=3)(pixels[0], place[0], windows, 64)
        for frame, window, crop in zip(frames, windows.tolist(), crops, strict=True):
            np.testing.assert_array_equal(crop, cut_host(frame, window, 64))


def test_reach_is_the_window_of_the_next_crop_and_grows_with_time_and_motion():
    rng = np.random.default_rng(0)
    last = rng.uniform((0, 0, 10, 10), (400, 300, 90, 90), (50, 4)).astype(np.float32)
    windows = crop_windows(last, 4.0)
    near = reach(last[:, None], np.ones((1, 50), int))[0]
    assert (near[:, :2] <= windows[:, :2]).all() and (near[:, 2:] >= windows[:, :2] + windows[:, 2:]).all()
    assert np.abs(near[:, 2:] - near[:, :2] - windows[:, 2:]).max() <= 3
    side = lambda recent, ahead: np.ptp(reach(np.array([recent], float), np.array([[ahead]]))[0, 0, ::2])
    still, moving = [[50, 50, 20, 20]] * 3, [[30, 50, 20, 20], [40, 50, 20, 20], [50, 50, 20, 20]]
    swelling = [[50, 50, 16, 16], [50, 50, 18, 18], [50, 50, 20, 20]]
    assert side(still, 1) < side(still, 2) < side(still, 9) < min(side(moving, 9), side(swelling, 9))
    assert side(still, 9) < side(still[:1], 9)  # no motion known
    unknown = np.full((1, 4, 4), np.nan)
    assert np.isnan(reach(unknown, np.ones((2, 1), int))).all()
    unknown[0, -1] = 50, 50, 20, 20
    np.testing.assert_array_equal(
        reach(unknown, np.full((1, 1), 9))[0, 0], reach(unknown[:, -1:], np.full((1, 1), 9))[0, 0]
    )


def noise(*sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def unpacked(pixels, place, step, row):
    """The patch of a target and where it lies in the frame."""
    first, pitch, left, top, right, bottom = place[step, row, :6]
    height, width = bottom - top, right - left
    if pixels.ndim == 3:
        assert pitch == width
        patch = pixels[step, first : first + height * width].reshape(height, width, 3)
    else:
        patch = pixels[step, row if pixels.shape[1] > 1 else 0, :height, :width]
    return patch, (slice(top, bottom), slice(left, right))


@pytest.mark.parametrize("threads", [None, 3])
@pytest.mark.parametrize("uniform", [False, True])
def test_patches_hold_what_is_reached_and_fill_the_array(uniform, threads, monkeypatch):
    monkeypatch.setattr(patches, "_SMALL", 0)
    packer = Packer(lambda *arrays: None, uniform)
    images = noise((480, 640), (200, 300), (600, 500), (90, 90))
    frames = [[*images[:3], None], [images[0], None, images[2], images[3]]]
    reached = np.array([[[100, 90, 300.5, 280], [-50, -60, 90, 110], [250, 300, 600, 500], [0, 0, 1, 1]]] * 2)
    reached[1, 3] = np.nan  # all of it
    with ThreadPoolExecutor(threads or 1) as pool:
        pixels, place = packer.pack(frames, reached, np.array([False, True, False, False]), threads and pool)
    assert pixels.nbytes <= (0.7 if uniform else 0.4) * 2 * sum(image.nbytes for image in images[:3])
    areas = np.zeros(place.shape[:2])
    for step, row in np.ndindex(2, 4):
        if frames[step][row] is None:
            assert not place[step, row].any()
            continue
        patch, where = unpacked(pixels, place, step, row)
        np.testing.assert_array_equal(patch, frames[step][row][where])
        height, width = frames[step][row].shape[:2]
        left, top, right, bottom = np.clip(np.nan_to_num(reached[step, row], nan=0), 0, [width, height] * 2)
        if np.isnan(reached[step, row]).any():
            left, top, right, bottom = 0, 0, width, height
        _, _, x0, y0, x1, y1, *rest = place[step, row].tolist()
        assert x0 <= left and y0 <= top and x1 >= right and y1 >= bottom and rest == [height, width, row == 1]
        areas[step, row] = patch.shape[0] * patch.shape[1]
    assert uniform or areas.sum(1).min() > 0.9 * pixels.shape[1]


def test_targets_of_one_frame_share_it_where_that_is_less():
    packer = Packer(lambda *arrays: None, shared=True)
    (frame,) = noise((240, 320))
    apart = np.array([[[0, 0, 60, 60], [200, 100, 260, 160]]], float)
    _, place = packer.pack([[frame, frame]], apart, False)
    assert place[0, 0, programs.FIRST] != place[0, 1, programs.FIRST]
    wide = np.array([[[0, 0, 250, 200], [50, 20, 320, 240]]], float)
    pixels, place = packer.pack([[frame, frame]], wide, False)
    assert place[0].tolist() == [[0, 320, 0, 0, 320, 240, 240, 320, 0]] * 2
    np.testing.assert_array_equal(unpacked(pixels, place, 0, 1)[0], frame)


def test_arrays_have_few_sizes_and_each_for_whole_frames_holds_those_before():
    compiled = []
    packer = Packer(lambda pixels, place: compiled.append(pixels.shape[1]), parts=(0.3, 1.0))
    small, wide, tall = noise((96, 96), (100, 250), (250, 100))
    for frames in ([small, small[1:]], [wide, tall], [small[1:], small], [tall, wide]):
        pixels, _ = packer.pack([frames], None, False)
        assert pixels.shape[1] >= sum(frame.shape[0] * frame.shape[1] for frame in frames if frame is not None)
    assert compiled == sorted(set(compiled)) and len(compiled) == 2
    near = np.array([[[0, 0, 20, 20], [9, 9, 30, 30]]], float)
    for _ in range(3):
        packer.pack([[wide, tall]], near, False)
    assert compiled[2:] == [int(0.3 * compiled[1])]
    packer.prepare(100, 250, 1, 2)
    assert len(compiled) == 3


def test_memory_is_used_again_only_when_the_device_has_read_it(monkeypatch):
    waited = []
    monkeypatch.setattr(jax, "block_until_ready", waited.append)
    packer, frames = Packer(lambda *arrays: None), noise((100, 120))
    addresses = []
    for index in range(4):
        pixels, _ = packer.pack([frames], None, False)
        addresses.append(pixels.ctypes.data)
        packer.sent(f"answers {index}")
    assert waited == ["answers 0", "answers 1"]
    assert addresses[0] == addresses[2] != addresses[1] == addresses[3]


def test_buckets_hold_their_lengths_and_are_few():
    sides = [bucket_side(length) for length in range(1, 4097)]
    assert all(length <= side <= max(128, 1.25 * length) for length, side in enumerate(sides, start=1))
    assert len(set(sides)) == 21


@pytest.fixture(scope="module")
def tight():
    """Patches are as small as they can be, in arrays as large as for whole frames: fewer programs for these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Packer, "_grown", lambda self, rectangles, *rest: rectangles)
        yield (1.0,)


@pytest.fixture(scope="module")
def pair(model, variables, tight):
    """A function that makes trackers of two targets: with whole frames, and with patches."""

    def make(options):
        made = [tracker.MultiTracker(model, variables, 2, options, device_crops=True, patches=p) for p in (False, True)]
        made[1]._engine._frames._parts = made[1]._engine._chunks._parts = tight
        return made

    return make


@pytest.fixture(scope="module")
def plain(pair):
    return pair({"window_power": 1.0})


@pytest.fixture(scope="module")
def updating(pair):
    return pair(UPDATING)


@pytest.fixture(scope="module")
def in_chunks(plain, jumping):
    """Boxes `[F, 2, 4]` from whole frames."""
    plain[0]._device_crops = False  # nothing to compile for single frames
    return boxes(follow.follow(plain[0], jumping, STARTS, 4))


def test_chunks_of_patches_give_the_boxes_of_whole_frames(plain, jumping, in_chunks, monkeypatch):
    """Also where targets halt in the middle of a chunk with the next one under way."""
    plain[1]._device_crops = False
    again = resent(monkeypatch, plain[1])
    np.testing.assert_array_equal(boxes(follow.follow(plain[1], jumping, STARTS, 4)), in_chunks)
    assert again and np.ptp(in_chunks[..., 0], axis=0).min() > 40


def test_chunks_may_be_settled_late_and_in_any_order(plain, jumping, in_chunks):
    """Results that are asked for after more frames were sent are those of their frames; short chunks move nothing."""
    parts = plain[1]
    parts.init(jumping[0], STARTS)
    chunks = [parts.update_chunk(jumping[first : first + 3], 4) for first in (1, 4, 7, 10)]
    last = list(chunks[3]())
    chunks.append(parts.update_chunk(jumping[13:15], 4))
    np.testing.assert_allclose(parts.boxes, in_chunks[14], rtol=0, atol=1e-3)
    found = [result for chunk in chunks[:3] for result in chunk()] + last + list(chunks[4]())
    np.testing.assert_allclose([[r.box for r in both] for both in found], in_chunks[1:15], rtol=0, atol=1e-3)


def test_online_a_patch_is_the_window_of_the_next_crop(updating, jumping, monkeypatch):
    """The host knows the last box: only a template may be out of reach. Where it is wrong, nothing is lost."""
    whole, parts = updating
    online = boxes(follow.follow(whole, jumping, STARTS))
    again = resent(monkeypatch, parts)
    np.testing.assert_array_equal(boxes(follow.follow(parts, jumping, STARTS)), online)
    assert len(again) <= 2
    del again[:]
    parts.init(jumping[0], STARTS)
    parts._recent[:, -1] = 400, 100, 20, 20
    assert [r.box for r in parts.update(jumping[1])] == [tuple(box) for box in online[1].tolist()] and again


def test_rows_in_lockstep_halt_by_themselves(model, variables, jumping, natural_image, tight, monkeypatch):
    """One of two rows jumps; four sequences take turns in the rows. Patches are good for one frame only."""
    monkeypatch.setattr(lockstep, "reach", lambda recent, ahead: reach(recent, np.ones_like(ahead)))

    def video(name, frames, box):
        frames = [frame[:360, :400] for frame in frames]
        return Sequence(name, np.tile(box, (len(frames), 1)), None, frames.__getitem__)

    calm = [np.roll(np.tile(natural_image, (2, 2, 1)), t, 1) for t in range(15)]
    videos = [
        video("jumps", jumping, BOX), video("calm", calm, (60.0, 60.0, 30.0, 24.0)),
        video("short", jumping[5:9], (200.0, 50.0, 20.0, 20.0)), video("pair", jumping[6:8], BOX),
    ]  # fmt: skip
    found, engines = [], {}
    for patched in (False, True):
        engines[patched] = engine = Lockstep(model, variables, {"window_power": 1.0}, batch=2, chunk=4, patches=patched)
        engine._engine._chunks._parts = tight
        done = []
        found.append({t.sequence.name: t for t in engine.run(videos, done.append)})
        assert sum(done) == sum(map(len, videos))
    for name, expected in found[0].items():
        np.testing.assert_array_equal(found[1][name].boxes_xywh, expected.boxes_xywh, err_msg=name)
        np.testing.assert_array_equal(found[1][name].scores, expected.scores, err_msg=name)
        assert (found[1][name].seconds > 0).all()
    assert engines[False].halts == 0 < engines[True].halts


def test_a_target_that_halts_stays_as_it_was(updating, jumping):
    parts = updating[1]
    parts.init(jumping[0], [BOX, BOX])
    engine, frames = parts._engine, [jumping[1]] * 2
    before = jax.device_get(engine.state)
    small = np.array([[[0, 0, 9, 9], [0, 0, 400, 300]]], float)
    for _ in range(2):  # also where the second patch would do
        answers = jax.device_get(engine.track_frame(frames, small))
        assert answers[:, programs.MOVED].tolist() == [0, 1]
        small[:, 0] = 0, 0, 400, 300
    after = jax.device_get(engine.state)
    assert after.halted.tolist() == [True, False] and after.frames.tolist() == [0, 2]
    row = lambda state: jax.tree.map(lambda x, axis: np.take(x, 0, axis), state, programs.BATCH_AXES).replace(halted=0)
    jax.tree.map(np.testing.assert_array_equal, row(before), row(after))
    assert jax.device_get(engine.track_frame(frames, resumes=True))[:, programs.MOVED].tolist() == [1, 1]


def test_a_template_that_is_out_of_reach_halts_its_target_too(updating, jumping):
    """The next template is cut around the new box, which may lie at the border of the patch."""
    parts = updating[1]
    parts.init(jumping[0], STARTS)
    engine = parts._engine
    small = np.array([[[96, 96, 112, 112]] * 2], float)
    for frames, moved in ((2, 0), (1, 1)):  # the template is replaced with the third frame
        window, count = np.array([[100, 100, 8]] * 2, np.int32), np.full(2, frames, np.int32)
        window, count, halted = engine.put((window, count, np.zeros(2, bool)))
        engine.state = engine.state.replace(crop_window=window, frames=count, halted=halted)
        answers = jax.device_get(engine.track_frame([jumping[1]] * 2, small))
        assert answers[:, programs.MOVED].tolist() == [moved, moved]
