"""A test file against a module whose source is another one, in a process of its own; no file is changed.

The process is a fork of this one, which has imported the libraries and what does not depend on the module: seconds less
for each. It ends at the first test that fails, and the tests that noticed the last mutants come first. Hypothesis draws
the same examples each time and does not shrink what fails, and tests that need the borrowed data are left out, so that
everybody gets the same answers.
"""

from __future__ import annotations

import gc
import importlib
import importlib.machinery
import os
import re
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grimp

from tests import compiler, shapes

# Imported before the first fork. None of them starts a thread.
_LIBRARIES = ("pytest", "hypothesis.strategies", "jax", "flax.linen", "optax", "cv2", "beartype", "grain",
              "orbax.checkpoint", "tensorstore", "ml_collections", "scipy.stats")  # fmt: skip
_BYTES = 64 << 30  # of addresses, of which JAX reserves many
_WALL = 30  # times its processor time may pass until a trial counts as one that waits forever


@dataclass(frozen=True)
class Trial:
    """A module's name and source, and the test file to run."""

    module: str
    source: str
    tests: Path
    seconds: float  # of processor time, after which the trial counts as one that never ends


@dataclass(frozen=True)
class Outcome:
    """`passed`, `failed`, `too slow`, `died` or `unused` (the tests never imported the module)."""

    result: str
    test: str | None  # that failed; None also if the file could not be imported
    seconds: float  # of processor time


def prepared(module: str, scratch: Path) -> None:
    """Imports what trials of a module share, as tests/conftest.py would, and keeps their compiled programs."""
    os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{compiler.FLAGS} {compiler.EIGHT_DEVICES}"}
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": str(scratch / "compiled")}
    os.environ |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for library in _LIBRARIES:
        importlib.import_module(library)
    graph = grimp.build_graph("relo_jax", cache_dir=None)
    importers = {module, *graph.find_downstream_modules(module)}
    shapes.check_signatures([name for name in shapes.MODULES if importers.isdisjoint(_imported_by(name, graph))])
    gc.collect()
    gc.freeze()  # the forks' collectors need not look through what is there


def _imported_by(name: str, graph: grimp.ImportGraph) -> set[str]:
    """What is imported with a module, itself and the packages around each included."""
    found: set[str] = set()
    new = {name}
    while new:
        found |= new
        packages = {module[: dot.start()] for module in new for dot in re.finditer(r"\.", module)}
        new = packages.union(*map(graph.find_modules_directly_imported_by, new)) - found
    return found


def outcomes(trials: Iterable[Trial], scratch: Path, jobs: int = 1) -> Iterator[tuple[Trial, Outcome]]:
    """Runs trials of one test file, `jobs` at a time. They come back in the order in which they end."""
    running: dict[int, tuple[Trial, float]] = {}
    waiting, first = iter(trials), []
    while True:
        while len(running) < jobs and (trial := next(waiting, None)) is not None:
            running[_start(trial, first, scratch)] = trial, time.monotonic()
        if not running:
            return
        process, status, usage = os.wait4(-1, os.WNOHANG)
        if process in running:
            trial, _ = running.pop(process)
            test = _failed(scratch / f"{process}.failed")
            if test is not None:
                first = [test, *(other for other in first if other != test)]
            shutil.rmtree(scratch / str(process), ignore_errors=True)
            yield trial, Outcome(_meaning(status), test, usage.ru_utime + usage.ru_stime)
            continue
        for process, (trial, began) in running.items():
            if time.monotonic() - began > _WALL * trial.seconds:
                os.killpg(process, signal.SIGXCPU)
        time.sleep(0.01)


def _failed(file):
    if not file.exists():
        return None
    test = file.read_text()
    file.unlink()
    return test


def _meaning(status: int) -> str:
    if os.WIFSIGNALED(status):
        return "too slow" if os.WTERMSIG(status) == signal.SIGXCPU else "died"
    return {0: "passed", 5: "unused"}.get(os.waitstatus_to_exitcode(status), "failed")


def _start(trial, first, scratch):
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (int(trial.seconds) + 1, int(trial.seconds) + 5))
        resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        status = _tested(trial, first, scratch / str(os.getpid()))
    finally:
        os._exit(status)


def _tested(trial, first, folder) -> int:
    import hypothesis
    import pytest

    hypothesis.settings.register_profile(
        "mutants", derandomize=True, database=None, phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate)
    )
    hypothesis.settings.load_profile("mutants")
    finder = _Finder(trial.module, trial.source)
    sys.meta_path.insert(0, finder)
    options = ["--tb=no", "-p", "no:cacheprovider", f"--basetemp={folder}"]
    status = pytest.main([*options, str(trial.tests)], plugins=[_Plugin(first, folder.with_suffix(".failed"))])
    return int(status) if finder.was_used or status else 5


class _Finder:
    """Finds one module, and gives it another source."""

    def __init__(self, name: str, source: str):
        self.name, self.source, self.was_used = name, source, False

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self.name:
            return None
        self.was_used = True
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        spec.loader.get_code = lambda _: compile(self.source, spec.origin, "exec", dont_inherit=True)
        return spec


class _Plugin:
    """Runs the tests named in `first` before the others; ends the process when one has failed, and writes its name."""

    def __init__(self, first: list[str], failed: Path):
        self.first, self.failed = first, failed

    def pytest_collection_modifyitems(self, items):
        place = lambda item: self.first.index(item.nodeid) if item.nodeid in self.first else len(self.first)
        items[:] = sorted((item for item in items if "shared" not in item.fixturenames), key=place)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.write_text(report.nodeid)
            os._exit(1)
