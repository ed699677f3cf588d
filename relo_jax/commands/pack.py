"""`relo pack`: packs results as the zip that an evaluation server takes."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from relo_jax.eval.servers import SERVERS

_SHOWN = 20  # problems or notes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo pack`."""
    parser.add_argument("server", choices=list(SERVERS), help="the dataset whose test split was tracked")
    parser.add_argument("results", metavar="RESULTS", type=Path, help="folder of one tracker's results")
    parser.add_argument("--out", required=True, metavar="FILE.zip", type=Path, help="the zip to write")
    root = "the dataset or the folder of datasets, to check the results against (or RELO_DATA_DIR)"
    parser.add_argument("--data-root", metavar="DIR", help=root)
    floats = "keep the fractions of boxes (default: whole numbers, as in the zips behind published numbers)"
    parser.add_argument("--float-boxes", action="store_true", help=floats)


def run(args: argparse.Namespace) -> None:
    """Packs, and prints the numbers of sequences and boxes, or the problems.

    Raises:
      UserError: see `pack`.
    """
    from relo_jax.eval.results.pack import PackError, pack

    try:
        packed = pack(args.server, args.results, args.out, args.data_root, args.float_boxes)
    except PackError as error:
        _print_some(error.problems)
        raise
    _print_some(packed.notes)
    print(f"{packed.sequences} sequences, {packed.boxes:,} boxes; {packed.what}")
    if packed.checked < packed.sequences:
        print(f"the number of frames was checked for {packed.checked} of them: give --data-root to check all")
    print(f"written to {args.out}, for {SERVERS[args.server].address}")


def _print_some(lines: Sequence[str]) -> None:
    for line in lines[:_SHOWN]:
        print(line)
    if len(lines) > _SHOWN:
        print(f"and {len(lines) - _SHOWN} more")
