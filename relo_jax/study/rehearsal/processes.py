"""Commands of the rehearsal: each runs as a process of its own, as a user runs it, with its output in a log.

The rehearsal itself computes on the CPU, so that the processes have the accelerators to themselves.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax

import relo_jax
from relo_jax.errors import UserError

_POLL_SECONDS = 0.01


class StepFailed(UserError):
    """A step of the rehearsal went wrong, for the reason that the message gives."""


def leave_accelerators() -> None:
    """Makes this process compute on the CPU. Call it before anything is computed."""
    jax.config.update("jax_platforms", "cpu")


@contextlib.contextmanager
def ended_together() -> Iterator[None]:
    """While it lasts, SIGTERM ends the running command with this process, as Ctrl-C does."""

    def stop(*_: object) -> None:
        print("\nrelo: stopped by SIGTERM", file=sys.stderr, flush=True)
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def shown(argv: Sequence[object]) -> str:
    """A command as the user would type it."""
    return shlex.join(["relo", *map(str, argv)])


def relo(argv: Sequence[object], folder: Path, log: Path) -> str:
    """Runs `relo ARGV` to its end.

    Args:
      argv: arguments; paths are absolute, since the command runs in `folder`.
      folder: working directory of the command, for what it writes by default.
      log: file for its output.

    Returns:
      Its output.

    Raises:
      StepFailed: it failed, for the reason of its last line.
    """
    with open(log, "a") as output:
        status = start(argv, folder, output).wait()
    if status:
        raise StepFailed(reason(log, status))
    return log.read_text(errors="replace")


def kill_when(condition: Callable[[], bool], argv: Sequence[object], folder: Path, log: Path) -> None:
    """Starts `relo ARGV` and kills it (SIGKILL) as soon as the condition holds.

    Raises:
      StepFailed: it ended before.
    """
    with open(log, "a") as output:
        process = start(argv, folder, output)
        try:
            while not condition():
                if (status := process.poll()) is not None:
                    if status:
                        raise StepFailed(reason(log, status))
                    raise StepFailed("it ended before it could be killed: give more --steps")
                time.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class _Process(subprocess.Popen):
    """A process whose `wait` ends it if it is interrupted."""

    def wait(self, timeout: float | None = None) -> int:
        try:
            return super().wait(timeout)
        except BaseException:
            if self.poll() is None:
                os.killpg(self.pid, signal.SIGKILL)
                super().wait()
            raise


def start(argv: Sequence[object], folder: Path, output: object, code: str | None = None) -> _Process:
    """Starts `relo ARGV`, or Python code, in a process group of its own."""
    package = str(Path(relo_jax.__file__).parents[1])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    what = ["-c", code] if code else ["-m", "relo_jax.commands.main", *map(str, argv)]
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    return _Process(
        [sys.executable, *what], cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=environment,
        start_new_session=True,
    )  # type: ignore[call-overload]  # fmt: skip


def peak_gib() -> float:
    """Memory of the largest process that has ended so far."""
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit


def reason(log: Path, status: int) -> str:
    """Why a command failed: its own line, or else its last one."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    own = [line.removeprefix("relo: ") for line in lines if line.startswith("relo: ")]
    if status < 0:
        last = f": {lines[-1]}" if lines else ""
        return f"signal {signal.Signals(-status).name} ended it (out of memory?){last}"
    return (own or lines or [f"exit status {status}"])[-1]
