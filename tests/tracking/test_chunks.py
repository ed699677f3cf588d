"""Chunks of large frames: how much of them is in memory at a time."""

import subprocess
import sys

import numpy as np
import pytest

from relo_jax.checkpoints import load
from relo_jax.media import video
from relo_jax.tracking import chunks

CODE = """
import resource, sys
from relo_jax.commands.main import main

def peak(film, box):
    argv = ["track", film, "--box", box, "--checkpoint", sys.argv[1], "--no-show", "--chunk", "16"]
    assert not main([*argv, "--save", "out.mp4"])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = peak("small.mp4", "20,20,20,20")
print(peak("large.mp4", "500,500,300,300") - before)
"""


def test_a_chunk_of_large_frames_takes_the_memory_of_two(model, variables, tmp_path):
    load.save_variables(tmp_path / "run", model, variables, {"window_power": 1.0})
    height, width, count = 2160, 3840, 20
    frame = np.zeros((height, width, 3), np.uint8)
    for name, side in (("small.mp4", 96), ("large.mp4", None)):
        with video.write_video(tmp_path / name, 25) as write:
            for k in range(count):
                frame[500:800, 500 + 4 * k : 800 + 4 * k] = 50 + 4 * k
                write(frame[:side, :side])
    command = [sys.executable, "-c", CODE, "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) < 2 * 16 * frame.nbytes


@pytest.mark.parametrize("shape, length", [((360, 640, 3), 16), ((2160, 3840, 3), 2), ((8640, 15360, 3), 1)])
def test_a_chunk_has_fewer_frames_where_they_are_large(shape, length):
    assert chunks.length_for(16, shape) == length
