"""`relo rehearse`: runs the whole paper in miniature and forecasts the time and the disk of the real thing."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo rehearse`."""
    parser.usage = "relo rehearse --variant NAME [--workdir DIR] [options] [--config.field=value ...]"
    parser.add_argument("--variant", required=True, metavar="NAME", help="such as b256")
    workdir = "a new directory for everything (default runs/rehearsal-VARIANT)"
    parser.add_argument("--workdir", type=Path, metavar="DIR", help=workdir)
    preset = "paper, or release: the choices of the authors' code, as in configs/ (default paper)"
    parser.add_argument("--preset", choices=["paper", "release"], default="paper", help=preset)
    parser.add_argument("--steps", type=int, default=6, metavar="N", help="of the warm-up; the RL stage has half (6)")
    batch = "clips of a step of the warm-up (default: one on a CPU, 8 for each accelerator); RL has a quarter"
    parser.add_argument("--batch-size", type=int, metavar="N", help=batch)
    root = "your datasets: they are checked, and the loader reads them instead of miniatures"
    parser.add_argument("--data-root", type=Path, metavar="DIR", help=root)
    parser.epilog = "--config.field=value replaces a field in both stages, such as --config.mesh.shard_params=fsdp"
    parser.set_defaults(fields=[])


def run(args: argparse.Namespace) -> None:
    """Rehearses; see `relo_jax.study.rehearsal`.

    Raises:
      UserError: see `make_plan`; at the end, if steps failed.
    """
    from relo_jax.study.rehearsal.plan import make_plan
    from relo_jax.study.rehearsal.runner import rehearse

    plan = make_plan(
        args.variant, args.workdir, preset=args.preset, steps=args.steps, batch_size=args.batch_size,
        data_root=args.data_root, fields=tuple(args.fields),
    )  # fmt: skip
    rehearse(plan)
