"""One command for a card: what it can do, and what relo_jax makes of it, the most telling figures first.

    python -m benchmarks.device --budget 560 --out runs/card              # t256, b256 and l256 on a GPU
    python -m benchmarks.device --budget 300 --variant tiny --quick --out runs/cpu

Each stage is a process with a time limit. It prints a JSON line a measurement and appends it to rows.jsonl in --out, at
once. What fails, ends late or no longer fits into the budget leaves a line with the reason, and the next stage starts.
The messages of all stages are in log.txt.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.device import plan, run

RESULTS = Path(__file__).parents[1] / "results" / "device.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.device", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for rows.jsonl and log.txt; lines are added")
    parser.add_argument("--budget", type=float, default=560, help="seconds for all stages together; default: 560")
    parser.add_argument("--variant", default="t256", help="default: t256")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"], help="default: bfloat16")
    parser.add_argument("--quick", action="store_true", help="few repetitions and small batches: a trial on a CPU")
    parser.add_argument("--only", default="", help="names of stages, separated by commas; default: all")
    parser.add_argument("--record", action="store_true", help="append what was measured to benchmarks/results/ too")
    args = parser.parse_args()
    if args.budget <= 0:
        parser.error(f"--budget is {args.budget:g}: give the seconds that all stages may take together")
    stages = plan.stages(args.variant, args.dtype, args.quick)
    names = [stage.name for stage in stages]
    only = [name for name in args.only.split(",") if name]
    if unknown := [name for name in only if name not in names]:
        parser.error(f"--only names {unknown[0]!r}, and the stages are {', '.join(names)}")
    command = f"python -m benchmarks.device {' '.join(sys.argv[1:])}"
    stages = [stage for stage in stages if not only or stage.name in only]
    rows = run.run(stages, args.budget, args.out, command, RESULTS if args.record else None)
    sys.exit(0 if any(run.is_measured(row) for row in rows) else 1)


if __name__ == "__main__":
    main()
