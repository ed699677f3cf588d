"""`relo reproduce`: evaluates a released checkpoint on the paper's benchmarks, beside the published results.

With `--efficiency` it measures parameters, arithmetic and frames/s instead; that needs no checkpoint and no data.
"""

import argparse
from pathlib import Path

from relo_jax.commands.arguments import add_batch, add_dtype, frame_size
from relo_jax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo reproduce`."""
    parser.add_argument("--variant", metavar="NAME", help="t256, b256 or l256 (with --efficiency: default all three)")
    parser.add_argument("--checkpoint", help="such as relo_b256.pth.tar")
    parser.add_argument("--data-root", metavar="DIR", help="folder of the datasets (or RELO_DATA_DIR)")
    text = "only this dataset; may be repeated (default: all of the paper's)"
    parser.add_argument("--dataset", action="append", default=[], metavar="NAME", help=text)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the results (default results/CHECKPOINT)")
    efficiency = parser.add_argument_group("cost instead of accuracy", "Needs no checkpoint and no data.")
    text = "parameters, arithmetic and frames/s beside the paper's (default --out: results/efficiency)"
    efficiency.add_argument("--efficiency", action="store_true", help=text)
    efficiency.add_argument("--frames", type=int, metavar="N", help="number to measure with (default 10)")
    efficiency.add_argument("--size", metavar="WxH", help="of a frame (default 640x480)")
    add_batch(parser)
    parser.set_defaults(batch=None)
    add_dtype(parser)


def run(args: argparse.Namespace) -> None:
    """Evaluates on all datasets that are there, see `relo_jax.eval.reproduce`; or measures the cost.

    Raises:
      UserError: a flag is missing, or belongs to the other of the two.
    """
    if args.efficiency:
        _run_efficiency(args)
        return
    for name, example in (("variant", "b256"), ("checkpoint", "relo_b256.pth.tar")):
        if getattr(args, name) is None:
            raise UserError(f"relo reproduce: --{name} is missing, such as --{name} {example}")
    _refuse(args, ("frames", "size"), "is read with --efficiency only")
    from relo_jax.eval.reproduce import reproduce

    reproduce(
        args.variant, args.checkpoint, args.data_root, out=args.out, datasets=args.dataset, dtype=args.dtype,
        batch=8 if args.batch is None else args.batch,
    )  # fmt: skip


def _run_efficiency(args: argparse.Namespace) -> None:
    from relo_jax.config.published_tables import COST
    from relo_jax.profiling import efficiency

    _refuse(args, ("checkpoint", "data_root", "dataset", "batch"), "is not read with --efficiency")
    frames = 10 if args.frames is None else args.frames
    if frames < 1:
        raise UserError(f"relo reproduce: --frames is {frames}: give at least 1")
    width, height = frame_size("relo reproduce", args.size or "640x480")
    efficiency.measure(
        [args.variant] if args.variant else list(COST), args.dtype or "float32", frames, height, width,
        out=args.out or Path("results/efficiency"),
    )  # fmt: skip


def _refuse(args: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """Raises UserError if one of these flags was given."""
    for name in names:
        if getattr(args, name) not in (None, []):
            raise UserError(f"relo reproduce: --{name.replace('_', '-')} {why}")
