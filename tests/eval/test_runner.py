"""Evaluation: many sequences at once give what one at a time gives; nothing is run twice, lost or mixed up."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import jax
import numpy as np
import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import provenance
from relo_jax.checkpoints.pytorch import convert
from relo_jax.data.datasets.folder import read_folder, read_sequence
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.eval import benchmarks, runner
from relo_jax.eval.lockstep import Lockstep, batch_for
from relo_jax.eval.metrics import measure, never_moves
from relo_jax.eval.runner import checkpoint_name, evaluate
from relo_jax.geometry.crop import crop_host
from relo_jax.model import RELO
from relo_jax.tracking import programs
from relo_jax.tracking.follow import follow
from relo_jax.tracking.patches import bucket_side
from relo_jax.tracking.tracker import Tracker
from tests.golden import FIELDS as GOLDEN

UPDATING = {"window_power": 2.0, "update_interval": 3, "update_threshold": -999.0}
LENGTHS = {"long": 14, "wide": 9, "single": 1, "tall": 6, "pair": 2}
SIZES = {"wide": (96, 240), "tall": (220, 120)}


@pytest.fixture(scope="module")
def loaded(fixtures):
    model = RELO.from_variant("tiny", **GOLDEN)
    return checkpoint.Loaded(model, convert.from_torch(fixtures / "relo_tiny.pth.tar", model), {"tracker": {}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory, natural_image):
    """Sequences of different length and size on the disk: a camera that pans over a picture."""
    root = tmp_path_factory.mktemp("sequences")
    for k, (name, length) in enumerate(LENGTHS.items()):
        height, width = SIZES.get(name, (140, 180))
        (root / name / "img").mkdir(parents=True)
        boxes = []
        for index in range(length):
            x, y = 2 * index + 5 * k, index
            cv2.imwrite(
                str(root / name / "img" / f"{index + 1:04d}.jpg"), natural_image[y : y + height, x : x + width, ::-1]
            )
            boxes.append((60.5 - 2 * index, 40.25 - index, 30 + k, 24))
        (root / name / "groundtruth.txt").write_text("".join(f"{x},{y},{w},{h}\n" for x, y, w, h in boxes))
    return root


@pytest.fixture(scope="module")
def one_by_one(loaded, folder):
    """Boxes of every sequence, tracked alone."""
    engine = Lockstep(loaded.model, loaded.variables, UPDATING, batch=1)
    return {t.sequence.name: t.boxes_xywh for t in engine.run(read_folder(folder))}


@pytest.fixture(scope="module")
def evaluation(loaded, folder, tmp_path_factory):
    """An evaluation and the folder that it left."""
    out = tmp_path_factory.mktemp("results") / "new" / "folder"
    return evaluate(read_folder(folder), loaded, out, batch=3, name="golden"), out


def test_lockstep_is_the_tracker(loaded, folder, one_by_one):
    """On the longest sequence, template updates included."""
    sequence = read_sequence(folder / "long")
    frames = (sequence.read_frame(index) for index in range(len(sequence)))
    tracker = Tracker(loaded.model, loaded.variables, UPDATING)
    boxes = [result.box for _, result in follow(tracker, frames, sequence.boxes_xywh[0])]
    np.testing.assert_allclose(one_by_one["long"], boxes, rtol=0, atol=1e-3)


def test_lockstep_gives_the_boxes_of_the_release(loaded, shared):
    with np.load(shared / "golden" / "tracker_tiny.npz") as golden:
        boxes = {name: golden[f"{name}_update_boxes"] for name in ("vot15_bag", "Crossing")}
        options = {key: golden[key].item() for key in ("update_interval", "update_threshold")}
        options["window_power"] = golden["window_power_update"].item()
    sequences = []
    for name, expected in boxes.items():
        whole = read_sequence(shared / "data" / "otb_mini" / name)
        sequences.append(Sequence(name, whole.boxes_xywh[: len(expected)], whole.visible, whole.read_frame))
    for tracked in Lockstep(loaded.model, loaded.variables, options, batch=3).run(sequences):
        np.testing.assert_allclose(tracked.boxes_xywh, boxes[tracked.sequence.name], rtol=0, atol=0.05)


def test_eight_real_excerpts_at_a_time_are_tracked_as_one_at_a_time(shared):
    """In float32, by the starter: videos of different size and content side by side."""
    starter = checkpoint.load("starter-tiny")
    assert starter.model.config.dtype == "float32"
    excerpts = []
    for whole in read_folder(shared / "data" / "otb_mini"):
        excerpts.append(Sequence(whole.name, whole.boxes_xywh[:15], whole.visible[:15], whole.read_frame))
    assert len(excerpts) == 8
    found = []
    for batch in (1, 8):
        engine = Lockstep(starter.model, starter.variables, starter.config["tracker"], batch)
        found.append({t.sequence.name: t.boxes_xywh for t in engine.run(excerpts)})
    for name, boxes in found[0].items():
        assert boxes.shape == (15, 4)
        np.testing.assert_allclose(found[1][name], boxes, rtol=0, atol=0.05, err_msg=name)


def test_batches_change_nothing_and_compile_nothing(loaded, folder, one_by_one):
    """Three slots for five sequences of different length and size: slots are taken over, and end up empty."""
    engine = Lockstep(loaded.model, loaded.variables, UPDATING, batch=3)
    done = []
    found = {t.sequence.name: t for t in engine.run(read_folder(folder), done.append)}
    compiled = [programs.track_chunk, programs.begin, programs.write_row]
    before = [function._cache_size() for function in compiled]
    variables = jax.tree.map(lambda x: 1.01 * np.asarray(x), loaded.variables)
    list(Lockstep(loaded.model, variables, UPDATING, batch=3).run(read_folder(folder)))
    assert [function._cache_size() for function in compiled] == before
    assert sum(done) == sum(LENGTHS.values())
    assert {name: len(t.boxes_xywh) for name, t in found.items()} == LENGTHS
    for name, tracked in found.items():
        np.testing.assert_allclose(tracked.boxes_xywh, one_by_one[name], rtol=0, atol=1e-3, err_msg=name)
        assert (tracked.seconds > 0).all()
    assert np.ptp(one_by_one["long"][:, 0]) > 1  # the target moves


def test_videos_of_six_sizes_take_no_more_programs_than_buckets(loaded, natural_image):
    """Twenty of them, of lengths of their own, in three slots: each gets the boxes that the tracker gives it."""
    sizes = [(96, 240), (220, 120), (140, 180), (150, 170), (240, 320), (100, 250)]

    def video(k):
        height, width = sizes[k % len(sizes)]
        frames = [np.roll(natural_image, (-t, -k - 2 * t), (0, 1))[:height, :width] for t in range(2 + 5 * k % 7)]
        return Sequence(f"video {k}", np.tile([50.5, 40.25, 30 + k, 24], (len(frames), 1)), None, frames.__getitem__)

    videos = [video(k) for k in range(20)]
    buckets = {bucket_side(height * width) for height, width in sizes}
    before = programs.track_chunk._cache_size()
    start = time.perf_counter()
    engine = Lockstep(loaded.model, loaded.variables, {"window_power": 1.0}, batch=3, chunk=2)
    found = {t.sequence.name: t for t in engine.run(videos)}
    wall = time.perf_counter() - start
    assert 1 <= programs.track_chunk._cache_size() - before <= len(buckets) < 6
    tracker = Tracker(loaded.model, loaded.variables, {"window_power": 1.0})
    for sequence in videos:
        frames = map(sequence.read_frame, range(len(sequence)))
        boxes = [result.box for _, result in follow(tracker, frames, sequence.boxes_xywh[0])]
        tracked = found.pop(sequence.name)
        np.testing.assert_allclose(tracked.boxes_xywh, boxes, rtol=0, atol=1e-3, err_msg=sequence.name)
        assert (tracked.seconds > 0).all()
        wall -= tracked.seconds.sum()
    assert not found and 0 < engine.seconds_compiling < wall  # the frames' seconds and compilation are within the whole


def test_sequences_that_draw_crops_are_asked_only_for_crops(loaded, folder):
    """Procedural sequences draw a crop in a fraction of a frame's time; the first frame gives the size."""
    whole = read_sequence(folder / "long")
    read, crops = [], []

    def read_frame(index):
        read.append(index)
        return whole.read_frame(index)

    def read_crop(*args):
        crops.append(args[0])
        return crop_host(whole.read_frame(args[0]), *args[1:])

    drawn = Sequence("drawn", whole.boxes_xywh, whole.visible, read_frame, read_crop)
    engine = Lockstep(loaded.model, loaded.variables, UPDATING, batch=1)
    (tracked,) = engine.run([drawn])
    (expected,) = engine.run([whole])
    np.testing.assert_allclose(tracked.boxes_xywh, expected.boxes_xywh, rtol=0, atol=1e-3)
    assert (tracked.seconds > 0).all() and read == [0] and sorted(set(crops)) == list(range(len(whole)))


def test_result_files_have_the_usual_form(evaluation, folder):
    found, out = evaluation
    for name, length in LENGTHS.items():
        lines = (out / f"{name}.txt").read_text().splitlines()
        boxes = np.array([[float(v) for v in line.split(",")] for line in lines])
        assert boxes.shape == (length, 4)
        np.testing.assert_allclose(boxes[0], read_sequence(folder / name).boxes_xywh[0], atol=1e-4)
        np.testing.assert_array_equal(boxes, found.boxes[name])
        assert len((out / f"{name}_time.txt").read_text().splitlines()) == length
        scores = np.loadtxt(out / f"{name}_score.txt", ndmin=1)
        assert scores.shape == (length,) and scores[0] == 1 and ((0 <= scores) & (scores <= 1)).all()
    assert list(out.glob(".*")) == []  # nothing unfinished


def test_numbers_are_those_of_the_boxes_in_the_files(evaluation, folder):
    found, out = evaluation
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary["sequences"]) == sorted(LENGTHS) and summary["failed"] == {}
    for sequence in read_folder(folder):
        row = summary["sequences"][sequence.name]
        curves = measure(np.loadtxt(out / f"{sequence.name}.txt", delimiter=",", ndmin=2), sequence.boxes_xywh)
        assert row | curves.numbers() == row
        assert row["never_moves_auc"] == measure(never_moves(sequence), sequence.boxes_xywh).auc
    assert summary["mean"]["auc"] == pytest.approx(np.mean([row["auc"] for row in summary["sequences"].values()]))
    assert summary["mean"]["auc"] == pytest.approx(np.mean(summary["mean"]["success"]))
    assert summary["tracker"] == "golden" and summary["frames_per_second"] > 0
    for name in ("success.png", "precision.png"):
        assert cv2.imread(str(out / name)).std() > 10


def test_the_table_shows_every_sequence_and_the_means(evaluation):
    found, _ = evaluation
    lines = found.table().splitlines()
    assert [line.split()[0] for line in lines[1:6]] == sorted(LENGTHS)
    frames, auc, p20, np20, still = lines[-3].split()[-5:]  # below: as published, and what that is
    assert int(frames) == sum(LENGTHS.values()) and auc == f"{found.mean.auc:.3f}" and p20 == f"{found.mean.p20:.3f}"
    assert np20 == f"{found.mean.np20:.3f}" and still == f"{found.still.mean.auc:.3f}"


def test_lasot_rules_count_hidden_frames_as_failures(evaluation, loaded, folder):
    _, out = evaluation
    sequences = [
        Sequence(s.name, s.boxes_xywh, np.arange(len(s)) < max(1, len(s) // 2), s.read_frame)
        for s in read_folder(folder)
    ]
    still = evaluate(sequences, loaded, out, rules="lasot").still.curves["long"]
    assert still.success[0] <= 0.5 < measure(never_moves(sequences[0]), sequences[0].boxes_xywh).success[0]


@pytest.mark.parametrize(
    ("lengths", "batch", "rows"),
    [
        ([150, 150, 134, 120, 106, 70, 66, 56], 8, 4),  # 852 frames: 8 x 150 rows, but 4 x 226
        ([120] * 20, 8, 8),  # 20 of 24
        ([500, 10, 10], 8, 1),
        ([500, 10, 10], 1, 1),
        ([9, 9], 8, 2),
    ],
)
def test_on_a_cpu_a_batch_has_no_more_rows_than_keep_busy(lengths, batch, rows, monkeypatch):
    assert batch_for([range(n) for n in lengths], batch) == rows
    monkeypatch.setattr(jax, "local_devices", lambda: [SimpleNamespace(platform="gpu")])
    assert batch_for([range(n) for n in lengths], batch) == min(batch, len(lengths))


def test_finished_sequences_are_not_run_again(evaluation, loaded, folder, monkeypatch):
    found, out = evaluation
    monkeypatch.setattr(runner, "Lockstep", None)  # there is nothing to run
    again = evaluate(read_folder(folder), loaded, out)
    for name in LENGTHS:
        np.testing.assert_array_equal(again.boxes[name], found.boxes[name])
    assert again.mean.auc == found.mean.auc and again.frames_per_second == found.frames_per_second
    assert json.loads((out / "summary.json").read_text())["frames_per_second"] == found.frames_per_second


def test_a_result_that_does_not_fit_its_sequence_is_made_again(loaded, folder, tmp_path):
    sequences = [read_sequence(folder / "pair"), read_sequence(folder / "single")]
    before = evaluate(sequences, loaded, tmp_path / "out", batch=1).boxes["pair"]
    for damaged in ("", "1,2,3,4\n5,6,7,8\n", "60.5,40.25,34,24\n", "no numbers\n", "60.5,40.25,34,24\nnan,1,1,1\n",
                    "60.5,40.25,34,24\n1,2,-3,4\n"):  # fmt: skip
        (tmp_path / "out" / "pair.txt").write_text(damaged)
        evaluate(sequences, loaded, tmp_path / "out", batch=1)
        np.testing.assert_array_equal(np.loadtxt(tmp_path / "out" / "pair.txt", delimiter=","), before)


def test_the_card_beside_results_has_what_the_checkpoint_has(loaded, folder, tmp_path):
    """What a paper needs: config, numbers, code and packages of the training, and the same of the evaluation."""
    run, out = tmp_path / "run", tmp_path / "out"
    trained = {"kind": "trained", "data": {"fingerprint": "ab12"}, "sessions": [provenance.session(first_step=0)]}
    checkpoint.save_variables(run, loaded.model, loaded.variables)
    numbers = {"step": 0, "train": {"loss": 0.25}, "held_out": {}}
    (run / "card.json").write_text(json.dumps(trained))
    (run / "metrics.json").write_text(json.dumps(numbers))
    benchmark = benchmarks.Benchmark(None, None, "pair", (read_sequence(folder / "pair"),))
    evaluate(benchmark, str(run), out, batch=1)
    card = json.loads((out / "card.json").read_text())
    assert card["checkpoint"] == {
        "name": "run", "metrics": numbers, **trained, "config": json.loads((run / "config.json").read_text()),
    }  # fmt: skip
    (session,) = card["sessions"]
    assert session["data"] == {"fingerprint": benchmark.fingerprint(), "sequences": 1, "frames": LENGTHS["pair"]}
    assert {"revision", "changed"} <= set(session["code"]) and session["packages"]["jax"] == jax.__version__
    assert json.loads((out / "summary.json").read_text())["benchmark"]["fingerprint"] == benchmark.fingerprint()


def test_results_of_another_tracker_are_refused(evaluation, loaded, folder):
    _, out = evaluation
    files = {path: path.read_bytes() for path in out.iterdir()}
    leaves, tree = jax.tree.flatten(loaded.variables)
    variables = jax.tree.unflatten(tree, [np.asarray(leaves[0]) + 1e-3, *leaves[1:]])
    other = checkpoint.Loaded(loaded.model, variables, loaded.config)
    with pytest.raises(UserError, match=r"folder has results of another tracker \(weights was "):
        evaluate(read_folder(folder), other, out)
    with pytest.raises(UserError, match=r"another tracker \(tracker.window_power was .*, is 0.5\)"):
        evaluate(read_folder(folder), loaded, out, options={"window_power": 0.5})
    half = RELO(dataclasses.replace(loaded.model.config, dtype="bfloat16"))
    with pytest.raises(UserError, match=r"another tracker \(model.dtype was float32, is bfloat16\)"):
        evaluate(read_folder(folder), checkpoint.Loaded(half, loaded.variables, loaded.config), out)
    for content in ("{", "[1]"):
        (out / "run.json").write_text(content)
        with pytest.raises(UserError, match="run.json cannot be read"):
            evaluate(read_folder(folder), loaded, out)
    (out / "run.json").write_bytes(files[out / "run.json"])
    assert {path: path.read_bytes() for path in out.iterdir()} == files
    evaluate(read_folder(folder), loaded, out, options={"found_threshold": 0.9})  # no file depends on it


def test_a_folder_of_something_else_is_left_alone(loaded, folder):
    with pytest.raises(UserError, match="not a folder of results"):
        evaluate([read_sequence(folder / "pair")], loaded, folder / "pair")
    assert sorted(path.name for path in (folder / "pair").iterdir()) == ["groundtruth.txt", "img"]


def broken(sequence, at, error):
    def read_frame(index):
        if index == at:
            raise error
        return sequence.read_frame(index)

    return Sequence(f"broken at {at}", sequence.boxes_xywh, sequence.visible, read_frame)


def test_a_sequence_that_fails_is_counted_and_the_others_finish(evaluation, loaded, folder, tmp_path):
    found, _ = evaluation
    tall = read_sequence(folder / "tall")
    mistakes = [broken(tall, 0, OSError("gone")), broken(tall, 4, UserError("0005.jpg does not decode"))]
    wrong = Sequence("no area", tall.boxes_xywh * [1, 1, 0, 1], tall.visible, tall.read_frame)
    sequences = [*mistakes, wrong, *read_folder(folder)]
    ours = evaluate(sequences, loaded, tmp_path / "out", batch=3)
    assert list(ours.failed) == ["broken at 0", "broken at 4", "no area"]
    assert ours.failed["broken at 0"] == "frame 0: gone"
    assert ours.failed["broken at 4"] == "frame 4: 0005.jpg does not decode"
    assert "has no area" in ours.failed["no area"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["failed"] == ours.failed
    assert all(f"{name}" in ours.table() and reason in ours.table() for name, reason in ours.failed.items())
    for name in LENGTHS:
        np.testing.assert_allclose(ours.boxes[name], found.boxes[name], rtol=0, atol=1e-3)
    assert not (tmp_path / "out" / "broken at 4.txt").exists()


def test_weights_that_are_not_finite_fail_their_sequences(loaded, folder, tmp_path):
    variables = jax.tree.map(lambda x: np.asarray(x) * np.nan, loaded.variables)
    ours = evaluate(
        [read_sequence(folder / "pair"), read_sequence(folder / "single")],
        checkpoint.Loaded(loaded.model, variables, {}), tmp_path / "out", batch=1,
    )  # fmt: skip
    assert list(ours.failed) == ["pair"] and "frame 1: the network's box is not finite" in ours.failed["pair"]
    assert list(ours.curves) == ["single"]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_runner
from relo_jax.data.datasets.folder import read_folder
from relo_jax.eval.results import write
from relo_jax.eval.runner import evaluate

class ResultFolder(write.ResultFolder):
    written = 0
    def write(self, *values):
        super().write(*values)
        self.written += 1
        if self.written == 2:
            os.kill(os.getpid(), signal.SIGKILL)

import relo_jax.eval.runner
relo_jax.eval.runner.ResultFolder = ResultFolder
sequences = [test_runner.logged(s, Path({log!r})) for s in read_folder({folder!r})]
evaluate(sequences, {run!r}, {out!r}, batch=3)
"""


def logged(sequence, log):
    """A sequence that writes down which of its frames were read."""

    def read_frame(index):
        with log.open("a") as file:
            file.write(f"{sequence.name} {index}\n")
        return sequence.read_frame(index)

    return Sequence(sequence.name, sequence.boxes_xywh, sequence.visible, read_frame)


def test_a_killed_evaluation_continues(evaluation, loaded, folder, tmp_path):
    """SIGKILL in the middle: finished sequences are kept and not read again, the others are run."""
    found, _ = evaluation
    run, out, log = tmp_path / "run", tmp_path / "out", tmp_path / "log.txt"
    checkpoint.save_variables(run, loaded.model, loaded.variables)
    code = KILLED.format(tests=str(Path(__file__).parent), log=str(log), folder=str(folder), run=str(run), out=str(out))
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    assert done.returncode == -signal.SIGKILL
    finished = lambda: {name for name in LENGTHS if (out / f"{name}.txt").exists()}
    before = {path: path.stat().st_mtime_ns for name in finished() for path in out.glob(f"{name}*.txt")}
    assert len(finished()) == 2 and not (out / "summary.json").exists()
    done, begun = finished(), {line.split()[0] for line in log.read_text().splitlines()}
    assert begun - done, "a sequence was under way when it was killed"

    log.write_text("")
    sequences = [logged(s, log) for s in read_folder(folder)]
    ours = evaluate(sequences, str(run), out, batch=3)
    reads = [line.split() for line in log.read_text().splitlines()]
    assert sorted((name, int(index)) for name, index in reads) == sorted(
        (name, index) for name, length in LENGTHS.items() if name not in done for index in range(length)
    )
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert ours.failed == {} and list(ours.curves) == sorted(LENGTHS)
    for name in LENGTHS:
        np.testing.assert_allclose(ours.boxes[name], found.boxes[name], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/demo", "demo"),
        ("runs/demo/", "demo"),
        ("runs/demo/checkpoints/500", "demo-500"),
        ("weights/relo_b256.pth.tar", "relo_b256"),
        ("starter", "starter"),
    ],
)
def test_a_checkpoint_has_a_name(path, name):
    assert checkpoint_name(path) == name


def test_a_folder_is_evaluated_by_its_path(evaluation, loaded, folder):
    summary, out = evaluation
    again = evaluate(str(folder), loaded, out)
    assert again.benchmark.name == "folder" and again.boxes.keys() == summary.boxes.keys()
    with pytest.raises(UserError, match=r"there is no folder .*nowhere: give one of sequences"):
        evaluate(folder / "nowhere", loaded, out)


@pytest.mark.parametrize(
    ("names", "arguments", "message"),
    [
        ([], {}, "no sequences"),
        (["a", "a"], {}, "'a' and 'a' both write a_time.txt"),
        (["a", "a_time"], {}, "both write a_time.txt"),
        (["a_score", "a"], {}, "'a_score' and 'a' both write a_score.txt"),
        (["../a"], {}, "is not a file name"),
        (["a"], {"rules": "otb"}, "there are no rules 'otb'"),
        (["a"], {"batch": 0}, "batch is 0"),
        (["a"], {"options": {"window_powr": 1}}, "window_power"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(names, arguments, message, loaded, tmp_path):
    sequences = [Sequence(name, np.ones((2, 4)), np.ones(2, bool), lambda index: None) for name in names]
    with pytest.raises(UserError, match=message):
        evaluate(sequences, loaded, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
