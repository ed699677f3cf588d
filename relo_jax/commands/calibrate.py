"""`relo calibrate`: fits a checkpoint's score and its threshold on held-out sequences."""

from pathlib import Path

from relo_jax.commands.arguments import add_dtype, add_sequences
from relo_jax.errors import UserError


def add_arguments(parser):
    """The arguments of `relo calibrate`."""
    parser.add_argument("--checkpoint", required=True, help="run directory or .msgpack; its config is changed")
    parser.add_argument("--dataset", default="procedural", metavar="NAME", help="such as got10k; default procedural")
    parser.add_argument("--split", help="such as val (default: what the dataset's training is checked with)")
    add_sequences(parser, count=160, seed=1000)
    text = "of the frames without the target or with a wrong box, how many may count as found (default 0.05)"
    parser.add_argument("--false-alarms", type=float, default=0.05, metavar="SHARE", help=text)
    parser.add_argument("--batch", type=int, default=8, help="sequences at a time (default 8)")
    parser.add_argument("--out", type=Path, help="folder of calibration.json and reliability.png (the checkpoint's)")
    add_dtype(parser)


def run(args):
    """Calibrates, writes the weights and the threshold into the checkpoint's config, and prints the figures.

    Raises:
      UserError: the checkpoint has no config to write to or cannot track; see `open_sequences` and `calibrate`.
    """
    from relo_jax.checkpoints import load
    from relo_jax.eval import calibrate

    file = calibrate.config_file(args.checkpoint)
    loaded = load.load_tracker(args.checkpoint, args.dtype)
    out = Path(args.out or file.parent)
    if not out.is_dir():
        raise UserError(f"--out {out}: there is no such folder")
    sequences, data = calibrate.open_sequences(
        args.dataset, args.data_root, args.split, args.one_based, args.count, args.seed
    )
    found = calibrate.calibrate(loaded, sequences, args.false_alarms, args.batch)
    about = {
        "checkpoint": str(args.checkpoint), "dtype": loaded.model.config.dtype, "data": data,
        "false_alarms": args.false_alarms,
    }  # fmt: skip
    calibrate.write(found, loaded, file, out, about)
    print(calibrate.table(found, args.false_alarms))
    print(f"written to {file}; {out / calibrate.FILE}, {out / calibrate.PICTURE}")
