"""`relo web`: serves an exported tracker's page, to track in the browser."""

import argparse
import tempfile
from pathlib import Path

from relo_jax.commands import arguments
from relo_jax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo web`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="that relo export --web has written")
    source.add_argument(
        "--checkpoint", help="run directory, its checkpoints/<step>, .pth.tar, .safetensors, hf://org/name, or a "
        "starter, in place of FOLDER: exports it to a temporary folder",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="0: any free one (default 8000)")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="whose requests are answered; 0.0.0.0: those of the "
        "whole network (default 127.0.0.1, this machine's)",
    )  # fmt: skip
    arguments.add_page(parser)


def run(args: argparse.Namespace) -> None:
    """Serves until Ctrl-C.

    Raises:
      UserError: the folder has no page, the port is taken, or the checkpoint cannot be exported.
    """
    from relo_jax.export.server import Server

    if args.folder and (args.node_modules or args.no_webgpu):
        raise UserError("--node-modules and --no-webgpu are about a page that is written: FOLDER has one")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or _exported(args, Path(temporary) / "page")
        with Server(folder, args.port, args.host) as server:
            print(f"{args.folder or args.checkpoint}: {server.address}  (Ctrl-C ends it)", flush=True)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print()


def _exported(args: argparse.Namespace, folder: Path) -> Path:
    from relo_jax.export import write
    from relo_jax.export.page import check_page, write_page

    check_page(1, args.node_modules, not args.no_webgpu)
    add = lambda folder, described: write_page(folder, described, args.node_modules, not args.no_webgpu)
    write.export(write.Source.of(args.checkpoint), folder, additions=[add])
    return folder
