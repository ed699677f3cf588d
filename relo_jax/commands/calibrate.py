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
    parser.add_argument(
        "--false-alarms", type=float, metavar="SHARE", help="share of the frames with a lost target that may count as "
        "found (default: balanced with the share of tracked frames that do not)",
    )  # fmt: skip
    parser.add_argument(
        "--adjust", action="store_true", help="keep the weights of a calibrated checkpoint, and fit only their scale, "
        "the bias and the threshold: for a few sequences of your own",
    )  # fmt: skip
    parser.add_argument(
        "--interruptions", action="store_true", help="track each sequence also with a jump of the camera and with a "
        "cut, where the tracker seldom loses its target",
    )  # fmt: skip
    parser.add_argument(
        "--report-only", action="store_true", help="fit nothing: print how good the checkpoint's score is on the "
        "sequences",
    )  # fmt: skip
    add_batch(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for calibration.json and reliability.png (default: that of "
        "the config), or for score.json and score.png of --report-only",
    )  # fmt: skip
    add_dtype(parser)


def run(args: argparse.Namespace) -> None:
    """Calibrates, writes the weights and the threshold into the checkpoint's config, and prints the figures.

    Raises:
      UserError: the checkpoint has no writable config or cannot track; see `open_sequences` and `calibrate`.
    """
    from relo_jax.checkpoints import load
    from relo_jax.eval import calibrate

    if args.report_only:
        _report(args)
        return
    file = calibrate.config_file(args.checkpoint)
    loaded = load.load_tracker(args.checkpoint, args.dtype)
    out = _folder(args.out or file.parent)
    sequences, data = calibrate.open_sequences(
        args.dataset, args.data_root, args.split, args.one_based, args.count, args.seed
    )
    result = calibrate.calibrate(
        loaded, sequences, args.false_alarms, args.batch, args.adjust, args.interruptions
    )  # fmt: skip
    about = {
        "checkpoint": str(args.checkpoint), "dtype": loaded.model.config.dtype, "data": data,
        "false_alarms": args.false_alarms, "adjusted": args.adjust, "interruptions": args.interruptions,
    }  # fmt: skip
    calibrate.write(result, loaded, file, out, about)
    print(calibrate.table(result))
    print(f"written to {file}; {out / calibrate.FILE}, {out / calibrate.PICTURE}")


def _report(args: argparse.Namespace) -> None:
    from relo_jax.checkpoints import load
    from relo_jax.eval import calibrate, score_report

    for flag, given in (("--adjust", args.adjust), ("--interruptions", args.interruptions),
                        ("--false-alarms", args.false_alarms is not None)):  # fmt: skip
        if given:
            raise UserError(f"{flag} is for a fit, and --report-only fits nothing: leave one of them out")
    loaded = load.load_tracker(args.checkpoint, args.dtype)
    out = None if args.out is None else _folder(args.out)
    sequences, data = calibrate.open_sequences(
        args.dataset, args.data_root, args.split, args.one_based, args.count, args.seed
    )
    report, frames = score_report.measure(loaded, sequences, args.batch)
    print(score_report.table(report))
    if out is not None:
        about = {"checkpoint": str(args.checkpoint), "dtype": loaded.model.config.dtype, "data": data}
        score_report.write(out, report, frames, about)
        print(f"written to {out / score_report.FILE}, {out / score_report.PICTURE}")


def _folder(out: Path) -> Path:
    if not Path(out).is_dir():
        raise UserError(f"--out {out}: there is no such folder")
    return Path(out)
