"""`relo track` with somebody before a window, with cameras, and with a file that ends early: what is written, and said.

The window is `relo_jax.media.window`'s without its screen: tests/media/test_window.py has mouse, keys and pictures.
"""

import contextlib
import json
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import av
import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.media import latest_frame, video, window
from relo_jax.media.window import Selection
from relo_jax.tracking import tracker
from relo_jax.tracking.part import Part
from relo_jax.tracking.session import track_to_files

BOX, SECOND, AGAIN = (100.0, 80.0, 40.0, 30.0), (30.0, 40.0, 50.0, 60.0), (180.0, 120.0, 24.0, 36.0)


class Screen(window.Window):
    """A window without a screen. `does`: what somebody does before it, by the number of what is shown: functions of
    the frame, which may give a Selection."""

    def __init__(self):
        self.does, self.shown, self.opened = {}, [], []
        self._closed, self._stop = threading.Event(), None

    def show(self, frame, results):
        self.shown.append(SimpleNamespace(frame=frame, results=results, time=time.monotonic()))
        return self.does.get(len(self.shown) - 1, lambda frame: None)(frame)

    def run(self, work, stop):
        self._stop = stop
        with ThreadPoolExecutor(1) as beside:  # the window has the main thread
            return beside.submit(work).result()

    def close(self, frame):
        self._closed.set()
        self._stop()


@pytest.fixture
def screen(monkeypatch):
    screen = Screen()

    @contextlib.contextmanager
    def open_window(title, remedy):
        screen.opened.append(title)
        yield screen

    monkeypatch.setattr(window, "open_window", open_window)
    return screen


def followed(tracked, frames, box, again=None):
    """Boxes `[F, 4]`; again: (t, u, box) begins anew after frame t, with a box in frame u."""
    tracked.init(frames[0], box)
    boxes = [box]
    for t, frame in enumerate(frames[1:], start=1):
        boxes.append(tracked.update(frame).box)
        if again is not None and t == again[0]:
            tracked.init(frames[again[1]], again[2])
    return np.array(boxes)


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_boxes_follow_what_is_selected_and_selected_again(tracked, saved, frames, screen, tmp_path, capsys):
    """The second time in the frame that was still seen when the next was already tracked."""
    screen.does = {2: lambda _: Selection(0, frames[0], BOX), 8: lambda _: Selection(0, frames[4], AGAIN)}
    out = {"json_path": tmp_path / "o.jsonl", "txt_path": tmp_path / "o.txt"}
    track_to_files(frames, None, saved, **out, chunk=4)
    expected = followed(tracked, frames, BOX, again=(5, 4, AGAIN))
    assert np.abs(expected - followed(tracked, frames, BOX))[6:].max() > 20
    found = [row["box"] for row in rows_of(out["json_path"])]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)
    np.testing.assert_allclose(np.loadtxt(out["txt_path"], delimiter=","), expected, rtol=0, atol=2e-3)
    # Until something is selected a file stands still; then all of it is seen, each frame with its box.
    assert [shown.frame is frames[0] and shown.results == [] for shown in screen.shown[:3]] == [True] * 3
    assert all(shown.frame is frame for shown, frame in zip(screen.shown[3:], frames, strict=True))
    np.testing.assert_allclose([shown.results[0].box for shown in screen.shown[3:]], expected, rtol=0, atol=2e-3)
    assert "--chunk is for files without a window" in capsys.readouterr().err


def test_one_of_two_targets_is_selected_again_and_the_other_goes_on(tracked, saved, frames, screen, tmp_path):
    screen.does = {5: lambda frame: Selection(1, frame, AGAIN)}
    track_to_files(frames, [BOX, SECOND], saved, json_path=tmp_path / "o.jsonl", show=True)
    found = np.array([[target["box"] for target in row["targets"]] for row in rows_of(tmp_path / "o.jsonl")])
    np.testing.assert_allclose(found[:, 0], followed(tracked, frames, BOX), rtol=0, atol=2e-3)
    expected = followed(tracked, frames, SECOND, again=(5, 5, AGAIN))
    np.testing.assert_allclose(found[:, 1], expected, rtol=0, atol=2e-3)


def test_a_target_is_selected_in_the_frame_from_which_it_is_tracked(tracked, saved, frames, screen, tmp_path):
    """And shown from there on; backwards only the frame to select in."""
    screen.does = {2: lambda frame: Selection(0, frame, BOX)}
    track_to_files(frames, None, saved, json_path=tmp_path / "o.jsonl", part=Part("4", 9))
    rows = rows_of(tmp_path / "o.jsonl")
    assert [row["frame"] for row in rows] == list(range(4, 10)) and rows[0]["box"] == list(BOX)
    assert all(shown.frame is frame for shown, frame in zip(screen.shown, [frames[4]] * 3 + frames[4:10], strict=True))
    found = [row["box"] for row in rows]
    np.testing.assert_allclose(found, followed(tracked, frames[4:10], BOX), rtol=0, atol=2e-3)
    screen.shown.clear()
    track_to_files(frames, None, saved, json_path=tmp_path / "o.jsonl", part=Part(4, direction="both"))
    assert [shown.frame is frames[4] for shown in screen.shown] == [True] * 3
    assert [row["frame"] for row in rows_of(tmp_path / "o.jsonl")] == list(range(12))


def test_a_file_in_a_window_plays_no_faster_than_it_was_taken_also_after_a_pause(saved, frames, screen, tmp_path):
    with video.write_video(tmp_path / "film.mp4", rate=10) as write:
        for frame in frames[:9]:
            write(frame)
    screen.does = {3: lambda _: time.sleep(0.8)}
    track_to_files(tmp_path / "film.mp4", BOX, saved, show=True)
    times = [shown.time for shown in screen.shown]
    assert len(times) == 9 and times[3] - times[0] > 0.19
    assert times[8] - times[3] > 0.8 + 0.39  # what the pause took is not caught up with


def test_a_camera_plays_on_until_something_is_selected_and_is_not_held_up(saved, frames, screen, camera, tmp_path):
    """Its first row is of the frame that was selected in. By its rate a frame would take half a minute."""

    def until_seen(count):
        t = 0
        while len(screen.shown) < count:
            t += 1
            yield frames[t % len(frames)]

    camera.does(until_seen(8), rate=1 / 30)
    screen.does = {3: lambda frame: Selection(0, frame, BOX)}
    track_to_files(0, None, saved, json_path=tmp_path / "o.jsonl", retries=0)
    rows = rows_of(tmp_path / "o.jsonl")
    asked, seen = screen.shown[:4], screen.shown[4:]
    assert len({shown.frame[0, 0].tobytes() for shown in asked}) > 1
    assert len(rows) == len(seen) >= 4 and seen[0].frame is asked[-1].frame
    assert rows[0]["box"] == list(BOX) and rows[0]["time"] == 0 and rows[0]["dropped"] == 0
    assert 0 < rows[1]["time"] and rows[-1]["time"] < 25


def test_a_window_that_is_closed_before_anything_is_selected_leaves_nothing(saved, frames, screen, tmp_path):
    screen.does = {3: screen.close}
    with pytest.raises(KeyboardInterrupt):
        track_to_files(frames, None, saved, json_path=tmp_path / "o.json", save=tmp_path / "o.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_window_that_is_closed_on_the_way_ends_the_tracking_and_not_the_files(
    saved, frames, screen, tmp_path, capsys
):
    screen.does = {4: screen.close}
    track_to_files(frames, BOX, saved, json_path=tmp_path / "o.json", save=tmp_path / "o.mp4", show=True)
    assert capsys.readouterr().out.startswith("frames: interrupted after 5 frames")
    assert len(json.loads((tmp_path / "o.json").read_text())["frames"]) == 5
    with video.open_frames(tmp_path / "o.mp4") as written:
        assert len(list(written)) == 5


@pytest.mark.parametrize(
    ("source", "box", "show", "looks", "opens"),
    [
        ("file", BOX, None, True, False),
        ("file", BOX, True, False, True),
        ("file", None, None, False, True),
        ("camera", BOX, None, True, True),
        ("camera", BOX, None, False, False),
        ("camera", BOX, False, True, False),
        ("camera", BOX, True, False, True),
        ("camera", None, None, False, True),
    ],
)
def test_what_opens_a_window(source, box, show, looks, opens, frames, screen, camera, monkeypatch):
    """What needs a selection, what is asked to, and a live source where somebody is looking."""
    monkeypatch.setattr(window, "is_expected", lambda: looks)
    camera.does(frames)
    with pytest.raises(UserError, match="no such checkpoint"):
        track_to_files(0 if source == "camera" else frames, box, "nothing-there", show=show)
    assert screen.opened == ([{"camera": "camera 0", "file": "frames"}[source]] if opens else [])


@pytest.mark.parametrize(
    ("system", "display", "terminal", "tk", "looks"),
    [
        ("linux", ":0", True, True, True),
        ("linux", "", True, True, False),
        ("darwin", "", True, True, True),
        ("win32", "", True, True, True),
        ("linux", ":0", False, True, False),
        ("linux", ":0", True, False, False),
    ],
)
def test_a_window_is_expected_in_a_terminal_with_a_display(system, display, terminal, tk, looks, monkeypatch):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: terminal))
    found = {"_tkinter": SimpleNamespace()} if tk else {}
    monkeypatch.setattr(window.importlib.util, "find_spec", found.get)
    assert window.is_expected() is looks


def test_a_file_that_ends_early_is_said_to(saved, frames, tmp_path, capsys):
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    with av.open(str(whole), "w", options={"movflags": "faststart"}) as container:  # the header first
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 9 // 10])
    said = {}
    for path in (whole, cut):
        track_to_files(path, BOX, saved, txt_path=tmp_path / "o.txt")
        said[path] = capsys.readouterr().out
    scores = r"mean score 0.\d\d, (?:low in \d+ of \d+ frames \(.*\)|never low)(?:, lost in .*)?"
    tracked = rf"(\d+) frames, {scores}, [\d.]+ frames/s, reading and writing included"
    assert re.fullmatch(rf"{whole}: {tracked}\nwritten: .*o.txt\n", said[whole])[1] == "12"
    last = r"(?:; frames damaged in part: 1)?; its header promised 12: is the file complete\?"
    count = int(re.fullmatch(rf"{cut}: {tracked}{last}\nwritten: .*o.txt\n", said[cut])[1])
    assert 1 < count < 12 and len(np.loadtxt(tmp_path / "o.txt", delimiter=",")) == count


def test_frames_that_a_slow_tracker_missed_and_breaks_of_a_camera_are_said(
    saved, frames, camera, tmp_path, monkeypatch, capsys
):
    """The camera goes on while the tracker is at work, breaks off, comes back, breaks off again and is gone."""
    taken, tracked, update = [], [], tracker.Tracker.update

    def slow(self, frame):
        before = len(taken)
        while len(tracked) < 5 and len(taken) < before + 4:
            time.sleep(0.01)
        tracked.append(frame)
        return update(self, frame)

    def until_tracked():
        while len(tracked) < 5:
            taken.append(frames[len(taken) % len(frames)])
            yield taken[-1]
        yield None

    monkeypatch.setattr(latest_frame, "_LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(tracker.Tracker, "update", slow)
    camera.does(until_tracked(), [*frames[:3], None])
    track_to_files(0, BOX, saved, json_path=tmp_path / "o.json", retries=1, timeout=60)
    story = capsys.readouterr().out.splitlines()[0]
    written = json.loads((tmp_path / "o.json").read_text())
    count, dropped = len(written["frames"]), written["dropped"]
    assert story.startswith(f"camera 0: {count} frames, mean score ")
    assert story.endswith(f"; frames dropped for newer ones: {dropped}; times broken off or stalled: 2")
    assert dropped >= 10 and written["lost"] == 2 and "is the file complete" not in story
