"""Following a video: a result a frame whatever the video does, and the same boxes in chunks as frame by frame."""

import json
import threading
import time

import cv2
import jax
import numpy as np
import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.errors import UserError
from relo_jax.media import video
from relo_jax.media.frames import Unreadable
from relo_jax.media.images import list_images, read_image
from relo_jax.tracking import follow, programs, track, tracker
from relo_jax.tracking.session import track_to_files

BOX = (100.0, 80.0, 40.0, 30.0)
UPDATING = {"window_power": 2.0, "update_interval": 5, "update_threshold": -999.0}


def boxes(followed):
    return np.array([result.box for _, result in followed])


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize("lost", [(1,), (3, 4, 5), (4,), (5, 8), (11,), tuple(range(1, 12))])
def test_a_box_is_carried_over_what_cannot_be_read(tracked, frames, lost, chunk, capsys):
    """And the tracker goes on behind it as if those frames had never been."""
    video = [Unreadable(f"film: frame {t} is gone") if t in lost else frame for t, frame in enumerate(frames)]
    followed = list(follow.follow(tracked, video, BOX, chunk))
    assert [result.carried for _, result in followed] == [t in lost for t in range(12)]
    rest = boxes(follow.follow(tracked, [f for t, f in enumerate(frames) if t not in lost], BOX))
    given = boxes(followed)
    np.testing.assert_allclose(given[[t for t in range(12) if t not in lost]], rest, rtol=0, atol=1e-3)
    for t in lost:
        frame, result = followed[t]
        assert result.score == 0 and not result.found
        np.testing.assert_array_equal(given[t], given[t - 1])
        assert frame is followed[t - 1][0]  # there is a picture to draw it on
    assert capsys.readouterr().err == f"relo: film: frame {lost[0]} is gone: the last box is carried over it\n"


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize("at", [1, 4, 6])
def test_the_box_is_scaled_with_the_picture(tracked, frames, at, chunk, capsys):
    big = [cv2.resize(frame, None, fx=1.5, fy=1.5) for frame in frames]
    mixed = [*frames[:at], *big[at:9], *frames[9:]]
    tracked.init(mixed[0], BOX)
    expected = [BOX]
    for t, frame in enumerate(mixed[1:], start=1):
        if t in (at, 9):
            before = tracked.boxes
            tracked.rescale(*(1.5, 1.5) if t == at else (1 / 1.5, 1 / 1.5))
            np.testing.assert_allclose(tracked.boxes, before * 1.5 if t == at else before / 1.5, rtol=1e-6)
        expected.append(tracked.update(frame).box)
    np.testing.assert_allclose(boxes(follow.follow(tracked, mixed, BOX, chunk)), expected, rtol=0, atol=1e-2)
    told = capsys.readouterr().err
    assert "is 480 x 360 pixels after 320 x 240: the box is scaled with it" in told and told.count("\n") == 1


def test_in_a_picture_of_another_shape_the_box_stays_where_it_is(tracked, frames, capsys):
    followed = follow.follow(tracked, [frames[0], np.ascontiguousarray(frames[0][:, :280])], BOX)
    assert np.abs(boxes(followed)[1] - BOX).max() < 40
    assert "the box stays where it is, in pixels" in capsys.readouterr().err


@pytest.mark.parametrize("chunk", [None, 4])
def test_without_a_first_frame_there_is_no_target(tracked, frames, chunk):
    with pytest.raises(UserError, match="1.png does not decode, but the box belongs to the first frame"):
        list(follow.follow(tracked, [Unreadable("1.png does not decode"), *frames], BOX, chunk))


@pytest.fixture
def folder(frames, tmp_path):
    """Eight pictures, two of them broken and one of another size."""
    (tmp_path / "frames").mkdir()
    for t, frame in enumerate(frames[:8]):
        cv2.imwrite(str(tmp_path / "frames" / f"{t}.png"), frame if t != 7 else frame[:200])
    for t in (3, 5):
        (tmp_path / "frames" / f"{t}.png").write_bytes(b"broken")
    return tmp_path / "frames"


def test_the_command_says_and_counts_what_went_wrong(folder, saved, tmp_path, capsys):
    out = {"save": tmp_path / "o.mp4", "json_path": tmp_path / "o.json", "txt_path": tmp_path / "o.txt"}
    track_to_files(folder, BOX, saved, **out)
    said = capsys.readouterr()
    assert "8 frames" in said.out and "could not be read, the last box carried over them: 2" in said.out
    assert "changes of size: 1" in said.out
    assert "3.png: does not decode as an image: the last box is carried over it" in said.err
    written = json.loads(out["json_path"].read_text())
    assert [row["carried"] for row in written["frames"]] == [t in (3, 5) for t in range(8)]
    assert {name: written[name] for name in ("carried", "damaged", "dropped", "lost")} == {
        "carried": 2, "damaged": 0, "dropped": 0, "lost": 0,
    }  # fmt: skip
    assert len(np.loadtxt(out["txt_path"], delimiter=",")) == 8


def test_lines_of_json_come_as_the_frames_do(frames, saved, tmp_path):
    path, seen = tmp_path / "o.jsonl", []

    def watched():
        for frame in frames:
            seen.append(len(path.read_text().splitlines()) if path.exists() else 0)
            yield frame

    track_to_files(watched(), BOX, saved, json_path=path)
    assert seen[:2] == [0, 1] and seen[-1] == len(frames) - 1  # each was there before the next frame was asked for
    assert [json.loads(line)["frame"] for line in path.read_text().splitlines()] == list(range(12))


def test_lines_on_the_standard_output_are_alone_there(frames, saved, capsys):
    track_to_files(frames, BOX, saved, json_path="-")
    out, err = capsys.readouterr()
    assert len([json.loads(line) for line in out.splitlines()]) == 12 and "12 frames, mean score 0." in err


def test_without_a_box_and_a_display_it_says_what_to_do(frames, saved, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UserError, match="no window can be shown .*: give the target by --box x,y,w,h"):
        track_to_files(frames, None, saved)
    with pytest.raises(UserError, match="give --box x,y,w,h"):
        track_to_files(frames, None, saved, show=False)
    with pytest.raises(UserError, match="no window can be shown .*: track without --show"):
        track_to_files(frames, BOX, saved, show=True)


@pytest.fixture(scope="module")
def trackers(model, variables):
    """Without and with template updates."""
    options = {"plain": {"window_power": 1.0}, "update": UPDATING}
    return {name: tracker.Tracker(model, variables, values) for name, values in options.items()}


@pytest.fixture(scope="module")
def panning(natural_image):
    """Twenty frames of a camera that pans over a picture."""
    return [np.roll(natural_image, (2 * t, 5 * t), (0, 1)) for t in range(20)]


@pytest.mark.parametrize("chunk", [1, 7, 16])
@pytest.mark.parametrize("mode", ["plain", "update"])
def test_chunks_give_the_boxes_of_the_online_tracker(mode, chunk, trackers, panning):
    online = list(follow.follow(trackers[mode], panning, BOX))
    cache = programs.track_chunk._cache_size()
    chunked = list(follow.follow(trackers[mode], iter(panning), BOX, chunk))
    assert programs.track_chunk._cache_size() <= cache + 1  # the last chunk is shorter, and compiles nothing
    for (shown, there), (frame, here), given in zip(online, chunked, panning, strict=True):
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


def test_templates_are_updated_inside_a_chunk(trackers, panning):
    """The response that follows an update differs from that without."""
    responses = {
        name: [result.response for _, result in follow.follow(tracked, panning[:9], BOX, 16)]
        for name, tracked in trackers.items()
    }
    with_power = tracker.Tracker(trackers["plain"].model, trackers["plain"]._engine.variables, {"window_power": 2.0})
    never = [result.response for _, result in follow.follow(with_power, panning[:9], BOX, 16)]
    np.testing.assert_allclose(responses["update"][1:6], never[1:6], atol=1e-5)
    assert abs(responses["update"][6] - never[6]) > 1e-4


def test_no_transfer_is_implicit_and_the_target_stays_in_its_buffers(trackers, panning):
    tracked = trackers["update"]
    tracked.init(panning[0], BOX)
    tracked.prepare(*panning[0].shape[:2], 7)
    before = tracked._engine.state
    with jax.transfer_guard("disallow"):
        with pytest.raises(UserError, match="update_chunk has 3 frames for length=2: give no more than that"):
            tracked.update_chunk(panning[1:4], 2)
        results = tracked.update_chunk(panning[1:4], 7)
        assert len(list(results())) == 3
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))


def test_frames_of_another_size_are_frames(trackers, panning):
    mixed = [panning[0], panning[1], panning[2][:200, :250], panning[3]]
    online = boxes(follow.follow(trackers["plain"], mixed, BOX))
    np.testing.assert_allclose(boxes(follow.follow(trackers["plain"], mixed, BOX, 7)), online, rtol=0, atol=1e-3)


@pytest.mark.parametrize("bad", [1, 5, 8, 9])
def test_what_was_tracked_before_a_bad_frame_is_handed_out(bad, trackers, panning):
    """In the middle of a chunk, at its beginning and at its end; then the reason, in the words of who found it."""

    def reading():
        yield from panning[:bad]
        raise UserError(f"film.mp4: frame {bad} does not decode")

    done = []
    with pytest.raises(UserError, match=f"^film.mp4: frame {bad} does not decode$"):
        for _, result in follow.follow(trackers["plain"], reading(), BOX, 4):
            done.append(result.box)
    np.testing.assert_allclose(done, boxes(follow.follow(trackers["plain"], panning[:bad], BOX)), rtol=0, atol=1e-3)
    with pytest.raises(UserError, match="give a numpy array, uint8"):
        list(follow.follow(trackers["plain"], [*panning[:bad], None], BOX, 4))


def test_weights_that_are_not_finite_are_one_line(trackers, panning):
    broken = jax.tree.map(lambda x: np.asarray(x) * np.nan, trackers["plain"]._engine.variables)
    tracked = tracker.Tracker(trackers["plain"].model, broken, {"window_power": 1.0})
    followed = follow.follow(tracked, panning, BOX, 4)
    next(followed)
    with pytest.raises(UserError, match="box is not finite"):
        next(followed)


def test_a_stored_frame_is_read_while_the_one_before_is_tracked(trackers, panning):
    """One frame ahead, and no more; what reading raises comes after the results of the frames before."""
    asked = []

    def reading():
        for index, frame in enumerate(panning[:5]):
            asked.append(index)
            yield frame
        raise UserError("film.mp4: frame 5 does not decode")

    expected, done = boxes(follow.follow(trackers["plain"], panning[:5], BOX)), []
    with pytest.raises(UserError, match="frame 5 does not decode"):
        for _, result in follow.follow(trackers["plain"], reading(), BOX, ahead=True):
            done.append(result.box)
            assert len(asked) <= len(done) + 1
    np.testing.assert_array_equal(done, expected)
    followed = follow.follow(trackers["plain"], iter(panning), BOX, ahead=True)
    next(followed), next(followed)
    followed.close()
    assert not [t for t in threading.enumerate() if "ThreadPoolExecutor" in t.name and t.is_alive()]


def test_no_more_than_two_chunks_are_in_memory(trackers, panning):
    """An endless camera, left in the middle: it is asked for no frame that is not near, and by nobody afterwards."""
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield panning[asked % len(panning)]

    followed = follow.follow(trackers["plain"], endless(), BOX, 3)
    for given in range(1, 30):
        next(followed)
        assert asked <= given + 2 * 3
    followed.close()
    after = asked
    time.sleep(0.1)
    assert asked == after and not [t for t in threading.enumerate() if "ThreadPoolExecutor" in t.name and t.is_alive()]


@pytest.mark.parametrize("chunk", [0, -1, 2.0, True])
def test_a_chunk_of_no_frames_is_one_line(chunk, trackers, panning):
    with pytest.raises(UserError, match="chunk is .*: give at least 1 frame"):
        next(follow.follow(trackers["plain"], panning, BOX, chunk))


def test_the_command_tracks_in_chunks(small_checkpoint, panning, tmp_path):
    film, run = tmp_path / "film.mp4", tmp_path / "run"
    checkpoint.save_variables(run, *small_checkpoint, {"window_power": 1.0})
    with video.write_video(film, 25) as write:
        for frame in panning[:9]:
            write(frame)
    for chunk, name in ((None, "online.txt"), (4, "chunked.txt")):
        track_to_files(film, BOX, run, txt_path=tmp_path / name, chunk=chunk)
    online, chunked = (np.loadtxt(tmp_path / name, delimiter=",") for name in ("online.txt", "chunked.txt"))
    assert online.shape == (9, 4)
    np.testing.assert_allclose(chunked, online, rtol=0, atol=1e-3)
    found = [result.box for result in track.track(film, BOX, run, chunk=4)]
    np.testing.assert_allclose(found, online, rtol=0, atol=1e-3)
