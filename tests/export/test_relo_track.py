"""relo_track.py, the tracker that is copied alone: the crops, boxes and messages of relo_jax, without it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import jax
import numpy as np
import pytest

import relo_jax
from relo_jax.errors import UserError
from relo_jax.export import relo_track
from relo_jax.geometry import boxes, crop
from relo_jax.tracking import confidence, options

BOX = (100.0, 80.0, 40.0, 30.0)
# Runs a script as `python SCRIPT` does, where neither relo_jax nor JAX can be imported.
ALONE = """
import runpy, sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("relo_jax", "jax", "flax"):
            raise ImportError(f"{name} is imported")
sys.meta_path.insert(0, Forbidden())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# Opens two trackers, as a program does that compares exports, drops them and is sent a signal.
SIGNALLED = """
import gc, signal, sys
from relo_jax.export import relo_track
first, second = (relo_track.Network(sys.argv[1], backend="openvino", threads=1) for _ in range(2))
del first; gc.collect()
del second; gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""


def opened(folder, backend="onnxruntime", **how):
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    return relo_track.Tracker(folder, backend=backend, **how)


def test_crops_and_boxes_are_those_of_relo_jax():
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (120, 160, 3), np.uint8)
    for _ in range(300):
        box = np.array([*rng.uniform(-40, 150, 2), *np.exp(rng.uniform(-1, 5, 2))])
        box = np.round(2 * box) / 2 + [0, 0, 0.5, 0.5] if rng.random() < 0.3 else box  # halves are rounded to even
        box[2:] = (22.5, 4.9) if rng.random() < 0.05 else box[2:]  # a double square root misses the last bit of it
        given, later = box, box.astype(np.float32)
        for factor in (2.0, 4.0):
            assert relo_track.crop_window(given, factor) == crop.crop_window(given, factor)
            window = relo_track.crop_window(later, factor)
            assert window == tuple(crop.crop_windows(later, factor).tolist())
        for size in (96, 128):
            np.testing.assert_array_equal(relo_track.cut(frame, window, size), crop.cut_host(frame, window, size))
        found = rng.uniform(0, 1, 4).astype(np.float32)
        mapped = relo_track.box_from_crop(found, later, window[2], 192)
        expected = crop.box_from_crop(found, later, 192 / np.array([window[2]], np.float32), 192)
        np.testing.assert_array_equal(mapped, expected)
        np.testing.assert_array_equal(relo_track.clip_box(mapped, frame), boxes.clip_box_xywh(mapped, 120, 160))


@pytest.mark.parametrize("backend", relo_track.BACKENDS)
def test_each_step_from_the_same_state_is_that_of_relo_jax(exported, ours, frames, backend):
    """Templates are replaced meanwhile; what a step leaves behind is the next step's state."""
    tracker = opened(exported, backend, threads=1)
    tracker.init(frames[0], BOX)
    ours.init(frames[0], BOX)
    replaced = 0
    for frame in frames[1:]:
        before = tracker.inputs(frame)
        result, expected = tracker.update(frame), ours.look(frame)
        np.testing.assert_allclose(result.box, expected.box, rtol=0, atol=0.05)
        np.testing.assert_allclose(result.policy, expected.policy, rtol=0, atol=1e-4)
        assert result.score == pytest.approx(expected.score, abs=1e-4) and result.region == expected.region
        assert result.response == pytest.approx(expected.response, abs=1e-3) and result.found == expected.found
        state = jax.device_get(ours._engine.state)
        after = tracker.inputs(frame)
        for name, theirs in (("templates", state.state.templates), ("tokens", state.state.tokens)):
            np.testing.assert_allclose(after[name], theirs, rtol=0, atol=2e-3)
        replaced += not np.array_equal(before["templates"], after["templates"])
        tracker.box, tracker.window = state.box_xywh[0], tuple(state.crop_window[0].tolist())
        tracker._templates, tracker._state["tokens"] = state.state.templates, state.state.tokens
    assert replaced == 3  # after frames 3, 6 and 9


def test_targets_that_share_a_graph_do_not_mix(exported, of_three, frames):
    places = [BOX, (30.0, 40.0, 50.0, 60.0), (180.0, 120.0, 24.0, 36.0), (60.0, 90.0, 30.0, 30.0)]
    alone, network = opened(exported), relo_track.Network(of_three)
    together = [relo_track.Tracker(network) for _ in places]
    for tracker, box in zip(together, places, strict=True):
        tracker.init(frames[0], box)
    results = [relo_track.advance(together, [frame] * len(places)) for frame in frames[1:8]]
    for k, box in enumerate(places):
        alone.init(frames[0], box)
        expected = [alone.update(frame).box for frame in frames[1:8]]
        np.testing.assert_allclose([row[k].box for row in results], expected, rtol=0, atol=0.05)


def test_found_changes_after_as_many_scores_as_the_option_says():
    scores = np.random.default_rng(1).uniform(0, 1, 60).astype(np.float32)
    config = dict(search_size=64, search_factor=4.0, update_interval=0, update_threshold=0.0, found_threshold=0.5)
    network = SimpleNamespace(config={**config, "found_frames": 3})
    tracker, black = relo_track.Tracker.__new__(relo_track.Tracker), np.zeros((99, 99, 3), np.uint8)
    tracker.network, tracker.options = network, {name: network.config[name] for name in relo_track.OPTIONS}
    tracker.box, tracker.window, tracker._state = np.float32([40, 40, 20, 20]), (10, 10, 80), {}
    tracker._frames, tracker._level, tracker._recent = 0, 1.0, [1.0] * 3
    same = {"box": np.float32([[0.5, 0.5, 0.25, 0.25]]), "response": np.zeros(1), "policy": np.zeros((1, 4, 4))}
    found = [tracker.accept(black, {**same, "score": score[None]}).found for score in scores]
    assert found == (confidence.levels(scores, 3) >= 0.5).tolist() and 0 < sum(found) < 60


def test_the_folder_tracks_a_video_where_there_is_no_relo_jax(exported, frames, tmp_path):
    shutil.copytree(exported, tmp_path / "copied")
    writer = cv2.VideoWriter(str(tmp_path / "in.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, (320, 240))
    for frame in frames[:6]:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    command = ["copied/relo_track.py", "in.mp4", "--box", "100,80,40,30", "--boxes", "out.txt", "--save", "out.mp4"]
    done = subprocess.run([sys.executable, "-c", ALONE, *command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("in.mp4: 6 frames, mean score "), done.stderr
    assert done.stdout.endswith("frames/s without reading; wrote out.mp4; wrote out.txt\n")
    tracker, video, expected = opened(exported), cv2.VideoCapture(str(tmp_path / "in.mp4")), [BOX]
    tracker.init(cv2.cvtColor(video.read()[1], cv2.COLOR_BGR2RGB), BOX)
    for _ in range(5):
        expected.append(tracker.update(cv2.cvtColor(video.read()[1], cv2.COLOR_BGR2RGB)).box)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "out.txt", delimiter=","), expected, rtol=0, atol=1e-3)
    drawn, (x, y) = cv2.VideoCapture(str(tmp_path / "out.mp4")), map(round, expected[0][:2])
    red, green, blue = drawn.read()[1][y, x + 20, ::-1].astype(int)
    assert green > max(red, blue) + 60  # the box's upper edge


def test_signals_are_handled_after_trackers_of_openvino_are_gone(exported):
    pytest.importorskip("openvino", reason="openvino is not installed")
    run = subprocess.run([sys.executable, "-c", SIGNALLED, exported], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "handled\n"), run.stderr


@pytest.mark.parametrize("frame", [np.zeros((9, 9), np.uint8), np.zeros((0, 9, 3), np.uint8), np.zeros((9, 9, 3)), [1]])
def test_a_bad_frame_has_the_message_of_relo_jax(frame):
    with pytest.raises(UserError) as expected:
        options.check_frame(frame)
    with pytest.raises(relo_track.TrackerError) as found:
        relo_track.check_frame(frame)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    "box", [(1, 2, 3), "abcd", (1, 2, 0, 4), (1, 2, np.nan, 4), (99, 2, 3, 4), (-9, 2, 3, 4), (0, 0, 1e6, 1e6)]
)
def test_a_bad_box_has_the_message_of_relo_jax(box):
    frame = np.zeros((40, 50, 3), np.uint8)
    with pytest.raises(UserError) as expected:
        options.check_box(box, frame)
    with pytest.raises(relo_track.TrackerError) as found:
        relo_track.check_box(box, frame)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("gone.mp4", "gone.mp4 does not exist: give a video"),
        ("torn.mp4", "torn.mp4 has no readable frames: give a video"),
    ],
)
def test_a_film_that_is_missing_or_broken_is_one_line(exported, tmp_path, name, line):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    film, _ = relo_jax.example()
    (tmp_path / "torn.mp4").write_bytes(Path(film).read_bytes()[:3000])
    command = [sys.executable, exported / "relo_track.py", name, "--box", "100,80,40,30"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == f"relo_track: {line}\n"


def change(**fields):
    def do(folder):
        path = folder / "tracker.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return do


@pytest.mark.parametrize(
    ("damage", "how", "message"),
    [
        (lambda folder: (folder / "step.onnx").unlink(), {}, "has no step.onnx, which its tracker.json names"),
        (
            lambda folder: shutil.copy(folder / "step.onnx", folder / "template.onnx"),
            {},
            "template.onnx does not belong",
        ),
        (lambda folder: (folder / "step.onnx").write_bytes(b""), {}, "step.onnx does not belong to the tracker.json"),
        (lambda folder: (folder / "tracker.json").unlink(), {}, "has no tracker.json: give a folder that relo export"),
        (lambda folder: (folder / "tracker.json").write_text("{"), {}, "tracker.json cannot be read"),
        (
            lambda folder: (folder / "tracker.json").write_text('{"format": 1}'),
            {},
            "tracker.json: there is no field 'batch': export again",
        ),
        (change(search_size="256"), {}, "tracker.json: search_size is '256': export again"),
        (change(found_threshold=True), {}, "tracker.json: found_threshold is True: export again"),
        (change(state={"tokens": [1 << 15, 1 << 15]}), {}, "tracker.json: state is .* export again"),
        (change(graphs={"float32": {"template": 3, "step": 3}}), {}, "tracker.json: graphs is .* export again"),
        (lambda folder: (folder / "tracker.json").write_text("[" * 100_000), {}, "tracker.json cannot be read"),
        (change(batch=None), {}, "has programs of StableHLO, which JAX runs: export without"),
        (
            change(graphs={"float32": dict.fromkeys(("template", "step"), {"file": "../step.onnx", "sha256": ""})}),
            {},
            "has no ../step.onnx, which its tracker.json names",
        ),
        (change(format=2), {}, "has format 2, and this file reads 1: take the relo_track.py beside it"),
        (change(), {"precision": "int4"}, "has no graphs in 'int4', only in float32: relo export .*,int8 makes"),
        (change(), {"backend": "tensorrt"}, "no backend 'tensorrt' .known: onnxruntime, openvino."),
        (change(), {"provider": "TPU"}, "onnxruntime has no provider 'TPU' here .it has .*CPUExecutionProvider"),
        (change(), {"threads": 0}, "threads is 0: give at least 1"),
    ],
)
def test_a_folder_that_cannot_be_opened_is_one_line(exported, tmp_path, damage, how, message):
    folder = tmp_path / "copied"
    shutil.copytree(exported, folder)
    damage(folder)
    with pytest.raises(relo_track.TrackerError, match=message) as found:
        relo_track.Tracker(folder, **how)
    assert "\n" not in str(found.value)


def test_an_update_before_the_first_box_is_refused(exported, frames):
    with pytest.raises(relo_track.TrackerError, match="update was called before init"):
        opened(exported).update(frames[0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(found_frames=0), "found_frames is 0: give a number of frames, at least 1"),
        (dict(update_interval=2.5), "update_interval is 2.5: give a number of frames, at least 0"),
        (dict(update_interval=3, slots=1), "update_interval needs graphs of two templates, and these have 1: set it"),
    ],
)
def test_options_that_cannot_be_followed_are_refused_at_the_first_frame(exported, frames, changed, message):
    tracker = opened(exported)
    tracker.network.config["templates"] = changed.pop("slots", 2)
    tracker.options |= changed
    with pytest.raises(relo_track.TrackerError, match=message):
        tracker.init(frames[0], BOX)
