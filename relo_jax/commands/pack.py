"""`relo pack`: results as the zip that an evaluation server takes."""

from pathlib import Path

_SHOWN = 20  # problems, notes


def add_arguments(parser):
    """The arguments of `relo pack`."""
    parser.add_argument("server", choices=["got10k", "trackingnet"], help="whose test split the results are of")
    parser.add_argument("results", metavar="RESULTS", type=Path, help="folder of one tracker's results")
    parser.add_argument("--out", required=True, metavar="FILE.zip", type=Path, help="the zip to write")
    parser.add_argument("--data-root", help="the dataset, or folder of datasets, to check against")


def run(args):
    """Packs, and prints what was packed, or every problem.

    Raises:
      UserError: see `pack`.
    """
    from relo_jax.eval.results.pack import SERVERS, PackError, pack

    try:
        packed = pack(args.server, args.results, args.out, args.data_root)
    except PackError as error:
        _print_some(error.problems)
        raise
    _print_some(packed.notes)
    print(f"{packed.sequences} sequences, {packed.boxes:,} boxes")
    if packed.counted < packed.sequences:
        print(f"whether every frame has one was checked for {packed.counted} of them: --data-root has the frames")
    print(f"written to {args.out}, for {SERVERS[args.server].where}")


def _print_some(lines):
    for line in lines[:_SHOWN]:
        print(line)
    if len(lines) > _SHOWN:
        print(f"and {len(lines) - _SHOWN} more")
