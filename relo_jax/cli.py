"""`relo <command>`: parses, calls one function, prints. What a command needs is imported when it runs.

A mistake of the user's (`UserError`) is one line on stderr and exit status 1, never a traceback.
"""

import argparse
import os
import sys
from pathlib import Path

import relo_jax
from relo_jax.errors import UserError


def demo_command(args):
    from relo_jax import demo

    demo.run(args.workdir or ("runs/demo-full" if args.full else "runs/demo"), seed=args.seed, full=args.full)


def convert_command(args):
    from relo_jax import convert_command

    convert_command.convert_command(args.input, args.output, args.variant)


def train_command(argv):
    from relo_jax.train import loop

    loop.train_command(argv)


def parser():
    """The parser of every command but `train`, whose flags are the fields of a config and parsed with it."""
    main = argparse.ArgumentParser(
        prog="relo", description="RELO: single-object tracking by reinforcement learning, in JAX."
    )
    main.add_argument("--version", action="version", version=f"relo_jax {relo_jax.__version__}")
    commands = main.add_subparsers(dest="command", metavar="COMMAND", required=True)

    demo = add(commands, "demo", demo_command, "the RL stage on procedural clips, evaluation and a video, in minutes")
    demo.add_argument("--full", action="store_true", help="both training stages, from nothing")
    demo.add_argument("--seed", type=int, default=0, help="of the heads, the actions and the training clips")
    demo.add_argument("--workdir", type=Path, help="what the demo leaves (default runs/demo, with --full runs/demo-full)")

    add(commands, "train", None, "train one stage: relo train --help")

    convert = add(commands, "convert", convert_command, "a PyTorch checkpoint of the authors' to a checkpoint of relo_jax")
    convert.add_argument("input", metavar="IN", type=Path, help=".pth.tar of RELO, or .pt of an ImageNet Fast-iTPN")
    convert.add_argument("output", metavar="OUT", type=Path, help="directory to write; it must not exist yet")
    convert.add_argument("--variant", help="name of the variant (found from the shapes when not given)")
    return main


def add(commands, name, run, text):
    """A subcommand with its function and its line of help."""
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(run=run)
    return command


def keep_compiled_programs():
    """Keeps what XLA compiled on the disk, so that the second start of a command is quick.

    By environment variables, before JAX is imported; a user's own settings of them count.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "relo_jax" / "compiled"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")


def main(argv=None):
    """Runs one command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    keep_compiled_programs()
    try:
        if argv[:1] == ["train"]:
            train_command(argv[1:])
        else:
            args = parser().parse_args(argv)
            args.run(args)
    except UserError as error:
        print(f"relo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("relo: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
