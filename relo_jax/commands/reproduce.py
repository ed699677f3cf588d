"""`relo reproduce`: a released checkpoint on the paper's benchmarks, measured beside published."""

from pathlib import Path

from relo_jax.commands.arguments import add_dtype


def add_arguments(parser):
    """The arguments of `relo reproduce`."""
    parser.add_argument("--variant", required=True, help="t256, b256 or l256")
    parser.add_argument("--checkpoint", required=True, help="such as relo_b256.pth.tar")
    parser.add_argument("--data-root", help="folder of the datasets (or RELO_DATA_DIR)")
    parser.add_argument("--dataset", action="append", default=[], metavar="NAME", help="only this (repeat for more)")
    parser.add_argument("--out", type=Path, help="folder of the results (default results/CHECKPOINT)")
    parser.add_argument("--batch", type=int, default=8, help="sequences at a time (default 8)")
    add_dtype(parser)


def run(args):
    """Evaluates on all datasets that are there; see `relo_jax.eval.reproduce`."""
    from relo_jax.eval.reproduce import reproduce

    reproduce(
        args.variant, args.checkpoint, args.data_root, out=args.out, batch=args.batch, datasets=args.dataset,
        dtype=args.dtype,
    )  # fmt: skip
