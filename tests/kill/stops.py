"""Asks all processes of a run to end at once, as batch systems do: `python -m tests.kill.stops --count 40`.

The processes join as those of `relo train` do, over loopback, and take steps without work. At a random moment all get
SIGTERM. Each must end within ten seconds, after the same step. Prints what went wrong; the status is 1 if anything did.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time

from relo_jax.bars import tqdm
from tests.ports import free_port

_SECONDS = 10.0
_PROCESS = """
import sys, time
from relo_jax.train import distributed
address, count, index = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with distributed.joined(distributed.Cluster(address, count, index)), distributed.stop_on_signal() as stop:
    print("begins", flush=True)
    step = next(step for step in range(1, 3000) if time.sleep(0.03) or stop.after(step))
    print("ends after step", step, flush=True)
"""


def stopped(count: int) -> tuple[float, list[str]]:
    """A run of so many processes. Returns the seconds from SIGTERM to its end, and what is wrong."""
    address = f"127.0.0.1:{free_port()}"
    running = []
    for index in range(count):
        argv = [sys.executable, "-c", _PROCESS, address, str(count), str(index)]
        running.append(subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    try:
        for process in running:
            process.stdout.readline()
        time.sleep(random.uniform(0.2, 0.5))
        began = time.monotonic()
        for process in running:
            process.terminate()
        ends = [process.communicate(timeout=_SECONDS) for process in running]
        seconds = time.monotonic() - began
    except subprocess.TimeoutExpired:
        return _SECONDS, ["they hang"]
    finally:
        for process in running:
            process.kill()
    problems = [
        f"status {process.returncode}: {errors}"
        for process, (_, errors) in zip(running, ends, strict=True)
        if process.returncode
    ]
    said = {output for output, _ in ends}
    return seconds, problems + ([f"they said {said}"] if len(said) > 1 else [])


def main() -> int:
    """Runs the campaign."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="runs")
    parser.add_argument("--processes", type=int, default=2, help="of each run")
    args = parser.parse_args()
    longest, bad = 0.0, 0
    for _ in tqdm(range(args.count), unit="run"):
        seconds, problems = stopped(args.processes)
        longest, bad = max(longest, seconds), bad + bool(problems)
        for problem in problems:
            print(problem, flush=True)
    runs = f"{args.count} runs of {args.processes} processes"
    print(f"{runs}, {bad} with problems; the slowest ended after {longest:.1f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
