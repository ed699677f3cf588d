"""`relo track`: follows targets through a video; writes the boxes as a video, text and JSON."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from relo_jax.commands.arguments import add_backend, add_tracker, tracker_options
from relo_jax.errors import UserError

if TYPE_CHECKING:
    from relo_jax.tracking.part import Part


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo track`."""
    parser.add_argument(
        "source",
        nargs="?",
        help="video file, folder of frames, index of a camera (0), or address (rtsp://, http://, udp:// ...)",
    )
    parser.add_argument(
        "--box", action="append", metavar="X,Y,W,H", help="a target in the first frame, or in that of --from, in "
        "0-based pixels; repeat for more targets (default: select one in a window)",
    )  # fmt: skip
    parser.add_argument("--example", action="store_true", help="track in the short clip that relo_jax comes with")
    parser.add_argument("--save", metavar="FILE.mp4", help="write a video with the boxes drawn")
    parser.add_argument(
        "--heatmap", action="store_true", help="draw where the policy looks into the video and the window"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write boxes and scores; FILE.jsonl or -: a line per frame, immediately"
    )
    parser.add_argument("--txt", metavar="FILE", help="write boxes, a line x,y,w,h per frame; a file for each target")
    parser.add_argument(
        "--show", action=argparse.BooleanOptionalAction, help="open a window: space pauses, dragging selects a new "
        "target, q ends (default: for cameras and streams in a terminal with a display, and without --box)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="S", help="seconds without a frame after which a camera counts "
        "as stalled and a stream is opened again (default 10)",
    )  # fmt: skip
    parser.add_argument(
        "--retries", type=int, default=5, metavar="N", help="attempts in a row to open a stream again before "
        "tracking ends (default 5; 0: none, -1: no limit)",
    )  # fmt: skip
    parser.add_argument(
        "--chunk", type=int, metavar="N", help="track N frames of a file at a time: more frames/s, but more delay"
    )
    _add_boxes(parser)
    _add_part(parser)
    add_backend(parser)
    options = add_tracker(parser)
    options.add_argument("--found-threshold", type=float, metavar="S", help="a lower score is low")
    options.add_argument(
        "--found-frames", type=int, metavar="N", help="low scores in a row until the target counts as lost"
    )


def _add_boxes(parser: argparse.ArgumentParser) -> None:
    """Files of boxes."""
    group = parser.add_argument_group(
        "files of boxes", "MOT (.txt), COCO-VID (.json), CVAT for video (.xml), CSV (.csv)."
    )
    group.add_argument(
        "--save-boxes", action="append", default=[], metavar="FILE", help="write boxes for other tools; may be repeated"
    )
    group.add_argument(
        "--boxes-format", metavar="NAME", help="mot, coco-vid, cvat or csv: of --save-boxes (default: by the suffix), "
        "and of --box-from if its suffix tells none",
    )  # fmt: skip
    group.add_argument("--box-from", metavar="FILE", help="begin with the first box of each target in this file")
    group.add_argument(
        "--id",
        action="append",
        type=int,
        default=[],
        metavar="N",
        help="only this target of --box-from; repeat for more",
    )
    group.add_argument("--every-box", action="store_true", help="begin anew at each further box of --box-from")


def _add_part(parser: argparse.ArgumentParser) -> None:
    """The part of a film, and the way through it."""
    group = parser.add_argument_group("part of a film", "A frame's number from 0, or a time: 4.5s, 0:04.5, 00:00:04.5.")
    start = "frame of the box (default: the first, backwards the last)"
    group.add_argument("--from", dest="start", metavar="POSITION", help=start)
    to = "last frame to track (default: the end, backwards the beginning)"
    group.add_argument("--to", dest="stop", metavar="POSITION", help=to)
    ways = group.add_mutually_exclusive_group()
    for name, text in (("backwards", "from the box to the beginning"), ("both", "from the box to both ends")):
        ways.add_argument(f"--{name}", dest="direction", action="store_const", const=name, help=f"track {text}")


def run(args: argparse.Namespace) -> None:
    """Tracks through the source; see `relo_jax.tracking.session`."""
    from relo_jax.tracking import session

    source, box = _source(args)
    session.track_to_files(
        source, box, args.checkpoint, args.save, args.json, args.txt, tracker_options(args), args.chunk,
        show=args.show, timeout=args.timeout, retries=args.retries, dtype=args.dtype,
        heatmap=args.heatmap, box_paths=args.save_boxes, box_format=args.boxes_format, part=_part(args),
        opener=_opener(args),
    )  # fmt: skip


def _opener(args: argparse.Namespace) -> Callable:
    """What makes the tracker: relo_jax, or exported graphs that another runtime computes."""
    from relo_jax.config.evaluation import JAX, check_backend

    check_backend(args.backend, args.precision, args.dtype)
    if args.backend == JAX:
        from relo_jax.tracking.tracker import open_tracker

        return open_tracker
    from relo_jax.export.backend import open_exported

    how = {"backend": args.backend, "precision": args.precision or "float32"}
    return lambda checkpoint, targets, dtype, **options: open_exported(checkpoint, targets, **how, **options)


def _part(args: argparse.Namespace) -> "Part":
    """The part of the film that is tracked."""
    from relo_jax.tracking.part import Part

    direction = args.direction or "forwards"
    if args.boxes_format is not None and not (args.box_from or args.save_boxes):
        raise UserError("--boxes-format is about the files of --save-boxes and --box-from: give one of them")
    box_format = args.boxes_format if args.box_from else None
    return Part(args.start, args.stop, direction, args.box_from, tuple(args.id), args.every_box, box_format)


def _source(args: argparse.Namespace) -> tuple:
    """The video and its boxes: what was given, or the example and its box."""
    if args.example and args.source is not None:
        raise UserError(f"relo track has both {args.source} and --example: give one of them")
    if args.example:
        from relo_jax.tracking.example import example

        path, box = example()
        if args.box or args.box_from:
            return path, args.box
        if args.start not in (None, "0") or args.direction:
            raise UserError("the box of --example is in its first frame: give --box too, to track from another")
        return path, box
    if args.source is None:
        raise UserError("relo track needs a video: give a file, a folder of frames, a camera (0), or --example")
    return args.source, args.box
