"""`relo COMMAND`: parses the command line and runs one command.

A module of this package is a command: `add_arguments(parser)` and `run(args)`. What a command needs is imported when it
runs, so that `--help` is immediate. A user's mistake (`UserError`) is one line on stderr and exit status 1.
"""

import argparse
import importlib
import sys

import relo_jax
from relo_jax.commands.terminal import ReaderGone, no_lost_interrupts, printing
from relo_jax.compilation_cache import keep_compiled_programs
from relo_jax.errors import UserError

COMMANDS = {  # name of the module -> its line in `relo --help`
    "demo": "the RL stage on procedural clips, evaluation and a video, in minutes",
    "train": "train one stage",
    "study": "small trainings that differ in one thing, compared over seeds",
    "profile": "what a frame of tracking costs, or a training clip (relo profile data)",
    "eval": "a benchmark by its own rules, or a folder of sequences",
    "calibrate": "fit a checkpoint's score on held-out sequences",
    "report": "compare any trackers' result files: one page, plots and tables",
    "pack": "pack results as the zip that an evaluation server takes",
    "reproduce": "measure a released checkpoint beside its published results",
    "track": "follow targets through a video, a camera or a stream",
    "convert": "convert a PyTorch checkpoint to a checkpoint of relo_jax",
    "data": "check, measure and build the datasets on this machine",
}


def parser():
    """The parser of all commands."""
    main = argparse.ArgumentParser(
        prog="relo", description="RELO: single-object tracking by reinforcement learning, in JAX."
    )
    main.add_argument("--version", action="version", version=f"relo_jax {relo_jax.__version__}")
    commands = main.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        module = importlib.import_module(f"relo_jax.commands.{name}")
        command.set_defaults(run=module.run)
        module.add_arguments(command)
    return main


def parse(argv):
    """Arguments of a command line; `fields` holds the `--config.*` flags of a command that takes some.

    Exits, as argparse does, where an argument is unknown.
    """
    parse_all = parser()
    args, rest = parse_all.parse_known_args(argv)
    if hasattr(args, "fields"):
        args.fields = rest
    elif rest:
        parse_all.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


def main(argv=None):
    """Runs one command; returns the exit status: what the command's `run` returns, None being 0."""
    keep_compiled_programs()
    try:
        with no_lost_interrupts(), printing():
            args = parse(sys.argv[1:] if argv is None else list(argv))
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
