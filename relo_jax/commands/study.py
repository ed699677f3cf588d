"""`relo study`: small trainings that differ in one thing, compared over seeds."""

from pathlib import Path


def add_arguments(parser):
    """The arguments of `relo study`."""
    parser.add_argument("name", metavar="NAME", help="such as heatmap_vs_reward (docs/study.md has them all)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of each arm (default 3)")
    parser.add_argument("--workdir", type=Path, default="runs/study", help="of all studies (default runs/study)")
    parser.add_argument("--data-root", help="folder of real sequences to evaluate on, too")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="factor on all numbers of steps")


def run(args):
    """Runs the study; see `relo_jax.study.runner`."""
    from relo_jax.study import runner

    runner.run_study(args.name, args.seeds, args.workdir, args.data_root, args.scale)
