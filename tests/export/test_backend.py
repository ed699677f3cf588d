"""Exported graphs in the place of JAX: what `relo track` and the Python interface do with them."""

import json

import cv2
import numpy as np
import pytest

import relo_jax
from relo_jax import extras
from relo_jax.errors import UserError
from relo_jax.export import backend, relo_track, write
from relo_jax.tracking.tracker import MultiTracker, Tracker
from tests import command

pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
BOX, SECOND = (100.0, 80.0, 40.0, 30.0), (30.0, 40.0, 50.0, 60.0)


@pytest.fixture
def video(frames, tmp_path):
    for number, frame in enumerate(frames[:7]):
        path = tmp_path / "video" / f"{number:04d}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), frame[..., ::-1])
    return tmp_path / "video"


def followed(ours, frames, box):
    ours.init(frames[0], box)
    return [box, *(ours.update(frame).box for frame in frames[1:7])]


def test_relo_track_writes_the_boxes_of_relo_jax(exported, ours, frames, video, tmp_path):
    where = ["--box=100,80,40,30", "--box=30,40,50,60", "--txt", tmp_path / "boxes.txt", "--save", tmp_path / "out.mp4"]
    command.run("track", video, *where, "--checkpoint", exported, "--backend=onnxruntime", "--heatmap")
    for number, box in ((1, BOX), (2, SECOND)):
        found = np.loadtxt(tmp_path / f"boxes_{number}.txt", delimiter=",")
        np.testing.assert_allclose(found, followed(ours, frames, box), rtol=0, atol=0.05)
    assert (tmp_path / "out.mp4").stat().st_size > 5000


def test_a_look_is_that_of_relo_jax(exported, ours, frames):
    tracker = relo_jax.open_exported(exported)
    assert isinstance(tracker, Tracker) and tracker.calibrated and tracker.options["update_interval"] == 3
    assert f"ExportedTracker({exported}: tiny" in repr(tracker) and "in float32, by onnxruntime; waits" in repr(tracker)
    for one in (tracker, ours):
        one.init(frames[0], BOX)
    for frame in frames[1:4]:
        found, expected = tracker.look(frame), ours.look(frame)
        assert found.entropy == pytest.approx(expected.entropy, abs=1e-3) and found.region == expected.region
        np.testing.assert_array_equal(found.window, expected.window)
        np.testing.assert_allclose(found.policy, expected.policy, rtol=0, atol=1e-4)
        np.testing.assert_allclose(found.box, expected.box, rtol=0, atol=0.05)
    for one in (tracker, ours):  # the stream goes to another resolution
        one.rescale(2.0, 1.5)
    np.testing.assert_allclose(tracker.boxes, ours.boxes, rtol=0, atol=0.1)
    large = cv2.resize(frames[4], (640, 360))
    np.testing.assert_allclose(tracker.update(large).box, ours.update(large).box, rtol=0, atol=0.1)


def test_several_targets_begin_when_they_do_and_chunks_have_the_same_boxes(exported, of_three, ours, frames):
    tracker = relo_jax.open_exported(of_three, 2)
    assert isinstance(tracker, MultiTracker) and len(tracker) == 2
    tracker.init(frames[0], [BOX, BOX])
    tracker.update(frames[1])
    tracker.init_one(1, frames[1], SECOND)
    found = [results[1].box for results in tracker.update_chunk(frames[2:6])()]
    expected = followed(ours, frames[1:], SECOND)[1:5]
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.05)
    alone = list(relo_jax.track(frames[:5], BOX, relo_jax.open_exported(exported)))
    np.testing.assert_allclose([one.box for one in alone], followed(ours, frames, BOX)[:5], rtol=0, atol=0.05)


def test_any_other_checkpoint_is_exported_once_into_the_cache(source, tmp_path, monkeypatch, capsys):
    made = []

    def export(source, folder, precisions):
        made.append((source.options["window_power"], folder, precisions))
        folder.mkdir()
        (folder / "tracker.json").write_text(
            json.dumps(
                {**dict.fromkeys((*relo_track.COUNTS, *relo_track.NUMBERS), 1), "format": 1, "state": {}, "graphs": {}}
            )
        )

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(backend.Source, "of", lambda checkpoint: source)
    monkeypatch.setattr(write, "export", export)
    for precision, power in (("float32", 1.0), ("float32", 1.0), ("float32", 2.0), ("int8", 2.0)):
        with pytest.raises(UserError, match=f"no graphs in '{precision}'"):  # of the stand-in
            relo_jax.open_exported("runs/golden", precision=precision, window_power=power)
    assert [(power, precisions) for power, _, precisions in made] == [
        (1.0, ["float32"]),
        (2.0, ["float32"]),
        (2.0, ["int8"]),
    ]
    assert {folder.parent for _, folder, _ in made} == {tmp_path / "relo_jax" / "exported"}
    assert capsys.readouterr().err.count("exporting runs/golden for onnxruntime, the first time") == 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--window-power=2"],
            "window_power is 2, but the graphs of .*golden.* were made with 1: leave it out, or give",
        ),
        (["--dtype=bfloat16"], "dtype bfloat16 is for the backend jax"),
        (
            ["--precision=int8"],
            "has no graphs in 'int8', only in float32: relo export CHECKPOINT NEW_FOLDER --precision float32,fl",
        ),
        (["--update-interval=-1"], "update_interval is -1"),
        (["--backend=jax", "--precision=int8"], "precision int8 is of exported graphs: name their backend too"),
    ],
)
def test_what_graphs_cannot_do_is_refused_in_one_line(exported, video, flags, message):
    with pytest.raises(UserError, match=message):
        command.run("track", video, "--box=100,80,40,30", "--checkpoint", exported, "--backend=onnxruntime", *flags)


@pytest.mark.parametrize(
    ("installed", "name", "line"),
    [
        ((), "exported", 'needs openvino, which is not installed: pip install "relo-jax[openvino]"'),
        (
            (),
            "starter",
            'needs openvino, onnx and onnxruntime, which are not installed: pip install "relo-jax[openvino,export]"',
        ),
        (
            ("openvino",),
            "starter",
            'track needs onnx and onnxruntime, which are not installed: pip install "relo-jax[export]"',
        ),
        (
            ("onnx", "onnxruntime"),
            "starter",
            'needs openvino, which is not installed: pip install "relo-jax[openvino]"',
        ),
    ],
)
def test_all_that_a_backend_lacks_is_named_at_once_with_its_extras(
    installed, name, line, exported, video, monkeypatch, capsys
):
    from relo_jax.commands import main

    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda package: package if package in installed else None)
    checkpoint = str(exported) if name == "exported" else name
    assert main.main(["track", str(video), "--box=100,80,40,30", "--checkpoint", checkpoint, "--backend=openvino"]) == 1
    assert line in capsys.readouterr().err
    with pytest.raises(ModuleNotFoundError, match="not installed: pip install .relo-jax"):
        relo_jax.open_exported(checkpoint, backend="openvino")


def test_weights_of_the_score_are_part_of_the_graphs(exported):
    with pytest.raises(UserError, match="score_bias is 7, but the graphs of .* were made with -2: leave"):
        relo_jax.open_exported(exported, score_bias=7.0)


@pytest.mark.parametrize("field", ["model", "checkpoint", "calibrated", "window_power"])
def test_an_export_that_lacks_a_field_is_to_be_made_again(field, exported, tmp_path):
    described = json.loads((exported / "tracker.json").read_text())
    del described[field]
    (tmp_path / "tracker.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match=f"tracker.json has no field '{field}': export again"):
        relo_jax.open_exported(tmp_path)
