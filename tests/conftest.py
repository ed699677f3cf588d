"""Shared by all tests: JAX on eight simulated CPU devices, fixtures, borrowed data, a camera; memory of the workers."""

import os
import resource
import time
from pathlib import Path
from types import SimpleNamespace

# Before the first import of JAX, which reads them once.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()
# Compiling is most of the suite's time, and what is compiled here runs for a moment: the compiler need not try hard.
# JAX_DISABLE_MOST_OPTIMIZATIONS=0 tests the programs that users run.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import cv2
import jax
import numpy as np
import pytest

from tests.shapes import check_signatures

check_signatures()

FIXTURES = Path(__file__).parent / "fixtures"
# Golden numbers and public sequences that are not ours to publish: beside the repository, where there are any.
_CANDIDATES = (os.environ.get("RELO_SHARED"), Path(__file__).parents[2] / "shared")
SHARED = next((Path(p) for p in _CANDIDATES if p and Path(p).is_dir()), None)


@pytest.fixture(scope="module", autouse=True)
def forget_compiled_programs():
    """JAX keeps every compiled program; of a whole suite that is gigabytes, and hardly any is used by two modules."""
    yield
    jax.clear_caches()


def pytest_sessionfinish(session):
    """A worker of pytest-xdist tells its peak memory."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["peak_kib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Collects what the workers told."""
    peaks = getattr(node.config, "peaks_kib", [])
    node.config.peaks_kib = [*peaks, getattr(node, "workeroutput", {}).get("peak_kib", 0)]


def pytest_terminal_summary(terminalreporter, config):
    """Says how much memory the workers took."""
    peaks = ", ".join(f"{peak / 2**20:.2f}" for peak in getattr(config, "peaks_kib", ()))
    if peaks:
        terminalreporter.write_line(f"peak memory of the workers: {peaks} GiB")


@pytest.fixture(scope="session")
def fixtures():
    """The folder of golden numbers that are part of the repository."""
    return FIXTURES


@pytest.fixture(scope="session")
def shared():
    """Path of the borrowed data; the test skips without it."""
    if SHARED is None:
        pytest.skip("needs golden numbers and sequences: set RELO_SHARED, or put them in ../shared")
    return SHARED


@pytest.fixture(scope="session")
def natural_image():
    """A picture with the statistics of a photograph, uint8 [240, 320, 3]: 1/f noise, edges of shapes, grain."""
    rng = np.random.default_rng(0)
    height, width = 240, 320
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    spectrum = np.fft.rfft2(rng.normal(size=(3, height, width))) / np.maximum(frequency, 1 / width)
    image = np.moveaxis(np.fft.irfft2(spectrum, s=(height, width)), 0, -1)
    image = 128 + 45 * image / image.std()
    y, x = np.mgrid[:height, :width]
    for _ in range(12):
        cx, cy, a, b = rng.uniform((0, 0, 8, 8), (width, height, 60, 60))
        inside = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1
        image[inside] = 0.4 * image[inside] + 0.6 * rng.uniform(0, 255, 3)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


class Camera:
    """What OpenCV has of a camera; `script` gives a frame, None for one that fails, or seconds that it hangs for."""

    scripts: list = []
    rate = 25.0

    def __init__(self, index):
        self._script = iter(self.scripts.pop(0)) if self.scripts else None

    def isOpened(self):
        return self._script is not None

    def get(self, _):
        return self.rate

    def read(self):
        for step in self._script:
            if isinstance(step, float):
                time.sleep(step)
                continue
            time.sleep(0.02)
            return step is not None, step
        return False, None

    def release(self):
        self._script = iter(())


@pytest.fixture
def camera(monkeypatch):
    """Stands in for every camera: `does` takes a script for each time that it is opened, then it is gone."""

    def does(*scripts, rate=25.0):
        monkeypatch.setattr(Camera, "scripts", list(scripts))
        monkeypatch.setattr(Camera, "rate", rate)

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    return SimpleNamespace(does=does)


@pytest.fixture(scope="session")
def tracked(fixtures):
    """A tracker with the small checkpoint of the golden numbers."""
    from relo_jax.checkpoints.pytorch import convert
    from relo_jax.model import RELO
    from relo_jax.tracking import tracker
    from tests.golden import FIELDS

    model = RELO.from_variant("tiny", **FIELDS)
    variables = convert.from_torch(fixtures / "relo_tiny.pth.tar", model)
    return tracker.Tracker(model, variables, {"window_power": 1.0})


@pytest.fixture(scope="session")
def saved(tracked, tmp_path_factory):
    """`tracked` as a checkpoint on the disk."""
    from relo_jax.checkpoints import load as checkpoint

    path = tmp_path_factory.mktemp("runs") / "golden"
    checkpoint.save_variables(path, tracked.model, tracked._engine.variables, {"window_power": 1.0})
    return path


@pytest.fixture(scope="session")
def frames(natural_image):
    """Twelve frames of a camera that pans over a picture."""
    return [np.roll(natural_image, (2 * t, 5 * t), (0, 1)) for t in range(12)]
