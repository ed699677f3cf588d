"""The tracker in C++ (examples/cpp/): built as its README says, it gives the boxes of relo_track.py."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from relo_jax.export import relo_track
from tests.export.conftest import exported, model, source, variables

__all__ = ["exported", "model", "source", "variables"]
SOURCES = Path(__file__).parents[2] / "examples" / "cpp"
BOX = (100.0, 80.0, 40.0, 30.0)


def package(name):
    found = importlib.util.find_spec(name)
    return Path(found.submodule_search_locations[0]) if found is not None else None


@pytest.fixture(scope="module")
def program():
    """Built once for each version of the sources, in the folder for temporary files."""
    openvino, json = package("openvino"), package("nlohmann_json")
    for needed in ("cmake", "c++"):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    if openvino is None or not (openvino / "cmake").is_dir() or json is None:
        pytest.skip("needs pip install openvino nlohmann-json, with the headers of OpenVINO")
    digest = hashlib.sha256(str(openvino).encode())
    for file in sorted(SOURCES.iterdir()):
        digest.update(file.read_bytes())
    build = Path(tempfile.gettempdir()) / f"relo_jax-cpp-{os.getuid()}-{digest.hexdigest()[:16]}"
    if not (build / "done").exists():
        flags = [f"-DOpenVINO_DIR={openvino / 'cmake'}", f"-DCMAKE_INCLUDE_PATH={json / 'include'}"]
        for command in (["cmake", "-S", SOURCES, "-B", build, *flags], ["cmake", "--build", build, "-j2"]):
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        (build / "done").touch()
    return build / "relo_track"


@pytest.fixture(scope="module")
def files(frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ppm")
    paths = [folder / f"{number:04d}.ppm" for number in range(len(frames))]
    for path, frame in zip(paths, frames, strict=True):
        cv2.imwrite(str(path), frame[..., ::-1])
    return paths


def run(program, folder, box, *more):
    return subprocess.run([program, folder, "--box", box, *more], capture_output=True, text=True)


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
        ("100,80", "0000.ppm", "usage: relo_track FOLDER --box X,Y,W,H"),
        ("100,80,40,30", "none.ppm", "none.ppm is no PPM file"),
    ],
)
def test_a_mistake_is_one_line(program, exported, files, box, file, message):
    done = run(program, exported, box, files[0].parent / file)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1


def test_a_folder_of_something_else_is_one_line(program, files, tmp_path):
    done = run(program, tmp_path, "100,80,40,30", files[0])
    assert done.returncode == 1 and "has no tracker.json: give a folder that relo export wrote" in done.stderr
