"""`relo <command>`: parses, calls one function, prints. What a command needs is imported when it runs.

A mistake of the user's (`UserError`) is one line on stderr and exit status 1, never a traceback.
"""

import argparse
import ast
import sys
from pathlib import Path

import relo_jax
from relo_jax.compilation_cache import keep_compiled_programs
from relo_jax.errors import UserError
from relo_jax.terminal import ReaderGone, no_lost_interrupts, printing


def demo_command(args):
    """`relo demo`."""
    from relo_jax import demo

    demo.run(args.workdir or ("runs/demo-full" if args.full else "runs/demo"), seed=args.seed, full=args.full)


def eval_command(args):
    """`relo eval`."""
    from relo_jax.eval import runner

    runner.eval_command(
        args.checkpoint, args.data_root, args.dataset, split=args.split, batch=args.batch, out=args.out,
        one_based=args.one_based, rules=args.rules, count=args.count, seed=args.seed, options=tracker_options(args),
        dtype=args.dtype,
    )  # fmt: skip


def report_command(args):
    """`relo report`."""
    from relo_jax import report_command

    report_command.report_command(
        args.results, args.dataset, args.data_root, split=args.split, out=args.out, one_based=args.one_based,
        one_based_results=args.one_based_results, against=args.against, worst=args.worst, resamples=args.resamples,
    )  # fmt: skip


def pack_command(args):
    """`relo pack`."""
    from relo_jax.eval.results import pack

    pack.pack_command(args.server, args.results, args.out, args.data_root)


def reproduce_command(args):
    """`relo reproduce`."""
    from relo_jax.eval import reproduce

    reproduce.reproduce_command(
        args.variant, args.checkpoint, args.data_root, out=args.out, batch=args.batch, datasets=args.dataset,
        dtype=args.dtype,
    )  # fmt: skip


def track_command(args):
    """`relo track`."""
    from relo_jax import track_command

    track_command.track_command(
        args.source, args.box, args.checkpoint, args.save, args.json, args.txt, tracker_options(args), args.chunk,
        show=args.show, timeout=args.timeout, retries=args.retries, dtype=args.dtype,
    )  # fmt: skip


def calibrate_command(args):
    """`relo calibrate`."""
    from relo_jax import calibrate_command

    calibrate_command.calibrate_command(
        args.checkpoint, args.dataset, args.data_root, args.split, one_based=args.one_based, count=args.count,
        seed=args.seed, false_alarms=args.false_alarms, batch=args.batch, out=args.out, dtype=args.dtype,
    )  # fmt: skip


def convert_command(args):
    """`relo convert`."""
    from relo_jax import convert_command

    convert_command.convert_command(args.input, args.output, args.variant, dict(args.set), args.ignore)


def data_check_command(args):
    """`relo data check`; its exit status says whether the dataset can be used as it is."""
    from relo_jax import data_command

    return data_command.check_command(
        args.name, args.root, args.split, frames=args.frames, json_path=args.json, **cache_of(args)
    )


def data_stats_command(args):
    """`relo data stats`."""
    from relo_jax import data_command

    data_command.stats_command(args.names, args.root, json_path=args.json, **cache_of(args))


def data_build_command(args):
    """`relo data build`."""
    from relo_jax import data_command

    size = {"shard_mib": args.shard_mib} if args.shard_mib is not None else {}
    data_command.build_command(args.name, args.out, args.root, args.split, **size, **cache_of(args), tiles=args.tiles)


def train_command(argv):
    """`relo train`."""
    from relo_jax.train import loop

    loop.train_command(argv)


def study_command(args):
    """`relo study`."""
    from relo_jax.study import command

    command.study_command(args.name, args.seeds, args.workdir, args.data_root, args.scale)


def profile_command(argv):
    """`relo profile`."""
    if argv[:1] == ["data"]:
        from relo_jax.profiling import clip

        return clip.profile_command(argv[1:])
    from relo_jax.profiling import frame

    return frame.profile_command(argv)


def parser():
    """The parser of every command but `train` and `profile`, whose flags are the fields of a config."""
    main = argparse.ArgumentParser(
        prog="relo", description="RELO: single-object tracking by reinforcement learning, in JAX."
    )
    main.add_argument("--version", action="version", version=f"relo_jax {relo_jax.__version__}")
    commands = main.add_subparsers(dest="command", metavar="COMMAND", required=True)

    for add_some in (add_training, add_evaluation, add_tracking, add_convert, add_data_commands):
        add_some(commands)
    return main


def add_training(commands):
    """Demo, training, studies and profiles."""
    demo = add(commands, "demo", demo_command, "the RL stage on procedural clips, evaluation and a video, in minutes")
    demo.add_argument("--full", action="store_true", help="both training stages, from nothing")
    demo.add_argument("--seed", type=int, default=0, help="of the heads, the actions and the training clips")
    demo.add_argument("--workdir", type=Path, help="where all goes (default runs/demo or runs/demo-full)")

    add(commands, "train", None, "train one stage: relo train --help")

    study = add(commands, "study", study_command, "small trainings that differ in one thing, compared over seeds")
    study.add_argument("name", metavar="NAME", help="such as heatmap_vs_reward (docs/study.md has them all)")
    study.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of each arm (default 3)")
    study.add_argument("--workdir", type=Path, default="runs/study", help="of all studies (default runs/study)")
    study.add_argument("--data-root", help="folder of real sequences to evaluate on, too")
    study.add_argument("--scale", type=float, default=1.0, metavar="X", help="factor on all numbers of steps")

    add(commands, "profile", None, "what a frame of tracking costs, or a training clip (relo profile data)")


def add_evaluation(commands):
    """Benchmarks, the score, and what is made of results."""
    evaluate = add(commands, "eval", eval_command, "a benchmark by its own rules, or a folder of sequences")
    evaluate.add_argument("--data-root", help="folder of the datasets, or of sequences (or RELO_DATA_DIR)")
    evaluate.add_argument("--dataset", default="folder", metavar="NAME", help="such as lasot; folder, procedural")
    evaluate.add_argument("--split", help="such as val, of got10k (default: test)")
    evaluate.add_argument("--out", type=Path, help="folder of results (default results/CHECKPOINT/DATASET)")
    evaluate.add_argument("--batch", type=int, default=8, help="sequences at a time (default 8)")
    evaluate.add_argument("--one-based", action="store_true", help="the annotations of the folder count pixels from 1")
    rules = ["plain", "lasot", "lasot_ext", "uav123"]
    evaluate.add_argument("--rules", choices=rules, help="what frames without a target count for (default: NAME's own)")
    evaluate.add_argument("--count", type=int, help="how many procedural sequences (default 20)")
    evaluate.add_argument("--seed", type=int, help="which procedural sequences (default 0)")
    add_tracker(evaluate)

    calibrate = add(commands, "calibrate", calibrate_command, "fits a checkpoint's score on held-out sequences")
    calibrate.add_argument("--checkpoint", required=True, help="run directory or .msgpack; its config is changed")
    calibrate.add_argument("--dataset", default="procedural", metavar="NAME", help="such as got10k; default procedural")
    calibrate.add_argument("--data-root", help="folder of the datasets, or of sequences (or RELO_DATA_DIR)")
    calibrate.add_argument("--split", help="such as val (default: what the dataset's training is checked with)")
    calibrate.add_argument("--one-based", action="store_true", help="the annotations of a folder count pixels from 1")
    text = "of the frames without the target or with a wrong box, how many may count as found (default 0.05)"
    calibrate.add_argument("--false-alarms", type=float, default=0.05, metavar="SHARE", help=text)
    calibrate.add_argument("--count", type=int, help="how many procedural sequences (default 160)")
    calibrate.add_argument("--seed", type=int, help="which procedural sequences (default 1000)")
    calibrate.add_argument("--batch", type=int, default=8, help="sequences at a time (default 8)")
    calibrate.add_argument("--out", type=Path, help="folder of calibration.json and reliability.png (the checkpoint's)")
    add_dtype(calibrate)

    report = add(commands, "report", report_command, "any trackers' result files compared: one page, plots and tables")
    report.add_argument("results", nargs="+", metavar="NAME=FOLDER", help="result files of a tracker; or FOLDER alone")
    report.add_argument("--data-root", help="folder of the datasets, or of sequences (or RELO_DATA_DIR)")
    report.add_argument("--dataset", default="folder", metavar="NAME", help="such as lasot (default: folder)")
    report.add_argument("--split", help="such as val, of got10k (default: test)")
    report.add_argument("--out", type=Path, default="results/report", help="folder to write (default results/report)")
    report.add_argument("--against", metavar="NAME", help="the tracker the others are compared with (default: first)")
    report.add_argument("--worst", type=int, default=4, metavar="N", help="its worst sequences to show (default 4)")
    report.add_argument("--resamples", type=int, default=10_000, metavar="N", help="of the bootstrap (default 10000)")
    report.add_argument("--one-based", action="store_true", help="the annotations of the folder count pixels from 1")
    report.add_argument(
        "--one-based-results", action="append", default=[], metavar="NAME", help="so do this tracker's files"
    )

    pack = add(commands, "pack", pack_command, "results as the zip that an evaluation server takes")
    pack.add_argument("server", choices=["got10k", "trackingnet"], help="whose test split the results are of")
    pack.add_argument("results", metavar="RESULTS", type=Path, help="folder of one tracker's results")
    pack.add_argument("--out", required=True, metavar="FILE.zip", type=Path, help="the zip to write")
    pack.add_argument("--data-root", help="the dataset, or folder of datasets, to check against")

    reproduce = add(commands, "reproduce", reproduce_command, "a released checkpoint, measured beside published")
    reproduce.add_argument("--variant", required=True, help="t256, b256 or l256")
    reproduce.add_argument("--checkpoint", required=True, help="such as relo_b256.pth.tar")
    reproduce.add_argument("--data-root", help="folder of the datasets (or RELO_DATA_DIR)")
    reproduce.add_argument("--dataset", action="append", default=[], metavar="NAME", help="only this (repeat for more)")
    reproduce.add_argument("--out", type=Path, help="folder of the results (default results/CHECKPOINT)")
    reproduce.add_argument("--batch", type=int, default=8, help="sequences at a time (default 8)")
    add_dtype(reproduce)


def add_tracking(commands):
    """Videos, cameras and streams."""
    track = add(commands, "track", track_command, "follow targets through a video, a camera or a stream")
    track.add_argument(
        "source", help="video file, folder of frames, index of a camera (0), or address (rtsp://, http://, udp:// ...)"
    )
    track.add_argument(
        "--box", action="append", metavar="X,Y,W,H", help="a target in the first frame, pixels, 0-based; again for "
        "each further target (default: select one in a window)",
    )  # fmt: skip
    track.add_argument("--save", metavar="FILE.mp4", help="video with the boxes drawn on it")
    track.add_argument("--json", metavar="FILE", help="boxes and scores; FILE.jsonl or -: a line a frame, at once")
    track.add_argument("--txt", metavar="FILE", help="boxes, one line x,y,w,h a frame; several targets: a file each")
    track.add_argument(
        "--show", action=argparse.BooleanOptionalAction, help="a window: space pauses, a drag selects again, q ends "
        "(default: for cameras and streams, in a terminal with a display, and where no --box is given)",
    )  # fmt: skip
    track.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds without a frame after which a "
        "camera has stalled and a stream is opened again (default 10)")  # fmt: skip
    track.add_argument("--retries", type=int, default=5, metavar="N", help="how often in a row before it is the end "
        "(default 5; 0: at once, -1: never)")  # fmt: skip
    track.add_argument("--chunk", type=int, metavar="N", help="frames of a file at a time: more frames/s, each later")
    add_tracker(track).add_argument(
        "--found-threshold", type=float, metavar="S", help="score from which a target counts as found"
    )


def add_convert(commands):
    """The authors' checkpoints."""
    convert = add(commands, "convert", convert_command, "a PyTorch checkpoint to a checkpoint of relo_jax")
    convert.add_argument("input", metavar="IN", type=Path, help=".pth.tar of RELO, or .pt of an ImageNet Fast-iTPN")
    convert.add_argument("output", metavar="OUT", type=Path, help="directory to write; it must not exist yet")
    convert.add_argument(
        "--ignore", action="append", default=[], metavar="PATTERN", help="tensors to leave out, such as 'mask_*'"
    )
    convert.add_argument("--variant", help="name of the variant (found from the shapes when not given)")
    convert.add_argument(
        "--set", action="append", type=field, default=[], metavar="FIELD=VALUE", help="a field of the model, heads=3"
    )


def add_data_commands(commands):
    """`relo data`."""
    data = add(commands, "data", None, "datasets on this machine: check, measure and build them")
    parts = data.add_subparsers(dest="part", metavar="PART", required=True)

    check = add(parts, "check", data_check_command, "what is wrong with a dataset, and what to do about it")
    check.add_argument("name", metavar="NAME", help="such as got10k, or folder")
    check.add_argument("--split", help="only this one, such as train")
    check.add_argument("--frames", default="sample", choices=["sample", "all"], help="images to decode (some of each)")
    check.add_argument("--json", type=Path, metavar="FILE", help="what was found")
    add_data(check)

    stats = add(parts, "stats", data_stats_command, "sizes of datasets and of what is in them")
    stats.add_argument("names", nargs="*", metavar="NAME", help="such as got10k (default: all below the root)")
    stats.add_argument("--json", type=Path, metavar="FILE", help="the figures")
    add_data(stats)

    build = add(parts, "build", data_build_command, "a dataset as shards of records, for a bucket or a slow disk")
    build.add_argument("name", metavar="NAME", help="such as got10k")
    build.add_argument("--out", required=True, metavar="DIR", help="folder of built datasets, local or gs://")
    build.add_argument("--split", action="append", help="only this one, such as train; may be given more than once")
    build.add_argument("--shard-mib", type=float, metavar="MIB", help="size of a shard (default 256)")
    build.add_argument(
        "--tiles", action=argparse.BooleanOptionalAction, help="the same pixels as JPEG in tiles, of which training "
        "decodes only some (default: where jpegtran is installed)",
    )  # fmt: skip
    add_data(build)


def add_data(command):
    """Where datasets are, and where what was learnt about them is kept."""
    command.add_argument("--root", type=Path, help="the dataset's folder, or the one it is in (default RELO_DATA_DIR)")
    command.add_argument("--cache", type=Path, help="where indices are kept (default runs/data_index)")


def cache_of(args):
    """The option of `add_data`, if it was given."""
    return {"cache": args.cache} if args.cache else {}


def add_tracker(command):
    """Which checkpoint, and how it is used; what is not given is the checkpoint's own. Returns the group of options."""
    command.add_argument(
        "--checkpoint",
        default="starter",
        help="run directory, its checkpoints/<step>, .pth.tar, or a small model of relo_jax (starter, starter-tiny)",
    )
    add_dtype(command)
    options = command.add_argument_group("tracker", "What is not given is as the checkpoint has it.")
    options.add_argument("--window-power", type=float, metavar="K", help="preference for the middle of the region")
    options.add_argument("--update-interval", type=int, metavar="N", help="frames between template updates; 0: none")
    options.add_argument("--update-threshold", type=float, metavar="R", help="response above which it is updated")
    return options


def add_dtype(command):
    """What the network is computed in."""
    command.add_argument("--dtype", choices=["float32", "bfloat16"], help="to compute in (default: the checkpoint's)")


def tracker_options(args):
    """The options of `add_tracker` that were given."""
    names = ("window_power", "update_interval", "update_threshold", "found_threshold")
    return {name: value for name in names if (value := getattr(args, name, None)) is not None}


def field(text):
    """`heads=3` -> ("heads", 3); what is no Python literal is a string, `dtype=bfloat16` -> ("dtype", "bfloat16")."""
    name, _, value = text.partition("=")
    if not (name and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=VALUE, such as heads=3")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def add(commands, name, run, text):
    """A subcommand with its function and its line of help."""
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(run=run)
    return command


def main(argv=None):
    """Runs one command; returns the exit status: what the command's function returns, None being 0."""
    argv = sys.argv[1:] if argv is None else list(argv)
    keep_compiled_programs()
    try:
        with no_lost_interrupts(), printing():
            if argv[:1] in (["train"], ["profile"]):
                {"train": train_command, "profile": profile_command}[argv[0]](argv[1:])
                return 0
            args = parser().parse_args(argv)
            return args.run(args) or 0
    except UserError as error:
        print(f"relo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("relo: interrupted", file=sys.stderr)
        return 130
    except ReaderGone:
        return 141  # as a shell counts what SIGPIPE ended


if __name__ == "__main__":
    sys.exit(main())
