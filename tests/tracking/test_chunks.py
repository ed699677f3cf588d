"""Chunks of frames give the boxes of frame by frame, in bounded memory, and lose nothing where a frame is bad."""

import threading

import jax
import numpy as np
import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints.pytorch import convert
from relo_jax.errors import UserError
from relo_jax.media import video
from relo_jax.media.images import list_images, read_image
from relo_jax.model import RELO
from relo_jax.tracking import follow, programs, tracker
from relo_jax.tracking.session import track_to_files
from tests.golden import FIELDS as GOLDEN_FIELDS

BOX = (100.0, 80.0, 40.0, 30.0)
UPDATING = {"window_power": 2.0, "update_interval": 5, "update_threshold": -999.0}


@pytest.fixture(scope="module")
def trackers(fixtures):
    """Without and with template updates."""
    model = RELO.from_variant("tiny", **GOLDEN_FIELDS)
    variables = convert.from_torch(fixtures / "relo_tiny.pth.tar", model)
    options = {"plain": {"window_power": 1.0}, "update": UPDATING}
    return {name: tracker.Tracker(model, variables, values) for name, values in options.items()}


@pytest.fixture(scope="module")
def frames(natural_image):
    """Twenty frames of a camera that pans over a picture."""
    return [np.roll(natural_image, (2 * t, 5 * t), (0, 1)) for t in range(20)]


def boxes(followed):
    return np.array([result.box for _, result in followed])


@pytest.mark.parametrize("chunk", [1, 7, 16])
@pytest.mark.parametrize("mode", ["plain", "update"])
def test_chunks_give_the_boxes_of_the_online_tracker(mode, chunk, trackers, frames):
    online = list(follow.follow(trackers[mode], frames, BOX))
    cache = programs.track_chunk._cache_size()
    chunked = list(follow.follow(trackers[mode], iter(frames), BOX, chunk))
    assert programs.track_chunk._cache_size() <= cache + 1  # the last chunk is shorter, and compiles nothing
    for (shown, there), (frame, here), given in zip(online, chunked, frames, strict=True):
        assert frame is given and shown is given
        np.testing.assert_allclose(here.box, there.box, rtol=0, atol=1e-3)
        assert here.score == pytest.approx(there.score, abs=1e-5) and here.found == there.found
    assert np.ptp(boxes(chunked)[:, 0]) > 1


@pytest.mark.parametrize("mode", ["plain", "update"])
@pytest.mark.parametrize("name", ["vot15_bag", "Crossing"])
def test_chunks_give_the_boxes_of_the_release(name, mode, shared, trackers):
    golden = np.load(shared / "golden" / "tracker_tiny.npz")[f"{name}_{mode}_boxes"]
    images = list_images(shared / "data" / "otb_mini" / name)[: len(golden)]
    found = boxes(follow.follow(trackers[mode], map(read_image, images), golden[0], 7))
    np.testing.assert_allclose(found, golden, rtol=0, atol=0.05)


def test_templates_are_updated_inside_a_chunk(trackers, frames):
    """The response that follows an update differs from that without."""
    responses = {
        name: [result.response for _, result in follow.follow(tracked, frames[:9], BOX, 16)]
        for name, tracked in trackers.items()
    }
    with_power = tracker.Tracker(trackers["plain"].model, trackers["plain"]._engine.variables, {"window_power": 2.0})
    never = [result.response for _, result in follow.follow(with_power, frames[:9], BOX, 16)]
    np.testing.assert_allclose(responses["update"][1:6], never[1:6], atol=1e-5)
    assert abs(responses["update"][6] - never[6]) > 1e-4


def test_no_transfer_is_implicit_and_the_target_stays_in_its_buffers(trackers, frames):
    tracked = trackers["update"]
    tracked.init(frames[0], BOX)
    tracked.prepare(*frames[0].shape[:2], 7)
    before = tracked._engine.state
    with jax.transfer_guard("disallow"):
        with pytest.raises(UserError, match="update_chunk has 3 frames for length=2: give no more than that"):
            tracked.update_chunk(frames[1:4], 2)
        results = tracked.update_chunk(frames[1:4], 7)
        assert len(list(results())) == 3
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))


def test_frames_of_another_size_are_frames(trackers, frames):
    mixed = [frames[0], frames[1], frames[2][:200, :250], frames[3]]
    online = boxes(follow.follow(trackers["plain"], mixed, BOX))
    np.testing.assert_allclose(boxes(follow.follow(trackers["plain"], mixed, BOX, 7)), online, rtol=0, atol=1e-3)


@pytest.mark.parametrize("bad", [1, 5, 8, 9])
def test_what_was_tracked_before_a_bad_frame_is_handed_out(bad, trackers, frames):
    """In the middle of a chunk, at its beginning and at its end; then the reason, in the words of who found it."""

    def reading():
        yield from frames[:bad]
        raise UserError(f"film.mp4: frame {bad} does not decode")

    done = []
    with pytest.raises(UserError, match=f"^film.mp4: frame {bad} does not decode$"):
        for _, result in follow.follow(trackers["plain"], reading(), BOX, 4):
            done.append(result.box)
    np.testing.assert_allclose(done, boxes(follow.follow(trackers["plain"], frames[:bad], BOX)), rtol=0, atol=1e-3)
    with pytest.raises(UserError, match="give a numpy array, uint8"):
        list(follow.follow(trackers["plain"], [*frames[:bad], None], BOX, 4))


def test_weights_that_are_not_finite_are_one_line(trackers, frames):
    broken = jax.tree.map(lambda x: np.asarray(x) * np.nan, trackers["plain"]._engine.variables)
    tracked = tracker.Tracker(trackers["plain"].model, broken, {"window_power": 1.0})
    followed = follow.follow(tracked, frames, BOX, 4)
    next(followed)
    with pytest.raises(UserError, match="box is not finite"):
        next(followed)


def test_no_more_than_three_chunks_are_in_memory(trackers, frames):
    """An endless camera, left in the middle: it is asked for no frame that is not near, and by nobody afterwards."""
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield frames[asked % len(frames)]

    followed = follow.follow(trackers["plain"], endless(), BOX, 3)
    for given in range(1, 30):
        next(followed)
        assert asked <= given + 3 * 3
    followed.close()
    after = asked
    assert asked == after and not [t for t in threading.enumerate() if "ThreadPoolExecutor" in t.name and t.is_alive()]


@pytest.mark.parametrize("chunk", [0, -1, 2.0, True])
def test_a_chunk_of_no_frames_is_one_line(chunk, trackers, frames):
    with pytest.raises(UserError, match="chunk is .*: give at least 1 frame"):
        next(follow.follow(trackers["plain"], frames, BOX, chunk))


def test_the_command_tracks_in_chunks(trackers, frames, tmp_path):
    film, run = tmp_path / "film.mp4", tmp_path / "run"
    checkpoint.save_variables(run, trackers["plain"].model, trackers["plain"]._engine.variables, {"window_power": 1.0})
    with video.write_video(film, 25) as write:
        for frame in frames[:9]:
            write(frame)
    for chunk, name in ((None, "online.txt"), (4, "chunked.txt")):
        track_to_files(film, BOX, run, txt_path=tmp_path / name, chunk=chunk)
    online, chunked = (np.loadtxt(tmp_path / name, delimiter=",") for name in ("online.txt", "chunked.txt"))
    assert online.shape == (9, 4)
    np.testing.assert_allclose(chunked, online, rtol=0, atol=1e-3)
    found = [result.box for result in follow.track(film, BOX, run, chunk=4)]
    np.testing.assert_allclose(found, online, rtol=0, atol=1e-3)
