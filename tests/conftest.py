"""Shared by all tests: JAX on eight simulated CPU devices, fixtures, borrowed data, a camera; memory of the workers."""

import ctypes
import gc
import os
import resource
import signal
import time
from pathlib import Path
from types import SimpleNamespace

from tests import compiler

# Before the first import of JAX, which reads them once.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {compiler.FLAGS} {compiler.EIGHT_DEVICES}".strip()
# Workers and other processes inherit this: with an arena for each thread, glibc holds half a gigabyte more.
os.environ.setdefault("MALLOC_ARENA_MAX", "2")

import cv2
import jax
import numpy as np
import pytest

from tests.shapes import check_signatures

check_signatures()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background job, and inherited by all processes
    signal.signal(signal.SIGINT, signal.default_int_handler)
LIBC = ctypes.CDLL(None)
FIXTURES = Path(__file__).parent / "fixtures"
# Golden numbers and public sequences that the project may not publish: beside the repository, if they are there.
_CANDIDATES = (os.environ.get("RELO_SHARED"), Path(__file__).parents[2] / "shared")
SHARED = next((Path(p) for p in _CANDIDATES if p and Path(p).is_dir()), None)


def pytest_collection_finish():
    """What has been imported stays: the garbage collector need not look through it after each module."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def forget_compiled_programs():
    """JAX keeps every compiled program: gigabytes for the whole suite, and two modules hardly ever share one."""
    yield
    jax.clear_caches()
    gc.collect()
    if hasattr(LIBC, "malloc_trim"):  # glibc keeps freed memory for itself
        LIBC.malloc_trim(0)


def pytest_sessionfinish(session):
    """A worker of pytest-xdist reports its peak memory."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["peak_kib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Collects the peak memory of the workers, and how those ended that crashed."""
    peaks = getattr(node.config, "peaks_kib", [])
    node.config.peaks_kib = [*peaks, getattr(node, "workeroutput", {}).get("peak_kib", 0)]
    if error:
        crashed = getattr(node.config, "crashed", [])
        node.config.crashed = [*crashed, f"{node.gateway.id}: {node.gateway._io.popen.wait(10)}"]


def pytest_terminal_summary(terminalreporter, config):
    """Prints the peak memory of the workers."""
    peaks = ", ".join(f"{peak / 2**20:.2f}" for peak in getattr(config, "peaks_kib", ()))
    if peaks:
        terminalreporter.write_line(f"peak memory of the workers: {peaks} GiB")
    if crashed := getattr(config, "crashed", ()):
        terminalreporter.write_line(f"exit status of workers that crashed (negative: the signal): {', '.join(crashed)}")


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
    """A picture with the statistics of a photograph, uint8 [240, 320, 3]: 1/f noise, edges of shapes, sensor noise."""
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
    """Replaces `cv2.VideoCapture`. An entry of a script is a frame, None for a failed one, or seconds without one."""

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
    """Replaces every camera: `does` takes one script for each time that it is opened; after the last it is gone."""

    def does(*scripts, rate=25.0):
        monkeypatch.setattr(Camera, "scripts", list(scripts))
        monkeypatch.setattr(Camera, "rate", rate)

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    return SimpleNamespace(does=does)


@pytest.fixture(scope="session")
def small_checkpoint(fixtures):
    """Model and variables of the small checkpoint of the golden numbers."""
    from relo_jax.checkpoints.pytorch import convert
    from relo_jax.model import RELO
    from tests.golden import FIELDS

    model = RELO.from_variant("tiny", **FIELDS)
    return model, convert.from_torch(fixtures / "relo_tiny.pth.tar", model)


@pytest.fixture(scope="session")
def tracked(small_checkpoint):
    """A tracker with the small checkpoint of the golden numbers."""
    from relo_jax.tracking import tracker

    return tracker.Tracker(*small_checkpoint, {"window_power": 1.0})


@pytest.fixture(scope="session")
def saved(small_checkpoint, tmp_path_factory):
    """A run directory with the weights of `tracked`."""
    from relo_jax.checkpoints import load as checkpoint

    path = tmp_path_factory.mktemp("runs") / "golden"
    checkpoint.save_variables(path, *small_checkpoint, {"window_power": 1.0})
    return path


@pytest.fixture(scope="session")
def frames(natural_image):
    """Twelve frames of a camera that pans over a picture."""
    return [np.roll(natural_image, (2 * t, 5 * t), (0, 1)) for t in range(12)]
