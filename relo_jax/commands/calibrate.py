"""`relo calibrate`: fits a checkpoint's score and its threshold on held-out sequences."""

import argparse
from pathlib import Path

from relo_jax.commands.arguments import add_batch, add_dataset, add_dtype, add_procedural
from relo_jax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo calibrate`."""
    parser.add_argument("--checkpoint", required=True, help="run directory or .msgpack; its config is changed")
    add_dataset(parser, "procedural", split="the held-out split of training")
    add_procedural(parser, count=160, seed=1000)
    text = "share of the frames without the target, or with a wrong box, that may count as found (default 0.05)"
    parser.add_argument("--false-alarms", type=float, default=0.05, metavar="SHARE", help=text)
    add_batch(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for calibration.json and reliability.png (default: that of "
        "the config)",
    )  # fmt: skip
    add_dtype(parser)


def run(args: argparse.Namespace) -> None:
    """Calibrates, writes the weights and the threshold into the checkpoint's config, and prints the figures.

    Raises:
      UserError: the checkpoint has no writable config or cannot track; see `open_sequences` and `calibrate`.
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
    result = calibrate.calibrate(loaded, sequences, args.false_alarms, args.batch)
    about = {
        "checkpoint": str(args.checkpoint), "dtype": loaded.model.config.dtype, "data": data,
        "false_alarms": args.false_alarms,
    }  # fmt: skip
    calibrate.write(result, loaded, file, out, about)
    print(calibrate.table(result, args.false_alarms))
    print(f"written to {file}; {out / calibrate.FILE}, {out / calibrate.PICTURE}")
