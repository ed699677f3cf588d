"""`relo export CHECKPOINT OUT`: the tracker as ONNX graphs with a driver, or as StableHLO."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo export`."""
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="run directory, its checkpoints/<step>, .pth.tar, .safetensors, "
        "hf://org/name, or a starter",
    )  # fmt: skip
    parser.add_argument("output", metavar="OUT", type=Path, help="folder to write; must not exist, or be empty")
    text = "float16 or int8 besides float32, or float16,int8"
    parser.add_argument("--precision", default="float32", metavar="NAMES", help=text)
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="targets at a time (default 1)")
    parser.add_argument("--license", metavar="ID", help="licence of the weights by the hub's identifiers")


def run(args: argparse.Namespace) -> None:
    """Exports, checks and prints how far the graphs are from relo_jax.

    Raises:
      UserError: see `write.export`.
    """
    from relo_jax.export import precision, write

    precisions = precision.parse(args.precision)
    source = write.Source.of(args.checkpoint, args.license)
    described = write.export(source, args.output, precisions, args.batch)
    for name, entry in described["graphs"].items():
        differences = ", ".join(f"{output} {value:.1g}" for output, value in entry["difference"].items())
        print(f"{name}: largest difference from relo_jax: {differences}")
    print(f"written to {args.output}")
