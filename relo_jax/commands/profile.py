"""`relo profile` and `relo profile data`: measure the cost of a frame of tracking, or of a training clip."""

import argparse
import sys
from pathlib import Path
from typing import Any

from relo_jax.commands.arguments import frame_size
from relo_jax.errors import UserError
from relo_jax.files import json_file

# Options of each measurement, with their defaults.
_FRAME: dict[str, Any] = {"variant": None, "dtype": "float32", "frames": 30, "size": "640x480", "trace": None}
_CLIP: dict[str, Any] = {"config": None, "clips": 64, "steps": 10, "fields": []}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo profile`, and of `relo profile data`."""
    parser.add_argument("part", nargs="?", choices=["data"], help="measure a training clip instead of a frame")
    frame = parser.add_argument_group("a frame of tracking")
    frame.add_argument("--variant", metavar="NAME", help="such as t256 or b256")
    frame.add_argument("--dtype", choices=["float32", "bfloat16"], help="(default float32)")
    frame.add_argument("--frames", type=int, metavar="N", help="number to measure with (default 30)")
    frame.add_argument("--size", metavar="WxH", help="of a frame (default 640x480)")
    frame.add_argument("--trace", type=Path, metavar="DIR", help="write a trace of ten frames for TensorBoard")
    clip = parser.add_argument_group("a training clip", "--config and --config.field=value are as in relo train.")
    clip.add_argument("--config", metavar="NAME[:stage]", help="such as b256:rl, or a file of yours: FILE.py:rl")
    clip.add_argument("--clips", type=int, metavar="N", help="number to measure with (default 64)")
    clip.add_argument("--steps", type=int, metavar="N", help="training steps to measure; 0: none (default 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.set_defaults(**_FRAME, **_CLIP)


def run(args: argparse.Namespace) -> None:
    """Measures and prints.

    Raises:
      UserError: bad flags, config or data; a file that cannot be written.
    """
    if args.part == "data":
        _run_data(args)
    else:
        _run_frame(args)


def _refuse(args: argparse.Namespace, options: dict[str, Any], command: str, other: str) -> None:
    """Raises UserError if an option of the other measurement was given."""
    for name, default in options.items():
        if getattr(args, name) != default:
            flag = args.fields[0] if name == "fields" else f"--{name}"
            raise UserError(f"{command}: {flag} belongs to {other}")


def _run_frame(args: argparse.Namespace) -> None:
    from relo_jax.profiling import frame

    _refuse(args, _CLIP, "relo profile", "relo profile data")
    if not args.variant:
        raise UserError("relo profile: --variant is missing, such as --variant t256")
    if args.frames < 1:
        raise UserError(f"relo profile: --frames is {args.frames}: give at least 1")
    width, height = frame_size("relo profile", args.size)
    with json_file(args.json) as write:
        row = frame.measure(args.variant, args.dtype, args.frames, height, width, args.trace)
        print(frame.table(row))
        write(row)
    if args.trace:
        print(f"trace: tensorboard --logdir {args.trace}", file=sys.stderr)


def _run_data(args: argparse.Namespace) -> None:
    from relo_jax.config.command_line import read_config
    from relo_jax.profiling import clip

    _refuse(args, _FRAME, "relo profile data", "relo profile")
    if args.clips < 1 or args.steps < 0:
        raise UserError("relo profile data: --clips is at least 1 and --steps at least 0")
    config = read_config("relo profile data", args.config, args.fields)
    with json_file(args.json) as write:
        row = clip.measure(config, args.clips, args.steps)
        write(row)
    print(clip.table(row))
