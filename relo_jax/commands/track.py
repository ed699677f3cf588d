"""`relo track`: follows targets through a video; writes the boxes as a video, text and JSON."""

import argparse

from relo_jax.commands.arguments import add_tracker, tracker_options
from relo_jax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo track`."""
    parser.add_argument(
        "source",
        nargs="?",
        help="video file, folder of frames, index of a camera (0), or address (rtsp://, http://, udp:// ...)",
    )
    parser.add_argument(
        "--box", action="append", metavar="X,Y,W,H", help="a target in the first frame, in 0-based pixels; repeat for "
        "more targets (default: select one in a window)",
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
    options = add_tracker(parser)
    options.add_argument("--found-threshold", type=float, metavar="S", help="a lower score is low")
    options.add_argument(
        "--found-frames", type=int, metavar="N", help="low scores in a row until the target counts as lost"
    )


def run(args: argparse.Namespace) -> None:
    """Tracks through the source; see `relo_jax.tracking.session`."""
    from relo_jax.tracking import session

    source, box = _source(args)
    session.track_to_files(
        source, box, args.checkpoint, args.save, args.json, args.txt, tracker_options(args), args.chunk,
        show=args.show, timeout=args.timeout, retries=args.retries, dtype=args.dtype,
        heatmap=args.heatmap,
    )  # fmt: skip


def _source(args: argparse.Namespace) -> tuple:
    """The video and its boxes: what was given, or the example and its box."""
    if args.example and args.source is not None:
        raise UserError(f"relo track has both {args.source} and --example: give one of them")
    if args.example:
        from relo_jax.tracking.example import example

        path, box = example()
        return path, args.box or box
    if args.source is None:
        raise UserError("relo track needs a video: give a file, a folder of frames, a camera (0), or --example")
    return args.source, args.box
