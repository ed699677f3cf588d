"""Runs the commands of the campaign on a full disk and on a read-only one: `python -m tests.kill.disks` (as root).

The working directory is a small file system in memory (tmpfs). Full: it has room for the inputs and a part of what the
command writes. Read-only: there is room, but nothing can be written. Either ends with exit status 1 and one line, no
traceback; the inputs are as before and nothing unfinished is left. Without the right to mount, nothing is run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.kill import compare, processes
from tests.kill.run import Campaign, chosen, prepared

SHARE = 0.5  # of what the command writes


def mounted(folder: Path, size: int) -> bool:
    """Makes a file system of `size` bytes in memory at a folder; False if that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


def unmount(folder: Path) -> None:
    """Undoes `mounted`."""
    subprocess.run(["umount", "-l", str(folder)], capture_output=True)


def check(one: Campaign, kind: str) -> dict | None:
    """One command on a disk of a kind, "full" or "read-only". Returns its row; None if nothing can be mounted."""
    inputs, written = _size(one.inputs), _size(one.work)
    before = processes.call(compare.contents, one.inputs)
    folder = one.work.with_name("disk")
    room = 1 << 24 if kind == "read-only" else int(SHARE * max(written - inputs, 0))
    if not mounted(folder, max(inputs + room, 1 << 14)):
        return None
    try:
        subprocess.run(["cp", "-r", f"{one.inputs}/.", str(folder)], check=True)
        if kind == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        begin = one.log.stat().st_size
        status = processes.run(list(one.scenario.argv), folder, one.log, one.scenario.prepare)
        with open(one.log, "rb") as file:
            file.seek(begin)
            text = file.read().decode(errors="replace")
        after = processes.call(compare.contents, folder)
    finally:
        unmount(folder)
    lines = [line for line in text.splitlines() if line.startswith("relo: ") and line not in one.warnings]
    problems = []
    if status != 1:
        problems.append(f"exit status {status}")
    if "Traceback" in text:
        problems.append("a traceback")
    if len(lines) != 1:
        problems.append(f"{len(lines)} lines of an error: {text[-200:]!r}")
    problems += [f"{name} changed" for name, digest in before.items() if after.get(name) != digest]
    problems += [f"{name} is left over" for name in after if "unfinished" in name or "checkpoint-tmp" in name]
    return {"scenario": one.name, "disk": kind, "line": "".join(lines), "problems": problems}


def _size(folder: Path) -> int:
    """Bytes, in whole pages of 4 KiB as tmpfs counts them."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def main() -> int:
    """Runs all commands on both disks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names, out = chosen(parser)
    if not hasattr(os, "geteuid") or os.geteuid() or not mounted(out / "try", 1 << 16):
        print("full and read-only disks need the right to mount: not run")
        return 0
    unmount(out / "try")
    rows = []
    prepared(out)
    for name in names:
        one = Campaign(name, out)
        one.reference()
        for kind in ("full", "read-only"):
            row = check(one, kind)
            if row is None:
                continue
            rows.append(row)
            print(f"{name}, {kind} disk: {'; '.join(row['problems']) or row['line']}", flush=True)
    (out / "disks.json").write_text(json.dumps(rows, indent=1) + "\n")
    bad = sum(bool(row["problems"]) for row in rows)
    print(f"{len(rows)} runs on full and read-only disks, {bad} with problems")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
