"""`relo study`: compares small trainings that differ in one thing, over several seeds."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo study`."""
    parser.add_argument("name", metavar="NAME", help="such as heatmap_vs_reward (docs/study.md lists all)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="number of trainings of each arm (default 3)")
    parser.add_argument(
        "--workdir", type=Path, default="runs/study", metavar="DIR", help="folder of all studies (default runs/study)"
    )
    parser.add_argument("--data-root", metavar="DIR", help="folder of real sequences, to evaluate on these too")
    parser.add_argument(
        "--sequences", type=int, metavar="N", help="number of held-out drawn sequences to evaluate on (default 20)"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="X", help="factor on all numbers of steps (default 1)"
    )
    parser.add_argument(
        "--one-by-one", action="store_true", help="train arms and seeds one after the other, which takes less memory"
    )


def run(args: argparse.Namespace) -> None:
    """Runs the study; see `relo_jax.study.runner`."""
    from relo_jax.study import runner

    sequences = runner.SEQUENCES if args.sequences is None else args.sequences
    runner.run_study(
        args.name, args.seeds, args.workdir, args.data_root, args.scale, args.one_by_one, sequences=sequences
    )
