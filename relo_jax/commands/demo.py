"""`relo demo`: RELO in minutes, on procedural sequences."""

import argparse
from pathlib import Path

from relo_jax.commands.terminal import how_called


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo demo`."""
    parser.add_argument("--full", action="store_true", help="run both training stages, from random weights")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of heads, actions and training clips (default 0)"
    )
    parser.add_argument(
        "--workdir", type=Path, metavar="DIR", help="for all files (default runs/demo or runs/demo-full)"
    )


def run(args: argparse.Namespace) -> None:
    """Trains, evaluates and tracks; see `relo_jax.study.demo`."""
    from relo_jax.study import demo

    workdir = args.workdir or Path("runs/demo-full" if args.full else "runs/demo")
    demo.run(workdir, seed=args.seed, full=args.full, relo=how_called())
