"""The examples: small clips of camera footage that may be passed on, in the installed package."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

import relo_jax
from relo_jax.media import video

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "count", "size"), [("cup", 217, (360, 480)), ("walk", 133, (360, 640))])
def test_an_example_moves_and_its_box_lies_in_it(name, count, size):
    path, (x, y, w, h) = relo_jax.example(name)
    with video.open_frames(path) as source:
        frames = list(source)
    assert len(frames) == count and all(frame.shape == (*size, 3) for frame in frames)
    assert 0 <= x < x + w <= size[1] and 0 <= y < y + h <= size[0]
    assert np.abs(frames[0].astype(int) - frames[60]).mean() > 4


def test_the_examples_are_small_and_have_their_licences_beside_them():
    path, _ = relo_jax.example()
    assert sum(file.stat().st_size for file in path.parent.iterdir()) < 2**20
    assert "Copyright (c) 2022, perfanalytics" in (path.parent / "LICENSE.sports2d").read_text()
    about = (path.parent / "README.md").read_text()
    assert "BSD-3-Clause" in about and "Apache-2.0" in about
    with pytest.raises(relo_jax.UserError, match="there are cup, walk"):
        relo_jax.example("cap")


def test_the_wheel_has_the_examples():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert f"{relo_jax.example()[0].parent.name}/*" in data["relo_jax.tracking"]
