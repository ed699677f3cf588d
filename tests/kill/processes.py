"""Commands in processes of their own, which die at a moment that is told by what they do to their files.

A command runs in a fork of this process, which has imported the libraries already: seconds less for each. An audit hook
sees what Python is about to do to a file (`Operation`); what C++ writes is watched from outside.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tqdm.auto

_OPERATIONS = {
    "os.rename": 1,
    "os.mkdir": 0,
    "os.remove": 0,
    "os.rmdir": 0,
    "os.symlink": 1,
    "os.link": 1,
    "shutil.rmtree": 0,
}
_HAS_FOLDER = {"os.mkdir": 2, "os.remove": 1, "os.rmdir": 1}  # position of the descriptor of an open folder
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DRAWN = (  # parts of names that differ from run to run
    (re.compile(r"\.[\w-]+\.\d+\.[0-9a-f]{8}\.unfinished"), ".unfinished"),
    (re.compile(r"orbax-checkpoint-tmp.*?(?=/|$)"), "orbax-checkpoint-tmp"),
    (re.compile(r"events\.out\.tfevents.*"), "events.out.tfevents"),
)
SECONDS = 900  # that a command may take


@dataclass(frozen=True)
class Operation:
    """What a command is about to do to a file: `rename results/a.txt`, for the `count`-th time."""

    text: str
    count: int = 1

    def __str__(self) -> str:
        return f"before: {self.text}" + (f", time {self.count}" if self.count > 1 else "")


@dataclass(frozen=True)
class Sight:
    """A state of the working directory, seen from outside."""

    text: str
    is_there: Callable[[Path], bool]

    def __str__(self) -> str:
        return self.text


def run(
    argv: list[str],
    folder: Path,
    log: Path,
    prepare: Callable[[], None] | None = None,
    kill_at: Operation | Sight | None = None,
    record: Path | None = None,
) -> int:
    """Runs `relo ARGV` in a folder, to its end or to its death.

    Args:
      argv: arguments of `relo`.
      folder: working directory.
      log: its output is appended to this file.
      prepare: called in the process before the command.
      kill_at: the moment of SIGKILL to its process group.
      record: file to which the operations are written, a line each.

    Returns:
      The exit status; that of a signal is negative.

    Raises:
      TimeoutError: it hangs.
    """
    process = start(argv, folder, log, prepare, kill_at if isinstance(kill_at, Operation) else None, record)
    end = time.monotonic() + SECONDS
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if isinstance(kill_at, Sight) and _sees(kill_at, folder):
            os.killpg(process, signal.SIGKILL)
            kill_at = None
        if time.monotonic() > end:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            raise TimeoutError(f"relo {' '.join(argv)}: still runs after {SECONDS} s")
        time.sleep(0.001 if isinstance(kill_at, Sight) else 0.02)


def start(
    argv: list[str],
    folder: Path,
    log: Path,
    prepare: Callable[[], None] | None = None,
    kill_at: Operation | None = None,
    record: Path | None = None,
) -> int:
    """Starts what `run` runs, in a process group of its own. Returns its number."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        _child(argv, folder, log, prepare, kill_at, record)
    with contextlib.suppress(OSError):  # it did so itself, or has ended
        os.setpgid(process, process)
    return process


def _sees(sight, folder):
    try:
        return sight.is_there(folder)
    except OSError:  # something went away while it was looked at
        return False


def _child(argv, folder, log, prepare, kill_at, record) -> None:
    status = 1
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        output = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        from relo_jax.commands import main

        _take_own_bars()
        if prepare is not None:
            prepare()
        if kill_at is not None or record is not None:
            _hook(str(folder), kill_at, record)
        sys.argv = ["relo", *argv]  # which model cards quote
        status = main.main(argv)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 2
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _take_own_bars() -> None:
    """Gives the process a lock of its own for its bars. The inherited one is shared: a killed process may hold it."""
    lock = threading.RLock()
    for bars in (tqdm.std.tqdm, tqdm.auto.tqdm):
        bars.set_lock(lock)


def call(function: Callable, *args):
    """The value of `function(*args)`, JSON-able, from a process of its own; here, TensorStore would forbid to fork."""
    with tempfile.NamedTemporaryFile() as file:
        process = os.fork()
        if process == 0:
            status = 1
            try:
                Path(file.name).write_text(json.dumps(function(*args)))
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        _, status = os.waitpid(process, 0)
        if status:
            raise RuntimeError(f"{function.__name__} failed")
        return json.loads(Path(file.name).read_text())


def _hook(folder, kill_at, record):
    """Counts the operations in `folder`, dies before one of them, and notes the others."""
    counts: collections.Counter[str] = collections.Counter()
    notes = None if record is None else os.open(record, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)

    def hook(event, args):
        if event == "open":
            path, _, flags = args
            if isinstance(path, int) or not flags & _WRITES:
                return
            event = "os.write"
        elif event in _HAS_FOLDER and args[_HAS_FOLDER[event]] != -1:
            return  # relative to an open folder, as in rmtree, where hardly any name is the same twice
        elif event in _OPERATIONS:
            path = args[_OPERATIONS[event]]
        else:
            return
        name = _name(path, folder)
        if name is None:
            return
        text = f"{event.split('.')[1]} {name}"
        counts[text] += 1
        if kill_at is not None and (text, counts[text]) == (kill_at.text, kill_at.count):
            os.killpg(0, signal.SIGKILL)
        if notes is not None:
            os.write(notes, f"{text}\n".encode())

    sys.addaudithook(hook)


def _name(path, folder):
    """A path relative to `folder`, without what is drawn by chance; None for one outside of it."""
    try:
        path = os.path.abspath(os.path.join(folder, os.fsdecode(path)))
    except TypeError:  # a descriptor
        return None
    if not path.startswith(folder + os.sep):
        return None
    path = path[len(folder) + 1 :]
    for pattern, text in _DRAWN:
        path = pattern.sub(text, path)
    return path


def operations(record: Path) -> list[Operation]:
    """The operations of a recorded run, in order."""
    counts: collections.Counter[str] = collections.Counter()
    found = []
    for text in record.read_text().splitlines():
        counts[text] += 1
        found.append(Operation(text, counts[text]))
    return found
