"""A checkpoint of the golden network for the tests of this folder: its model, variables and run directory."""

import shutil

import pytest

from relo_jax.checkpoints import load as checkpoint
from tests.golden import model, variables

__all__ = ["model", "variables"]


@pytest.fixture(scope="module")
def saved(model, variables, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "golden"
    checkpoint.save_variables(path, model, variables, {"window_power": 1.5})
    return path


@pytest.fixture
def run(saved, tmp_path):
    """A copy of the saved run that a test may damage."""
    return shutil.copytree(saved, tmp_path / "run")
