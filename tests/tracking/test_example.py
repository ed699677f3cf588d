"""The example: a small clip of camera footage that may be passed on, in the installed package."""

import tomllib
from pathlib import Path

import numpy as np

import relo_jax
from relo_jax.media import video

ROOT = Path(__file__).parents[2]


def test_the_example_is_small_and_has_its_licence_beside_it():
    path, (x, y, w, h) = relo_jax.example()
    with video.open_frames(path) as source:
        frames = list(source)
    assert len(frames) == 133 and all(frame.shape == (360, 640, 3) for frame in frames)
    assert 0 <= x < x + w <= 640 and 0 <= y < y + h <= 360
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 5  # something moves
    assert sum(file.stat().st_size for file in path.parent.iterdir()) < 2**20
    assert "Copyright (c) 2022, perfanalytics" in (path.parent / "LICENSE").read_text()
    assert "BSD-3-Clause" in (path.parent / "README.md").read_text()


def test_the_wheel_has_the_example():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert f"{relo_jax.example()[0].parent.name}/*" in data["relo_jax.tracking"]
