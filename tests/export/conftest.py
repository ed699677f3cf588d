"""The network of the golden numbers as ONNX graphs: calibrated, and with a second template every third frame."""

import shutil

import jax
import pytest

from relo_jax.checkpoints.load import Loaded
from relo_jax.tracking.options import checked_options
from relo_jax.tracking.tracker import Tracker
from tests.export.weights import CALIBRATION, write_unchecked
from tests.golden import model, variables

__all__ = ["model", "variables"]
OPTIONS = {"window_power": 1.0, "update_interval": 3, "update_threshold": -1e9, "found_threshold": 0.5, **CALIBRATION}


@pytest.fixture(scope="session")
def source(model, variables):
    from relo_jax.export.source import Source

    loaded = Loaded(model, jax.device_get(variables), {"tracker": OPTIONS})
    return Source({"name": "golden", "sha256": "0"}, loaded, checked_options(OPTIONS, model), None)


def write(source, folder, batch):
    """A folder as `relo export` makes it."""
    pytest.importorskip("onnx", reason="the extra `export` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    from relo_jax.export.write import DRIVER

    write_unchecked(source, folder, batch)
    shutil.copy(DRIVER, folder)
    return folder


@pytest.fixture(scope="session")
def exported(source, tmp_path_factory):
    """A folder of `relo export`."""
    return write(source, tmp_path_factory.mktemp("golden"), 1)


@pytest.fixture(scope="session")
def of_three(source, tmp_path_factory):
    """The same for three targets at a time."""
    return write(source, tmp_path_factory.mktemp("three"), 3)


@pytest.fixture(scope="session")
def ours(model, variables):
    """relo_jax's tracker with the same options."""
    return Tracker(model, variables, OPTIONS)
