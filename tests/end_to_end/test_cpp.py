"""The tracker in C++ (examples/cpp/): built as its README says, it gives the boxes of relo_track.py."""

import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from relo_jax.export import relo_track
from tests.export.conftest import exported, model, source, variables

__all__ = ["exported", "model", "source", "variables"]
SOURCES = Path(__file__).parents[2] / "examples" / "cpp"
BOX = (100.0, 80.0, 40.0, 30.0)
# Prints x, y and side of the window around each box x, y, w, h of the input, in double and in float.
WINDOWS = """#include <cstdio>
#include "crop.h"
int main() {
  std::array<double, 4> box;
  while (std::scanf("%lf %lf %lf %lf", &box[0], &box[1], &box[2], &box[3]) == 4) {
    const relo::Box later{float(box[0]), float(box[1]), float(box[2]), float(box[3])};
    for (const auto& [x, y, side] : {relo::crop_window(box, 4.1), relo::crop_window(later, 4.1),
                                     relo::crop_window(box, 4), relo::crop_window(later, 4)})
      std::printf("%d %d %d ", x, y, side);
  }
}
"""


def package(name):
    found = importlib.util.find_spec(name)
    return Path(found.submodule_search_locations[0]) if found is not None else None


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Built once, in a folder that the processes of pytest-xdist share: one of them builds, the others wait for it."""
    openvino, headers = package("openvino"), package("nlohmann_json")
    for needed in ("cmake", "c++"):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    if openvino is None or not (openvino / "cmake").is_dir() or headers is None:
        pytest.skip("needs pip install openvino nlohmann-json, with the headers of OpenVINO")
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    build = root / "cpp"
    with open(root / "cpp.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (build / "relo_track").exists():
            flags = [f"-DOpenVINO_DIR={openvino / 'cmake'}", f"-DCMAKE_INCLUDE_PATH={headers / 'include'}"]
            compiled(["cmake", "-S", SOURCES, "-B", build, *flags])
            compiled(["cmake", "--build", build, "-j2"])
    return build / "relo_track"


def compiled(command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def files(frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ppm")
    paths = [folder / f"{number:04d}.ppm" for number in range(len(frames))]
    for path, frame in zip(paths, frames, strict=True):
        cv2.imwrite(str(path), frame[..., ::-1])
    return paths


def run(program, folder, box, *more):
    return subprocess.run([program, folder, "--box", box, *more], capture_output=True, text=True)


def test_windows_are_those_of_relo_track(program, tmp_path):
    (tmp_path / "windows.cpp").write_text(WINDOWS)
    flags = ["-std=c++17", "-ffp-contract=off", "-I", SOURCES, "-o", tmp_path / "windows"]
    compiled(["c++", *flags, tmp_path / "windows.cpp", program.parent / "librelo.a"])
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(-40, 150, (300, 2)), np.exp(rng.uniform(-1, 5, (300, 2)))], 1)
    boxes[::3] = np.round(2 * boxes[::3]) / 2 + [0, 0, 0.5, 0.5]  # halves are rounded to even
    boxes[0] = (10, 20, 22.5, 4.9)  # where a square root may miss the last bit
    text = "\n".join(" ".join(map(repr, box)) for box in boxes.tolist())
    done = subprocess.run([tmp_path / "windows"], input=text, capture_output=True, text=True, check=True)
    found = np.array(done.stdout.split(), int).reshape(300, 4, 3)
    dtypes, factors = (np.float64, np.float32), (4.1, 4.0)
    windows = [[relo_track.crop_window(b.astype(d), factor) for factor in factors for d in dtypes] for b in boxes]
    np.testing.assert_array_equal(found, windows)
    assert found[0, 2:, 2].tolist() == [42, 42]


def test_it_gives_the_boxes_of_relo_track(program, exported, frames, files):
    """With templates that are replaced, at a border of the frame, and over it."""
    for box in (BOX, (290.0, 200.0, 40.0, 50.0)):
        tracker = relo_track.Tracker(exported, backend="openvino", threads=1)
        tracker.init(frames[0], box)
        results = [tracker.update(frame) for frame in frames[1:]]
        done = run(program, exported, ",".join(map(str, box)), "--threads", "1", *files)
        assert done.returncode == 0, done.stderr
        rows = np.array([[float(value) for value in line.split(",")] for line in done.stdout.splitlines()])
        np.testing.assert_allclose(rows[:, :4], [box, *(one.box for one in results)], rtol=0, atol=0.05)
        np.testing.assert_allclose(rows[1:, 4], [one.score for one in results], rtol=0, atol=1e-3)
        assert rows[1:, 5].tolist() == [one.found for one in results]


@pytest.mark.parametrize(
    ("box", "file", "message"),
    [
        ("400,80,40,30", "0000.ppm", "box x,y,w,h = 400,80,40,30 lies outside the frame of 320 x 240 pixels"),
        ("100,80,0,30", "0000.ppm", "has no area"),
        ("100,80", "0000.ppm", "--box is 100,80: give X,Y,W,H in pixels"),
        ("100,80,40,30junk", "0000.ppm", "--box is 100,80,40,30junk: give X,Y,W,H in pixels"),
        ("100,80,40,30", "none.ppm", "none.ppm is no PPM file"),
    ],
)
def test_a_mistake_is_one_line(program, exported, files, box, file, message):
    done = run(program, exported, box, files[0].parent / file)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1


def test_a_folder_of_something_else_is_one_line(program, files, tmp_path):
    done = run(program, tmp_path, "100,80,40,30", files[0])
    assert done.returncode == 1 and "has no tracker.json: give a folder that relo export wrote" in done.stderr


@pytest.mark.parametrize("threads", ["abc", "0", "2x"])
def test_threads_are_a_whole_number(program, exported, files, threads):
    done = run(program, exported, "100,80,40,30", "--threads", threads, files[0])
    assert done.returncode == 1 and done.stderr.startswith(f"relo_track: --threads is {threads}: give a whole number")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch": None}, "has programs of StableHLO, which JAX runs: export without --format stablehlo"),
        ({"batch": 3}, "is of graphs for several targets: export with --batch 1"),
        ({"templates": 1}, "has update_interval 3, but templates 1, and only the second of 2 is replaced"),
        ({"template_size": 8}, "do not belong together: export again"),
        ({"found_frames": 0}, "has no found_frames from 1: export again"),
    ],
)
def test_a_description_that_does_not_fit_is_one_line(program, exported, files, tmp_path, changed, message):
    folder = shutil.copytree(exported, tmp_path / "edited")
    path = folder / "tracker.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    done = run(program, folder, "100,80,40,30", *files[:5])
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1
