"""Takes hosts from a run of several processes: `python -m tests.kill.hosts`, or `--only "2 processes"`.

The processes train together over loopback; as root, also in network namespaces with a cable between them. At a moment
that matters, one of them is killed, stopped, cut off, or can write no more. Each of the others must end within a time,
with exit status 75 (1 for a full disk) and one line that names who is missing; and the same run, started again, must
leave what an undisturbed run leaves. Prints a table, writes it as hosts.json, and ends with status 1 otherwise.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from relo_jax.bars import tqdm
from relo_jax.tables import markdown, terminal
from tests.kill import compare, processes
from tests.kill.network import Network, can_make_namespaces
from tests.kill.run import prepared
from tests.ports import free_port
from tests.train.runs import FIELDS

HEADS = ["processes", "lost", "how", "when", "the others ended after", "continued equal"]
STEPS, SAVES = 6, 2
_BETWEEN, _SAVED = 3, 4  # the steps after which something happens
_SECONDS = {"killed": 30, "stopped": 75, "cable pulled": 40, "disk full": 30}
Act = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """A process of a run is lost."""

    count: int
    lost: int
    how: str
    when: str
    in_namespaces: bool = False

    def __str__(self) -> str:
        where = ", in namespaces" if self.in_namespaces else ""
        return f"{self.count} processes{where}, {self.lost} {self.how} {self.when}"


CASES = [
    *(Case(2, lost, "killed", when) for when in (
        "before it has joined", "between two steps", "while the other waits for it", "in a collective",
        "when a checkpoint is begun", "at the end",
    ) for lost in (0, 1)),
    Case(2, 1, "killed", "while it compiles"),
    Case(2, 1, "killed", "when half of a checkpoint is written"),
    Case(2, 0, "killed", "before a checkpoint gets its name"),
    *(Case(2, lost, "stopped", "between two steps") for lost in (0, 1)),
    *(Case(2, lost, "disk full", "when a checkpoint is begun") for lost in (0, 1)),
    Case(3, 0, "killed", "while it compiles", in_namespaces=True),
    Case(3, 2, "killed", "when a checkpoint is begun", in_namespaces=True),
    *(Case(3, lost, "cable pulled", "between two steps", in_namespaces=True) for lost in (0, 2)),
]  # fmt: skip


# ---- What happens to a process, in that process


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _pull_cable() -> None:
    subprocess.run(["ip", "link", "set", "relo", "down"], check=True)


def _fill_disk() -> None:
    """From now on the system refuses what is longer than a few lines, to this process only."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


_ACTS: dict[str, Act] = {"killed": _kill, "stopped": _stop, "cable pulled": _pull_cable, "disk full": _fill_disk}


def _before(module: object, name: str, do: Callable[..., object]) -> None:
    """Calls `do` with the arguments of a function of a module, before each call of that."""
    function = getattr(module, name)

    def wrapped(*args, **kwargs):
        do(*args, **kwargs)
        return function(*args, **kwargs)

    setattr(module, name, wrapped)


def _after_step(step: int, do: Act) -> None:
    """Does something when a step is on the device."""
    from relo_jax.train import loop

    _before(loop, "wait_for_old_steps", lambda run, pending: do() if pending[-1].step == step else None)


def _half_written(act: Act) -> None:
    def watch() -> None:
        while not any(Path.cwd().glob(f"run/checkpoints/{_SAVED}.*/*/ocdbt.process_*/d")):
            time.sleep(0.001)
        act()

    threading.Thread(target=watch, daemon=True).start()


def _when_begun(act: Act) -> None:
    from relo_jax.train import checkpoints

    save = checkpoints.save

    def then_act(manager, workdir, step, *rest):
        if act is _fill_disk and step == _SAVED:
            act()
        save(manager, workdir, step, *rest)
        if step == _SAVED:
            act()

    checkpoints.save = then_act


def _prepare(case: Case, act: Act) -> None:
    """Lets `act` happen in this process at the moment of the case."""
    import jax

    from relo_jax.checkpoints import checksums
    from relo_jax.train import loop

    moments: dict[str, Act] = {
        "before it has joined": lambda: _before(jax.distributed, "initialize", lambda *_, **__: (time.sleep(2), act())),
        "while it compiles": lambda: _before(loop, "compile_ahead", lambda *_: act()),
        "between two steps": lambda: _after_step(_BETWEEN, act),
        "while the other waits for it": lambda: _after_step(_BETWEEN, lambda: (time.sleep(2), act())),
        "in a collective": lambda: _after_step(_BETWEEN, lambda: threading.Timer(1.0, act).start()),
        "when a checkpoint is begun": lambda: _when_begun(act),
        "when half of a checkpoint is written": lambda: _half_written(act),
        "before a checkpoint gets its name": lambda: _before(
            checksums, "write", lambda step: act() if step.name.startswith(f"{_SAVED}.") else None
        ),
        "at the end": lambda: _before(jax.distributed, "shutdown", act),
    }
    moments[case.when]()


def _prepare_others(case: Case) -> None:
    if case.when == "in a collective":  # which the lost process has begun, and waits in
        _after_step(_BETWEEN - 1, lambda: time.sleep(3))


# ---- The campaign


def _start_weights() -> None:
    """Weights to start from: initialised once, instead of by a program that each process compiles."""
    import jax

    from relo_jax.checkpoints import load
    from relo_jax.model import RELO, init_variables
    from tests.train.runs import make_config

    model = RELO.from_config(make_config().model)
    load.save_variables("start", model, init_variables(model, jax.random.key(0)))


def _arguments(count: int, index: int, coordinator: str) -> list[str]:
    more = {"total_steps": STEPS, "checkpoint_every": SAVES, "log_every": 1, "eval_every": STEPS, "batch_size": 6,
            "keep_checkpoints": 9, "init_from": "../start"}  # fmt: skip
    fields = [f"--config.{name}={value}" for name, value in {**FIELDS, **more}.items()]
    where = [f"--coordinator={coordinator}", f"--num_processes={count}", f"--process_id={index}"]
    return ["train", "--config", "tiny:warmup", "--workdir", "run", *fields, *where]


class Campaign:
    """Runs of so many processes, disturbed and not."""

    def __init__(self, count: int, in_namespaces: bool, out: Path):
        self.count = count
        self.folder = out / f"{count}{'-apart' if in_namespaces else ''}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.work, self.network = self.folder / "work", Network(count, in_namespaces)
        self.work.mkdir(parents=True)

    def reference(self) -> None:
        """The run that nobody disturbs. Raises RuntimeError if it fails."""
        processes.run(["--version"], self.folder, self.folder / "log.txt", _start_weights)
        ended = self._run(None)
        if any(status for status, _, _ in ended.values()):
            raise RuntimeError(f"failed undisturbed: {ended}")
        self.expected = processes.call(compare.contents, self.work)

    def _run(self, case: Case | None) -> dict[int, tuple[int, float, str]]:
        """Runs all processes. Returns for each: exit status, when it ended, and what it printed."""
        coordinator = f"{self.network.hosts[0]}:{free_port()}"
        running, ended = {}, {}
        for index in range(self.count):
            log = self.folder / f"log-{index}.txt"
            log.write_bytes(b"")  # not to be too long for the disk when that is full

            def prepare(index: int = index) -> None:
                self.network.enter(index)
                if case is not None:
                    _prepare(case, _ACTS[case.how]) if index == case.lost else _prepare_others(case)

            argv = _arguments(self.count, index, coordinator)
            running[processes.start(argv, self.work, log, prepare)] = index
        limit = time.monotonic() + processes.SECONDS
        while running:
            process, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if not process:
                time.sleep(0.02)
            elif os.WIFSTOPPED(status):
                ended[running[process]] = 0, time.monotonic(), ""
            else:
                index = running.pop(process)
                since = ended.get(index, (0, time.monotonic(), ""))[1]
                text = (self.folder / f"log-{index}.txt").read_text(errors="replace")
                ended[index] = os.waitstatus_to_exitcode(status), since, text
            others = [index for index in running.values() if case is None or index != case.lost]
            if not others or time.monotonic() > limit:
                for process, index in running.items():  # it is to end by itself when it is continued
                    os.killpg(process, signal.SIGCONT if time.monotonic() < limit else signal.SIGKILL)
                    time.sleep(0.5 if index in ended else 0)
        return ended

    def check(self, case: Case) -> dict:
        """One loss. Returns its row."""
        shutil.rmtree(self.work)
        self.work.mkdir()
        ended = self._run(case)
        problems = []
        since = ended[case.lost][1]
        seconds = max(when for index, (_, when, _) in ended.items() if index != case.lost) - since
        status_of_others = 1 if case.how == "disk full" else 75
        at_end = case.when == "at the end"
        for index, (status, _, text) in ended.items():
            if index == case.lost and case.how == "killed":
                if status != -signal.SIGKILL:
                    problems.append(f"process {index} was not killed, but ended with {status}")
                continue
            if index == case.lost and case.how == "stopped":  # when it goes on, JAX may end it before the watch does
                if status in (0, -signal.SIGKILL):
                    problems.append(f"process {index}, when it went on, ended with {status}")
                continue
            if status not in ((status_of_others, 0) if at_end else (status_of_others,)):
                problems.append(f"process {index} ended with {status}")
            lines = [line for line in re.split(r"[\r\n]", text) if line.startswith("relo: ")]
            named = "no space left" if case.how == "disk full" else f"process {case.lost} on "
            if len(lines) != (status != 0) or index != case.lost and not all(named in line for line in lines):
                problems.append(f"process {index} printed {lines}")
            if "Traceback" in text or re.search(r"^[EF]\d{4} ", text, re.MULTILINE):
                problems.append(f"process {index} printed more: {text[-1500:]}")
        if seconds > _SECONDS[case.how]:
            problems.append(f"the others ended after {seconds:.0f} s")
        self.network.mend()
        again = self._run(None)
        problems += [f"process {i} ended with {end[0]} when run again" for i, end in again.items() if end[0]]
        problems += compare.differences(self.expected, processes.call(compare.contents, self.work))
        line = next((line for _, _, text in ended.values() for line in text.splitlines() if "relo: " in line), "")
        return {
            "processes": case.count, "in_namespaces": case.in_namespaces, "lost": case.lost, "how": case.how,
            "when": case.when, "seconds": round(seconds, 1), "line": line, "problems": problems,
        }  # fmt: skip


def campaign(cases: list[Case], out: Path) -> Iterator[dict]:
    """The rows of all cases."""
    for count, apart in dict.fromkeys((case.count, case.in_namespaces) for case in cases):
        one = Campaign(count, apart, out)
        with one.network:
            one.reference()
            for case in tqdm([c for c in cases if (c.count, c.in_namespaces) == (count, apart)], unit="loss"):
                yield one.check(case)


def table(rows: list[dict]) -> list[list[str]]:
    """A line for each number of processes and each manner of loss."""
    lines = []
    for key in dict.fromkeys((row["processes"], row["in_namespaces"], row["how"]) for row in rows):
        some = [row for row in rows if (row["processes"], row["in_namespaces"], row["how"]) == key]
        lost = ", ".join(map(str, sorted({row["lost"] for row in some})))
        when = "; ".join(dict.fromkeys(row["when"] for row in some))
        equal = f"{sum(not row['problems'] for row in some)} of {len(some)}"
        seconds = f"{max(row['seconds'] for row in some):.0f} s at most"
        lines.append([f"{key[0]}{' apart' if key[1] else ''}", lost, key[2], when, seconds, equal])
    return lines


def main() -> int:
    """Runs the campaign and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only cases whose description contains this")
    parser.add_argument("--out", type=Path, default=Path("runs/kill"))
    args = parser.parse_args()
    out = args.out.absolute() / "hosts"
    prepared(out)
    importlib.import_module("relo_jax.train.loop")
    cases = [case for case in CASES if args.only in str(case)]
    if not can_make_namespaces():
        print("network namespaces need root and `ip`: their cases are not run")
        cases = [case for case in cases if not case.in_namespaces]
    rows = []
    for row in campaign(cases, out):
        rows.append(row)
        (out / "hosts.json").write_text(json.dumps(rows, indent=1) + "\n")
        print(json.dumps(row), flush=True)
    (out / "hosts.md").write_text(markdown(HEADS, table(rows), "rlllrr"))
    print(terminal([HEADS, *table(rows)], "rlllrr"))
    bad = [row for row in rows if row["problems"]]
    for row in bad:
        print(f"{row['processes']} processes, {row['lost']} {row['how']} {row['when']}: {'; '.join(row['problems'])}")
    print(f"{len(rows)} losses, {len(bad)} with problems")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
