"""Kills commands when it matters, runs them again and compares: `python -m tests.kill.run`, or `--only eval,pack`.

A command first runs to its end, and what it does to its files is written down. Then it is killed (SIGKILL to its
process group) before some of these operations and at other moments that `scenarios.py` names, each time in a fresh
working directory; the same command is run again, to its end; and everything in the working directory is compared with
what the first run left. Prints a table, writes it as kills.json, and ends with status 1 if anything differed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from relo_jax.bars import tqdm
from relo_jax.tables import markdown, terminal
from tests import compiler
from tests.kill import compare, processes
from tests.kill.processes import Operation, Sight
from tests.kill.scenarios import SCENARIOS, Watch, fresh

# Imported before the first fork, so that no command pays for it. None of them starts a thread.
_LIBRARIES = ("jax", "flax", "optax", "orbax.checkpoint", "tensorstore", "cv2", "av", "grain", "matplotlib.pyplot")
_DRAWN_POINTS = 3  # operations of a scenario beside those that it names
HEADS = ["scenario", "killed", "kills", "continued equal"]


class Campaign:
    """The kills of one scenario.

    Args:
      name: of the scenario.
      out: folder of logs, inputs and working directories.
    """

    def __init__(self, name: str, out: Path):
        self.name, self.scenario = name, SCENARIOS[name]
        folder = out / name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.log, self.inputs, self.work = folder / "log.txt", folder / "inputs", folder / "work"
        self.inputs.mkdir()
        self.record = folder / "operations.txt"

    def reference(self) -> None:
        """Makes the inputs and the run that is never killed. Raises RuntimeError if it fails."""
        scenario = self.scenario
        self._must(processes.run(["--version"], self.inputs, self.log, scenario.inputs))
        self._in_fresh()
        self._must(processes.run(list(scenario.argv), self.work, self.log, scenario.prepare, record=self.record))
        self.warnings = {line for line in self.log.read_text().splitlines() if line.startswith("relo: ")}
        self.expected, self.operations = processes.call(compare.contents, self.work), processes.operations(self.record)
        self.sizes = {watch: _size(self.work, _finished(watch.pattern)) for watch in scenario.watches}

    def _must(self, status):
        if status:
            raise RuntimeError(f"{self.name} failed without a kill: {self.log}: {self.log.read_text()[-2000:]}")

    def _in_fresh(self):
        fresh(self.work, self.inputs)

    def points(self, count: int | None) -> list[Operation | Sight]:
        """Those of the scenario, and operations spread over its run; at most `count`."""
        aimed = [next((op for op in self.operations if aim in op.text), None) for aim in self.scenario.aims]
        if None in aimed:
            raise RuntimeError(f"{self.name} never does {self.scenario.aims[aimed.index(None)]}: see {self.record}")
        watched = [_sight(watch, self.sizes[watch]) for watch in self.scenario.watches]
        rest = [op for op in self.operations if op not in aimed]
        drawn = [rest[(2 * k + 1) * len(rest) // (2 * _DRAWN_POINTS)] for k in range(_DRAWN_POINTS if rest else 0)]
        return list(dict.fromkeys([*watched, *aimed, *drawn]))[:count]

    def kill(self, point: Operation | Sight) -> dict:
        """One kill. Returns its row."""
        self._in_fresh()
        run = lambda kill_at: processes.run(
            list(self.scenario.argv), self.work, self.log, self.scenario.prepare, kill_at=kill_at
        )
        row = {"scenario": self.name, "killed": str(point), "differences": []}
        begin = self.log.stat().st_size
        status = run(point)
        if status != -signal.SIGKILL:
            if status:
                row["differences"].append(f"ended with status {status} instead of being killed")
            return row | {"was_killed": False}
        first = self.log.stat().st_size
        status = run(None)
        with open(self.log, "rb") as file:
            file.seek(first)
            text = file.read().decode(errors="replace")
        left = processes.call(compare.contents, self.work)
        finished = self.scenario.once and left == self.expected  # it was killed when all was done
        if status and not (finished and "exists already" in text):
            last = (text.strip().splitlines() or [""])[-1]
            row["differences"].append(f"status {status} when run again: {last[:300]}")
        if "Traceback" in text:
            row["differences"].append(f"a traceback when run again: {self.log} from byte {begin}")
        row["differences"] += compare.differences(self.expected, left)
        return row | {"was_killed": True}


def _finished(pattern: str) -> str:
    """The pattern of what is there in the end: an unfinished file loses what its name has more."""
    for more, less in ((".orbax-checkpoint-tmp*", ""), (".*.unfinished", "")):
        if more in pattern:
            head, _, tail = pattern.rpartition(more)
            folder, _, stem = head.rpartition("/")
            pattern = "/".join(filter(None, (folder, stem.removeprefix(".") + less + tail)))
    return pattern


def _size(folder: Path, pattern: str) -> int:
    files = [f for path in folder.glob(pattern) for f in ([path] if path.is_file() else path.rglob("*")) if f.is_file()]
    return sum(file.stat().st_size for file in files)


def _sight(watch: Watch, final: int) -> Sight:
    def is_there(folder: Path) -> bool:
        if watch.share:
            return _size(folder, watch.pattern) >= watch.share * final > 0
        if watch.lines:
            return any(path.read_bytes().count(b"\n") >= watch.lines for path in folder.glob(watch.pattern))
        return any(True for _ in folder.glob(watch.pattern))

    return Sight(str(watch), is_there)


def campaign(names: Iterable[str], out: Path, count: int | None) -> Iterator[dict]:
    """The rows of all kills; of a scenario that fails without one, a row that says so."""
    for name in names:
        one = Campaign(name, out)
        try:
            one.reference()
            points = one.points(count)
        except RuntimeError as error:
            yield {"scenario": name, "killed": "no kill", "was_killed": False, "differences": [str(error)]}
            continue
        for point in tqdm(points, desc=name, unit="kill"):
            yield one.kill(point)


def table(rows: list[dict]) -> list[list[str]]:
    """A line for each scenario: where it was killed, how often, and how often the continued run was equal."""
    lines = []
    for name in dict.fromkeys(row["scenario"] for row in rows):
        killed = [row for row in rows if row["scenario"] == name and row["was_killed"]]
        points = "; ".join(f"`{row['killed']}`" for row in killed)
        equal = sum(not row["differences"] for row in killed)
        lines.append([name, points, str(len(killed)), str(equal)])
    return lines


def chosen(parser: argparse.ArgumentParser) -> tuple[list[str], Path]:
    """Parses the command line: the names of the scenarios, and the folder of all files."""
    parser.add_argument("--only", help="names of scenarios, with commas between them")
    parser.add_argument("--out", type=Path, default=Path("runs/kill"))
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(SCENARIOS)
    unknown = set(names) - set(SCENARIOS)
    if unknown:
        parser.error(f"unknown scenario {', '.join(unknown)}; known: {', '.join(SCENARIOS)}")
    return names, args.out.absolute()


def prepared(out: Path) -> None:
    """Imports the libraries, for one CPU device, and keeps compiled programs in a folder that all processes share."""
    out.mkdir(parents=True, exist_ok=True)
    os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": compiler.FLAGS}
    os.environ.pop("RELO_DATA_DIR", None)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(out / "compiled"))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    for library in _LIBRARIES:
        importlib.import_module(library)


def main() -> int:
    """Runs the campaign and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, help="kills of each scenario at most (default: all)")
    names, out = chosen(parser)
    points = parser.parse_args().points
    prepared(out)
    rows = []
    for row in campaign(names, out, points):
        rows.append(row)
        (out / "kills.json").write_text(json.dumps(rows, indent=1) + "\n")
    lines = table(rows)
    (out / "kills.md").write_text(markdown(HEADS, lines, "llrr"))
    print(terminal([[HEADS[0], *HEADS[2:]], *([line[0], *line[2:]] for line in lines)], "lrr"))
    for row in rows:
        if not row["was_killed"] and not row["differences"]:
            print(f"{row['scenario']}: not killed, it ended first: {row['killed']}")
        for difference in row["differences"]:
            print(f"{row['scenario']}, {row['killed']}: {difference}")
    differing = sum(bool(row["differences"]) for row in rows)
    print(f"{sum(row['was_killed'] for row in rows)} kills of {len(names)} commands, {differing} with differences")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
