"""`relo COMMAND`: parses the command line and runs one command.

Each command is a module of this package with `add_arguments(parser)` and `run(args)`. It imports what it needs when it
runs, so that `--help` is immediate. A user's mistake (`UserError`) is one line on stderr and exit status 1.
"""

import argparse
import difflib
import errno
import importlib
import sys
from collections.abc import Sequence

import relo_jax
from relo_jax.commands.terminal import ReaderGone, no_lost_interrupts, printing
from relo_jax.compilation_cache import keep_compiled_programs, silence_compiler
from relo_jax.errors import UserError, did_you_mean
from relo_jax.extras import not_installed
from relo_jax.interrupts import leave

# Errors of any file operation that are no bugs: a full disk, a quota, a read-only disk, a name of 5,000 characters.
_OF_THE_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG)

COMMANDS = {  # name of the module -> its line in `relo --help`
    "demo": "train a small model on procedural clips, evaluate it and write a video, in minutes",
    "train": "train one stage, or continue it",
    "rehearse": "run the whole paper in miniature, and forecast the time and disk of the real thing",
    "study": "compare small trainings that differ in one thing, over several seeds",
    "profile": "measure the cost of tracking a frame, or of a training clip (relo profile data)",
    "plan": "say what training or tracking costs on a GPU or a TPU slice that is not there",
    "eval": "evaluate a tracker on a benchmark by its own rules, or on a folder of sequences",
    "calibrate": "fit a checkpoint's score on held-out sequences",
    "report": "compare the result files of any trackers: one page, plots and tables",
    "pack": "pack results as the zip that an evaluation server takes",
    "reproduce": "evaluate a released checkpoint beside its published results",
    "track": "follow targets through a video, a camera or a stream",
    "convert": "convert a PyTorch checkpoint to a checkpoint of relo_jax",
    "export": "write a tracker as ONNX graphs with a driver that needs no JAX",
    "web": "track in the browser: serve the page of an exported tracker",
    "push": "upload a checkpoint to the Hugging Face hub",
    "data": "check, measure and build the datasets on this machine",
}


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    main = argparse.ArgumentParser(
        prog="relo", description="RELO: single-object tracking by reinforcement learning, in JAX."
    )
    main.add_argument("--version", action="version", version=f"relo_jax {relo_jax.__version__}")
    commands = main.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        module = importlib.import_module(f"relo_jax.commands.{name}")
        command.set_defaults(run=module.run, parser=command)
        module.add_arguments(command)
    return main


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command line; `fields` has the `--config.*` flags of a command that takes them.

    Exits as argparse does if the command or an argument is unknown.
    """
    parse_all = parser()
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        parse_all.error(f"no command is called {argv[0]!r}{did_you_mean(argv[0], COMMANDS)}")
    args, unknown = parse_all.parse_known_args(argv)
    if hasattr(args, "fields"):
        args.fields, unknown = _fields(unknown)
    if unknown:
        flags = [flag for action in args.parser._actions for flag in action.option_strings]
        meant = difflib.get_close_matches(unknown[0].partition("=")[0], flags, n=1)
        hint = f" (did you mean {meant[0]}?)" if meant else ""
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return args


def _fields(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits arguments into the `--config.*` flags, each with its value if that is apart, and all others."""
    if not arguments:
        return [], []
    from relo_jax.config.command_line import is_flag

    fields: list[str] = []
    others: list[str] = []
    takes_value = False
    for argument in arguments:
        is_field = argument.startswith(("--config.", "--noconfig."))
        is_value = takes_value and not is_flag(argument)
        (fields if is_field or is_value else others).append(argument)
        takes_value = is_field and "=" not in argument
    return fields, others


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status: that of the command's `run`, 0 for None."""
    status = _status(argv)
    leave(status)
    return status


def _status(argv: Sequence[str] | None) -> int:
    keep_compiled_programs()
    silence_compiler()
    try:
        with no_lost_interrupts(), printing():
            args = parse(sys.argv[1:] if argv is None else list(argv))
            return _run(args) or 0
    except UserError as error:
        print(f"relo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("relo: interrupted", file=sys.stderr)
        return 130
    except ReaderGone:
        return 141  # as in a shell for a process that SIGPIPE ended


def _run(args: argparse.Namespace) -> int | None:
    """Runs the command. Raises UserError also for a package that is not installed, and for a full disk."""
    try:
        return args.run(args)
    except ModuleNotFoundError as error:
        missing = not_installed(error, f"relo {args.command}")
        if missing is None:
            raise
        raise missing from error
    except OSError as error:
        if error.errno not in _OF_THE_SYSTEM or not error.filename:  # without a name, it is of the standard output
            raise
        raise UserError(f"{str(error.filename)[:200]}: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
