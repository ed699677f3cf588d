"""`relo demo`: RELO in minutes, on procedural sequences."""

from pathlib import Path


def add_arguments(parser):
    """The arguments of `relo demo`."""
    parser.add_argument("--full", action="store_true", help="both training stages, from nothing")
    parser.add_argument("--seed", type=int, default=0, help="of the heads, the actions and the training clips")
    parser.add_argument("--workdir", type=Path, help="folder of everything (default runs/demo or runs/demo-full)")


def run(args):
    """Trains, evaluates and tracks; see `relo_jax.study.demo`."""
    from relo_jax.study import demo

    demo.run(args.workdir or ("runs/demo-full" if args.full else "runs/demo"), seed=args.seed, full=args.full)
