"""`relo train`: trains one stage, or continues it."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import TYPE_CHECKING

from relo_jax.commands.terminal import how_called
from relo_jax.errors import UserError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from relo_jax.train.distributed import Cluster


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo train`."""
    parser.usage = "relo train --config NAME[:stage] --workdir DIR [--config.field=value ...] [--distributed]"
    parser.add_argument(
        "--config",
        metavar="NAME[:stage]",
        help="such as b256:rl, or a file of yours: FILE.py:rl; stage warmup if none is named",
    )
    parser.add_argument("--workdir", metavar="DIR", help="run directory; a run of the same config in it continues")
    parser.add_argument("--print-config", action="store_true", help="print the resolved config as JSON and exit")
    parser.epilog = (
        "--config.field=value replaces one field, such as --config.batch_size=16 --config.optimizer.learning_rate=3e-4"
    )
    several = parser.add_argument_group(
        "several processes", "For one run of several processes, start each with this command (docs/cluster.md)."
    )
    several.add_argument(
        "--distributed", action="store_true", help="on a TPU pod, GKE, Slurm or Open MPI, which number the processes"
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="elsewhere: the address of process 0")
    several.add_argument("--num_processes", type=int, metavar="N", help="elsewhere: the number of processes")
    several.add_argument("--process_id", type=int, metavar="I", help="elsewhere: the number of this process, from 0")
    parser.set_defaults(fields=[])


def run(args: argparse.Namespace) -> int | None:
    """Trains, or prints the config. Returns the exit status.

    Raises:
      UserError: a bad flag, field or config; see `train_and_evaluate`.
    """
    from relo_jax.config.command_line import read_config

    config = read_config("relo train", args.config, args.fields)
    if args.print_config:
        _print_config(config)
        return None
    if args.workdir is None:
        raise UserError("relo train: --workdir is missing; see relo train --help")
    import jax

    from relo_jax.train import distributed, loop, watch

    with distributed.joined(_cluster(args)):
        history = loop.train_and_evaluate(config, args.workdir)
        is_first = jax.process_index() == 0
    if history.stopped:  # no success: a cluster that restarts jobs is to start it again
        return watch.UNFINISHED
    if is_first:
        print(f"{args.workdir} is trained, {config.total_steps:,} steps; now: {_following(config, args)}")
    return None


def _following(config: ConfigDict, args: argparse.Namespace) -> str:
    """What to do with the trained weights: the next command, or the field that takes them if its config is unknown."""
    workdir, (name, _, stage) = shlex.quote(args.workdir), args.config.partition(":")
    if config.stage == "rl":
        return f"{how_called()} track VIDEO --box x,y,w,h --checkpoint {workdir}"
    following = {"": "rl", "warmup": "rl", "warmup_release": "rl_release"}.get(stage)
    if following is None or name.endswith(".json"):
        return f"the RL stage, with --config.init_from={workdir}"
    config_of_rl = shlex.quote(f"{name}:{following}")
    return f"{how_called()} train --config {config_of_rl} --workdir NEW_DIR --config.init_from={workdir}"


def _print_config(config: ConfigDict) -> None:
    """Prints the config as in a run's `config.json`: all fields, with those of the model's variant."""
    from relo_jax import config as config_lib
    from relo_jax.model import RELO

    config_lib.validate(config)
    model = RELO.from_config(config.model)
    print(json.dumps({**config_lib.to_dict(config), "model": model.config.to_dict()}, indent=2))


def _cluster(args: argparse.Namespace) -> Cluster | None:
    """The cluster of the flags; None for a single process."""
    from relo_jax.train.distributed import Cluster

    given = (args.coordinator, args.num_processes, args.process_id)
    if all(value is None for value in given):
        return Cluster() if args.distributed else None
    if None in given:
        raise UserError("relo train: give --coordinator, --num_processes and --process_id together or not at all")
    if args.num_processes < 1:
        raise UserError(f"relo train: --num_processes is {args.num_processes}: give at least 1")
    if not 0 <= args.process_id < args.num_processes:
        raise UserError(
            f"relo train: --process_id={args.process_id} is not from 0 to {args.num_processes - 1}, as "
            f"--num_processes={args.num_processes} requires"
        )
    return Cluster(*given)
