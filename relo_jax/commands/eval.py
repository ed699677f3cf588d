"""`relo eval`: evaluates a tracker on benchmarks by their own rules, or on a folder of sequences."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from relo_jax.commands.arguments import add_backend, add_batch, add_dataset, add_procedural, add_tracker
from relo_jax.config import RULES
from relo_jax.errors import UserError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

# Flag -> the field that it sets, see relo_jax/config/evaluation.py. `--split` is part of eval.datasets.
FIELDS = {
    "backend": "eval.backend", "precision": "eval.precision",
    "checkpoint": "eval.checkpoint", "dataset": "eval.datasets", "batch": "eval.batch", "rules": "eval.rules",
    "out": "eval.out", "count": "eval.count", "seed": "eval.seed", "release_files": "eval.release_files",
    "data_root": "data.root", "one_based": "data.one_based", "dtype": "model.dtype",
    "window_power": "tracker.window_power", "update_interval": "tracker.update_interval",
    "update_threshold": "tracker.update_threshold",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo eval`."""
    parser.usage = "relo eval [--config NAME] [--config.field=value ...] [flags]"
    text = "such as b256:eval, a file, or the config.json beside results; flags replace its values"
    parser.add_argument("--config", metavar="NAME[:eval]", help=text)
    parser.add_argument("--print-config", action="store_true", help="print the resolved config as JSON and exit")
    add_dataset(parser, "folder", several=True)
    add_procedural(parser, count=20, seed=0)
    parser.add_argument(
        "--out", metavar="DIR", help="folder of results (default results/CHECKPOINT/NAME; NAME is the dataset, with "
        "-SPLIT unless it is the default one, the folder's own name, or procedural-SEED)",
    )  # fmt: skip
    add_batch(parser)
    parser.add_argument("--rules", choices=RULES, help="how frames without a target count (default: the dataset's)")
    release = "also write the files as the release does: whole numbers, tabs (into the folder release of the results)"
    parser.add_argument("--release-files", action="store_true", help=release)
    add_backend(parser)
    add_tracker(parser)
    parser.epilog = (
        "Each flag is short for a field of the config: --batch 32 is --config.eval.batch=32, and --window-power 2.9 is "
        "--config.tracker.window_power=2.9. relo_jax/config/evaluation.py lists the fields."
    )
    parser.set_defaults(fields=[], **dict.fromkeys(FIELDS))


def run(args: argparse.Namespace) -> None:
    """Evaluates, or prints the config.

    Raises:
      UserError: a bad flag, field or config; see `evaluate_by_config`.
    """
    from relo_jax.config import evaluation, validate_evaluation
    from relo_jax.config.command_line import read_config

    default = evaluation(checkpoint="starter", datasets="folder")
    config = read_config("relo eval", args.config, args.fields, default)
    set_flags(config, args)
    validate_evaluation(config)
    from relo_jax.eval import by_config

    if args.print_config:
        print(json.dumps(by_config.resolved(config), indent=2))
    else:
        by_config.evaluate_by_config(config)


def set_flags(config: ConfigDict, args: argparse.Namespace) -> None:
    """Sets the fields of the flags that were given. The command line replaces what a file says.

    Raises:
      UserError: a flag and a `--config.field` contradict each other.
    """
    from relo_jax.config.command_line import given_fields

    by_field = given_fields("relo eval", args.fields, config)
    by_flag = {flag: field for flag, field in FIELDS.items() if getattr(args, flag) is not None}
    for flag, field in by_flag.items():
        value = getattr(args, flag)
        section, name = field.split(".")
        if field in by_field and config[section][name] != value:
            other = f"--config.{field}={config[section][name]}"
            raise UserError(
                f"relo eval: --{flag.replace('_', '-')} {value} and {other} contradict each other: give one of them"
            )
        config[section][name] = value
    if args.split is not None:
        config.eval.datasets = _with_split(config.eval.datasets, args.split)
    # An option of the tracker on the command line is for every dataset, whatever the file has for a single one.
    for name in config.tracker:
        if f"tracker.{name}" in {*by_field, *by_flag.values()}:
            for dataset, options in config.benchmarks.items():
                if name in options and f"benchmarks.{dataset}.{name}" not in by_field:
                    options[name] = None


def _with_split(datasets: str, split: str) -> str:
    """A dataset with its split, "got10k/val". Raises UserError if there are several, or another split."""
    if "+" in datasets:
        raise UserError(f"--split {split} is for one dataset: name the split of each, such as lasot/train+got10k/val")
    name, _, other = datasets.partition("/")
    if other not in ("", split):
        raise UserError(f"--split {split} and the dataset {datasets} contradict each other: give one of them")
    return f"{name}/{split}"
