"""Processes that the rehearsal starts: killed when it says so, and a failure has a reason."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relo_jax.study.rehearsal import processes

ROOT = str(Path(__file__).parents[3])


def test_a_command_that_fails_gives_its_line(tmp_path):
    with pytest.raises(processes.StepFailed, match="^relo train: --config is missing"):
        processes.relo(["train"], tmp_path, tmp_path / "log")


def test_a_command_that_ends_before_it_is_killed_is_a_failure(tmp_path):
    with pytest.raises(processes.StepFailed, match="ended before it could be killed"):
        processes.kill_when(lambda: False, ["--version"], tmp_path, tmp_path / "log")
    with pytest.raises(processes.StepFailed, match="--config is missing"):
        processes.kill_when(lambda: False, ["train"], tmp_path, tmp_path / "log")


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_command_ends_with_the_rehearsal(tmp_path, number, status):
    """A command that sleeps, in a process that is stopped."""
    code = f"""
import signal, sys
from relo_jax.study.rehearsal import processes
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts without it
with processes.ended_together(), open("log", "w") as output:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    processes.start([], {str(tmp_path)!r}, output, code).wait()
"""
    rehearsal = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": ROOT})
    log = tmp_path / "log"
    while not (log.exists() and log.read_text().endswith("\n")):
        assert rehearsal.poll() is None
        time.sleep(0.02)
    rehearsal.send_signal(number)
    assert rehearsal.wait() == status
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)


def test_a_reason_is_the_commands_own_line_or_its_last_or_its_signal(tmp_path):
    log = tmp_path / "log"
    log.write_text("relo: no room\nException ignored\n")
    assert processes.reason(log, 1) == "no room"
    log.write_text("Traceback\nValueError: 3\n\n")
    assert processes.reason(log, 1) == "ValueError: 3"
    assert processes.reason(log, -signal.SIGKILL).startswith("signal SIGKILL ended it (out of memory?)")
    log.write_text("")
    assert processes.reason(log, 2) == "exit status 2"
