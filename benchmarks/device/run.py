"""Runs stages as processes, one after the other, within a budget of seconds."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from benchmarks.device import plan
from benchmarks.device.plan import Stage

Row = dict[str, Any]
_TO_END = 3.0  # seconds that are left for killing a stage and for writing
_ABOUT = ("benchmark", "machine", "versions", "commit", "command", "date")  # in the file, not on the screen
_ROOT = Path(__file__).parents[2]


def is_measured(row: Row) -> bool:
    """Whether a row has figures; the others say what failed, ended late or was skipped."""
    return not {"failed", "skipped"} & row.keys()


def run(
    stages: Sequence[Stage],
    budget: float,
    out: Path,
    command: str,
    results: Path | None = None,
    process: Callable[[Stage], list[str]] | None = None,
) -> list[Row]:
    """Runs the stages; returns their rows, which are also printed and written.

    Args:
      stages: in order. One that no longer fits is skipped, and later ones may still fit.
      budget: seconds for all of them.
      out: folder for rows.jsonl and log.txt.
      command: what the user called, for the rows.
      results: file that gets the rows with figures too.
      process: the command of a stage without its last argument, the options as JSON; None: `measure`.
    """
    end = time.monotonic() + budget
    out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []

    def keep(row: Row) -> None:
        rows.append(row)
        line = json.dumps(row) + "\n"
        for path in (out / "rows.jsonl", results if is_measured(row) else None):
            if path is not None:
                with path.open("a") as file:
                    file.write(line)
        print(json.dumps({name: value for name, value in row.items() if name not in _ABOUT}), flush=True)

    with tempfile.TemporaryDirectory(prefix="compiled-") as cache, (out / "log.txt").open("a") as log:
        for stage in stages:
            left = end - time.monotonic() - _TO_END
            if left < stage.least:
                needs = f"needs at least {stage.least:g} s, and {max(left, 0):.0f} s of {budget:g} are left"
                keep({"stage": stage.name, "skipped": needs})
                continue
            options = {**stage.options, **plan.known(rows), "command": command, "stage": stage.name}
            environment = _environment(cache) | stage.environment
            if stage.takes_winners:
                settings, flags = plan.winners(rows)
                options |= settings
                environment["XLA_FLAGS"] = _with_flags(os.environ.get("XLA_FLAGS", ""), flags)
            argv = [*(process or _measure)(stage), json.dumps(options)]
            log.write(f"\n== {stage.name}\n")
            log.flush()
            for row in _rows_of(argv, environment, min(stage.seconds, left), log, out / "log.txt"):
                keep({"stage": stage.name, **row})
    return rows


def _measure(stage: Stage) -> list[str]:
    return [sys.executable, "-m", "benchmarks.device.measure", stage.measures]


def _environment(cache: str) -> dict[str, str]:
    """Of a stage: what one stage has compiled, the next ones read from disk."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return {
        **os.environ,
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    }


def _with_flags(given: str, flags: dict[str, Any]) -> str:
    text = lambda value: str(value).lower() if isinstance(value, bool) else str(value)
    return " ".join(filter(None, [given, *(f"--{name}={text(value)}" for name, value in flags.items())]))


def _rows_of(
    argv: list[str], environment: dict[str, str], seconds: float, log: IO[str], log_path: Path
) -> Iterator[Row]:
    """The rows of a process as it prints them; one with "failed" if it does not end well within the seconds."""
    start, before = time.monotonic(), log_path.stat().st_size
    process = subprocess.Popen(
        argv, env=environment, cwd=_ROOT, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
    )
    late = threading.Event()

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, lambda: (late.set(), kill()))
    timer.start()
    remarks = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            row = _parsed(line)
            if row is None:
                remarks.append(line)
            else:
                yield row
        status = process.wait()
    finally:
        timer.cancel()
        kill()
        process.wait()
        said = log_path.read_bytes()[before:].decode(errors="replace").strip().splitlines()
        log.writelines(remarks)
        log.flush()
    taken = round(time.monotonic() - start, 1)
    if late.is_set():
        yield {"failed": f"did not end within {seconds:.0f} s", "seconds": taken}
    elif status:
        reason = said[-1].strip() if said else "it printed nothing"
        yield {"failed": f"status {status}: {reason[:300]}", "seconds": taken}


def _parsed(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None
