"""The VOT toolkit runs RELO through TraX and through its python protocol; its mistakes are errors of one line."""

import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.errors import UserError
from relo_jax.geometry import boxes
from relo_jax.integrations import vot
from relo_jax.tracking.tracker import Tracker

TRACKERS = """\
[RELO]
label = RELO
protocol = trax
command = {python} -m relo_jax.integrations.vot --checkpoint starter-tiny
timeout = 300

[RELOpython]
label = RELO
protocol = python
command = relo_jax.integrations.vot:VOTTracker
arg_checkpoint = starter-tiny
arg_window_power = 2.0
convert = rectangle
timeout = 300
"""
STACK = """\
title: one experiment
experiments:
  baseline:
    type: unsupervised
    repetitions: 1
    multiobject: True
"""
# A TraX client that gives one object as a polygon and one as a mask, and then a frame that does not exist.
CLIENT = """
import subprocess, sys
import numpy as np
import trax, trax.client

server = [sys.executable, "-m", "relo_jax.integrations.vot"]
process = subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
client = trax.client.Client((process.stdin.fileno(), process.stdout.fileno()), log=lambda line: None)
mask = np.zeros((480, 640), np.uint8)
mask[50:80, 60:100] = 1
given = [trax.Polygon.create([(100, 80), (140, 80), (140, 110), (100, 110)]), trax.Mask.create(mask)]
frame = lambda name: {"color": trax.FileImage.create(name)}
for states, _ in client.initialize(frame("1.png"), [(r, {}) for r in given], {}), client.frame(frame("2.png"), {}, []):
    for region, properties in states:
        print("state", *region.bounds(), properties["confidence"])
print("again", len(client.initialize(frame("1.png"), [(given[0], {})], {})[0]))
try:
    client.frame(frame("3.png"), {}, [])
except trax.TraxException as error:
    print("error", error)
print("status", process.wait(60), process.stderr.read())
"""


@pytest.fixture(scope="module")
def frames(natural_image):
    """A camera that pans over a picture."""
    return [np.roll(natural_image, (2 * t, 5 * t), (0, 1)) for t in range(6)]


@pytest.fixture(scope="module")
def objects():
    return vot.Objects("starter-tiny")


@pytest.fixture
def workspace(toolkits, tmp_path):
    """A workspace made by the toolkit, with RELO in its trackers.ini."""
    toolkits("vot", "initialize", "custom", "--workspace", ".", cwd=tmp_path)
    (tmp_path / "trackers.ini").write_text(TRACKERS.format(python=toolkits.python))
    (tmp_path / "stack.yaml").write_text(STACK)
    return tmp_path


def write_sequence(folder, frames, **truths):
    """Writes a sequence for the toolkit; truths: boxes of each object by name, None where it is absent."""
    (folder / "color").mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        cv2.imwrite(str(folder / "color" / f"{number:08d}.png"), frame[..., ::-1])
    for name, boxes_xywh in truths.items():
        lines = ["0" if box is None else ",".join(map(str, box)) for box in boxes_xywh]
        (folder / f"groundtruth_{name}.txt").write_text("\n".join(lines) + "\n")
    about = {"name": folder.name, "fps": 30, "format": "default", "channels.color": "color/%08d.png"}
    (folder / "sequence").write_text("".join(f"{key}={value}\n" for key, value in about.items()))


def test_vot_test_succeeds_and_the_boxes_follow(toolkits, workspace):
    output = toolkits("vot", "test", "RELO", cwd=workspace)
    assert "Test concluded successfuly" in output and "rror" not in output, output
    states = re.findall(r'@@TRAX:state "([\d.,-]+)" "confidence=([\d.]+)"', output)
    folder = workspace / "vot_dummy_50_640_480_3"
    truths = [np.loadtxt(folder / f"groundtruth_{k:03d}.txt", delimiter=",") for k in range(3)]
    answers = np.array([box.split(",") for box, _ in states], float).reshape(50, 3, 4)
    assert np.mean([boxes.iou_xywh(answers[:, k], truths[k]).mean() for k in range(3)]) > 0.7
    assert all(0 <= float(score) <= 1 for _, score in states)


def test_an_experiment_with_an_object_that_appears_later(toolkits, workspace, frames):
    moving = [(100 + 5 * t, 80 + 2 * t, 40, 30) for t in range(6)]
    later = [None, None, *[(200 + 5 * t, 60 + 2 * t, 40, 30) for t in range(2, 6)]]
    write_sequence(workspace / "sequences" / "pan", frames, first=moving, later=later)
    (workspace / "sequences" / "list.txt").write_text("pan\n")
    output = toolkits("vot", "evaluate", "RELOpython", "--workspace", ".", cwd=workspace)
    assert "Evaluation concluded successfuly" in output
    results = workspace / "results" / "RELOpython" / "baseline" / "pan"
    assert len((results / "pan_first_001_confidence.value").read_text().split()) == 6
    assert len((results / "pan_later_001_confidence.value").read_text().split()) == 4
    assert len((results / "pan_later_001_time.value").read_text().splitlines()) == 6


def test_the_protocol_takes_polygons_and_masks_and_reports_errors(toolkits, tmp_path, frames):
    for name, frame in zip(("1.png", "2.png"), frames, strict=False):
        cv2.imwrite(str(tmp_path / name), frame[..., ::-1])
    (tmp_path / "client.py").write_text(CLIENT)
    output = toolkits("python", "client.py", cwd=tmp_path)
    states = [[float(v) for v in line.split()[1:]] for line in output.splitlines() if line.startswith("state")]
    assert states[:2] == [[100, 80, 40, 30, 1], [60, 50, 40, 30, 1]] and len(states) == 4, output
    assert "again 1\n" in output  # another sequence in the same process
    assert "error Server terminated the session: 3.png: no such image" in output
    assert "status 1 relo: " in output and "3.png" in output and "Traceback" not in output


def test_objects_equal_a_tracker_for_each(objects, frames):
    given = {0: (100.0, 80.0, 40.0, 30.0), 2: (200.0, 60.0, 50.0, 30.0)}  # by first frame
    objects.begin()
    states = [objects.step(frame, [given[t]] if t in given else []) for t, frame in enumerate(frames)]
    assert [len(row) for row in states] == [1, 1, 2, 2, 2, 2]
    alone = Tracker.from_pretrained("starter-tiny")
    for index, (start, box) in enumerate(given.items()):
        assert states[start][index] == (box, 1.0)
        alone.init(frames[start], box)
        for t in range(start + 1, len(frames)):
            result = alone.update(frames[t])
            assert states[t][index] == (result.box, result.score)
    objects.begin()
    assert objects.step(frames[0], [given[0]]) == [(given[0], 1.0)]


def test_the_python_protocol_takes_the_toolkits_regions(objects, frames):
    tracker = object.__new__(vot.VOTTracker)
    tracker._objects = objects
    channels = {"color": frames[0], "depth": np.zeros(frames[0].shape[:2])}
    points = [(100.0, 110.0), (120.0, 80.0), (140.0, 110.0)]
    ((box, properties),) = tracker.init(channels, [(points, {})])
    assert box == (100.0, 80.0, 40.0, 30.0) and properties == {"confidence": 1.0}
    ((box, properties),) = tracker.update({"color": frames[1]}, [])
    assert len(box) == 4 and 0 <= properties["confidence"] <= 1
    with pytest.raises(UserError, match="convert = rectangle"):
        tracker.init(channels, [(np.zeros((240, 320), np.uint8), {})])


def test_the_dtype_reaches_the_checkpoint_through_both_protocols(monkeypatch, capsys):
    def load_tracker(path, dtype=None):
        raise UserError(f"loaded in {dtype}")

    monkeypatch.setattr(checkpoint, "load_tracker", load_tracker)
    monkeypatch.setitem(sys.modules, "trax", object())
    for arguments, dtype in ((["--dtype", "bfloat16"], "bfloat16"), ([], None)):
        assert vot.main(arguments) == 1
        assert capsys.readouterr().err == f"relo: loaded in {dtype}\n"
    with pytest.raises(UserError, match="loaded in bfloat16"):
        vot.VOTTracker(dtype="bfloat16")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "runs/demo"], "runs/demo: no such checkpoint in .*: give its whole path"),
        (["--size", "640"], "size '640' is not WIDTHxHEIGHT"),
        (["--option", "window_power"], "option 'window_power' is not NAME=VALUE"),
        (["--option", "windw_power=2.0"], "no option 'windw_power'.*window_power"),
    ],
)
def test_a_mistake_in_trackers_ini_is_one_line(arguments, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "trax", object())
    assert vot.main(arguments) == 1
    err = capsys.readouterr().err
    assert re.match(f"relo: .*{message}", err) and err.count("\n") == 1


def test_without_the_toolkit_it_says_what_to_install():
    code = "import sys; sys.modules['trax'] = None; from relo_jax.integrations import vot; sys.exit(vot.main([]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'relo-jax[vot]'" in done.stderr and done.stderr.count("\n") == 1
