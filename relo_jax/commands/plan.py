"""`relo plan`: what a training run, or tracking, costs on devices that are not there."""

import argparse
import json

from relo_jax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo plan`."""
    parser.usage = "relo plan --config NAME[:stage] --topology NAME [--config.field=value ...] [--track] [--json]"
    parser.add_argument("--config", metavar="NAME[:stage]", help="such as b256:rl, or a file of yours: FILE.py:rl")
    parser.add_argument(
        "--topology", metavar="NAME", help="devices: h100, h100:8, v4:2x2x4, v5e:4x4, v5p:4x4x8 or v6e:16x16, say"
    )
    parser.add_argument("--track", action="store_true", help="plan tracking with the config's model, not its training")
    parser.add_argument("--fast", action="store_true", help="on TPUs: compile with least effort, for a rough answer")
    parser.add_argument("--kernels", type=int, default=0, metavar="N", help="name the N most expensive kernels")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.epilog = (
        "--config.field=value replaces one field, as in relo train. Nothing runs on the devices, and none is needed: "
        "pip install 'relo-jax[plan-gpu]' or 'relo-jax[plan-tpu]' brings the compiler (docs/plan.md)."
    )
    parser.set_defaults(fields=[])


def run(args: argparse.Namespace) -> None:
    """Compiles and prints.

    Raises:
      UserError: a bad flag or config; no compiler; a program that cannot be compiled for the devices.
    """
    from relo_jax.config.command_line import read_config

    if args.kernels < 0:
        raise UserError(f"relo plan: --kernels is {args.kernels}: give 0 or more")
    if args.topology is None:
        raise UserError("relo plan: --topology is missing, such as --topology v5e:4x4 or h100")
    config = read_config("relo plan", args.config, args.fields)
    from relo_jax.profiling import plan
    from relo_jax.profiling.compiled import targets

    target = targets.parse(args.topology)
    if args.track:
        rows = plan.tracking(config, target, args.fast, args.kernels)
        print(json.dumps({"tracking": rows}, indent=1) if args.json else plan.tracking_table(rows))
    else:
        row = plan.training(config, target, args.fast, args.kernels)
        print(json.dumps(row, indent=1) if args.json else plan.training_table(row))
