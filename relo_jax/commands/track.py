"""`relo track`: a video and boxes in; a video with the boxes drawn, boxes as text and as JSON out."""

import argparse

from relo_jax.commands.arguments import add_tracker, tracker_options


def add_arguments(parser):
    """The arguments of `relo track`."""
    parser.add_argument(
        "source", help="video file, folder of frames, index of a camera (0), or address (rtsp://, http://, udp:// ...)"
    )
    parser.add_argument(
        "--box", action="append", metavar="X,Y,W,H", help="a target in the first frame, pixels, 0-based; again for "
        "each further target (default: select one in a window)",
    )  # fmt: skip
    parser.add_argument("--save", metavar="FILE.mp4", help="video with the boxes drawn on it")
    parser.add_argument("--json", metavar="FILE", help="boxes and scores; FILE.jsonl or -: a line a frame, at once")
    parser.add_argument("--txt", metavar="FILE", help="boxes, one line x,y,w,h a frame; several targets: a file each")
    parser.add_argument(
        "--show", action=argparse.BooleanOptionalAction, help="a window: space pauses, a drag selects again, q ends "
        "(default: for cameras and streams, in a terminal with a display, and where no --box is given)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="S", help="seconds without a frame after which a camera has "
        "stalled and a stream is opened again (default 10)",
    )  # fmt: skip
    parser.add_argument(
        "--retries", type=int, default=5, metavar="N", help="how often in a row before it is the end (default 5; "
        "0: at once, -1: never)",
    )  # fmt: skip
    parser.add_argument("--chunk", type=int, metavar="N", help="frames of a file at a time: more frames/s, each later")
    add_tracker(parser).add_argument(
        "--found-threshold", type=float, metavar="S", help="score from which a target counts as found"
    )


def run(args):
    """Tracks through the source; see `relo_jax.tracking.session`."""
    from relo_jax.tracking import session

    session.track_to_files(
        args.source, args.box, args.checkpoint, args.save, args.json, args.txt, tracker_options(args), args.chunk,
        show=args.show, timeout=args.timeout, retries=args.retries, dtype=args.dtype,
    )  # fmt: skip
