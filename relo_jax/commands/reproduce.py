"""`relo reproduce`: evaluates a released checkpoint on the paper's benchmarks, beside the published results."""

import argparse
from pathlib import Path

from relo_jax.commands.arguments import add_batch, add_dtype


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo reproduce`."""
    parser.add_argument("--variant", required=True, metavar="NAME", help="t256, b256 or l256")
    parser.add_argument("--checkpoint", required=True, help="such as relo_b256.pth.tar")
    parser.add_argument("--data-root", metavar="DIR", help="folder of the datasets (or RELO_DATA_DIR)")
    text = "only this dataset; may be repeated (default: all of the paper's)"
    parser.add_argument("--dataset", action="append", default=[], metavar="NAME", help=text)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the results (default results/CHECKPOINT)")
    add_batch(parser)
    add_dtype(parser)


def run(args: argparse.Namespace) -> None:
    """Evaluates on all datasets that are there; see `relo_jax.eval.reproduce`."""
    from relo_jax.eval.reproduce import reproduce

    reproduce(
        args.variant, args.checkpoint, args.data_root, out=args.out, batch=args.batch, datasets=args.dataset,
        dtype=args.dtype,
    )  # fmt: skip
