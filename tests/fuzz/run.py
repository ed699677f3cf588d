"""Fuzzes all targets: `python -m tests.fuzz.run --minutes 10`, or some: `--only torch_file,image`.

Each target gets an equal share of the time, in processes of their own: one that ends at a finding is started again. The
inputs of findings stay in `--out` (runs/fuzz), where `python -m tests.fuzz.targets TARGET FILE` shows the traceback.
Prints a table, writes it as findings.json, and ends with status 1 if there was a finding.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from relo_jax.tables import terminal
from tests.fuzz.targets import CORPUS, TARGETS

_OF_FINDING = re.compile(r"(crash|timeout|oom|leak|slow-unit)-")


def fuzz(name: str, seconds: float, out: Path) -> dict:
    """Fuzzes one target. Returns its row: executions, inputs in the corpus, findings (files), seconds."""
    end, executions, unexplained = time.monotonic() + seconds, 0, 0
    began = time.monotonic()
    log = out / f"{name}.log"
    while (left := round(end - time.monotonic())) > 0 and unexplained < 5:
        before = findings(name, out)
        command = [sys.executable, "-m", "tests.fuzz.one", name, "--seconds", str(left), "--out", str(out)]
        with open(log, "ab") as file:
            done = subprocess.run(command, stdout=file, stderr=file, timeout=left + 300)
        text = log.read_text(errors="replace")
        executions = sum(map(int, re.findall(r"stat::number_of_executed_units: +(\d+)", text)))
        if done.returncode and findings(name, out) == before:  # it could not start, or was killed
            unexplained += 1
            (out / f"{name}-crash-status-{done.returncode}-{unexplained}").write_bytes(b"")
    grown = out / f"{name}-corpus"
    return {
        "target": name,
        "executions": executions,
        "corpus": len(list((CORPUS / name).iterdir())) + (len(list(grown.iterdir())) if grown.is_dir() else 0),
        "findings": findings(name, out),
        "seconds": round(time.monotonic() - began),
    }


def findings(name: str, out: Path) -> list[str]:
    """The files of inputs that were defects."""
    files = (path.name for path in out.glob(f"{name}-*") if path.is_file())
    return sorted(file for file in files if _OF_FINDING.match(file.removeprefix(f"{name}-")))


def main() -> int:
    """Fuzzes and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--only", help="names of targets, with commas between them")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(TARGETS)
    unknown = set(names) - set(TARGETS)
    if unknown:
        parser.error(f"unknown target {', '.join(unknown)}; known: {', '.join(TARGETS)}")
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in names:
        rows.append(fuzz(name, 60 * args.minutes / len(names), args.out))
        print(f"{name} is done", file=sys.stderr, flush=True)
    (args.out / "findings.json").write_text(json.dumps(rows, indent=1) + "\n")
    cells = [["target", "executions", "corpus", "findings"]]
    cells += [[r["target"], f"{r['executions']:,}", str(r["corpus"]), str(len(r["findings"]))] for r in rows]
    print(terminal(cells, "lrrr"))
    found = sum(len(row["findings"]) for row in rows)
    print(f"{sum(row['executions'] for row in rows):,} executions of {len(rows)} targets, {found} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
