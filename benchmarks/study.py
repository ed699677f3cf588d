"""Training the arms and seeds of a study as one program, and one after the other.

    python -m benchmarks.study --study reward_options --seeds 2 --scale 0.5

Each way trains everything anew in a process of its own, and compiles everything, as on the first day on a machine. The
evaluation of the trained arms is not part of it. Processor time counts all threads.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time

from benchmarks import common
from relo_jax.study import arm, studies

WAYS = ("one by one", "as one program")


def trained(study: str, seeds: int, scale: float, way: str) -> dict[str, float]:
    """Seconds of processor and wall, and the memory, of training a study in this process."""
    todo = [(name, seed) for seed in range(seeds) for name in studies.find(study).arms]
    start = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as workdir:
        for number, key in enumerate(todo, start=1):
            arm.train(*key, scale, workdir, todo[number:] if way == WAYS[1] else ())
    return {
        "runs": len(todo),
        "seconds": round(time.perf_counter() - start[0], 1),
        "processor_seconds": round(time.process_time() - start[1], 1),
        "memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def main() -> None:
    args = common.arguments(__doc__, study="reward_options", seeds=2, scale=1.0, way=["both", *WAYS])
    if args.way != "both":
        print(json.dumps(trained(args.study, args.seeds, args.scale, args.way)))
        return
    row: dict = {"study": args.study, "seeds": args.seeds, "scale": args.scale}
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.study", f"--study={args.study}", f"--seeds={args.seeds}"]
        command += [f"--scale={args.scale}", f"--way={way}"]
        environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        row[way] = json.loads(done.stdout.splitlines()[-1])
    one_by_one, together = (row[way] for way in WAYS)
    common.record("study", row | {"ratio": round(one_by_one["processor_seconds"] / together["processor_seconds"], 2)})


if __name__ == "__main__":
    main()
