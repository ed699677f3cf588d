"""`relo push CHECKPOINT hf://org/name`: uploads a checkpoint with its model card to the Hugging Face hub."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo push`."""
    parser.add_argument("checkpoint", help="run directory, its checkpoints/<step>, .pth.tar, .safetensors, or starter")
    parser.add_argument(
        "address", metavar="hf://ORG/NAME", help="repository, made if there is none; @BRANCH for a branch"
    )
    parser.add_argument(
        "--license", metavar="ID", help="licence of the weights by the hub's identifiers, such as apache-2.0 or "
        "cc-by-nc-4.0 (default: none named)",
    )  # fmt: skip
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--message", metavar="TEXT", help="of the commit")


def run(args: argparse.Namespace) -> None:
    """Uploads, and prints what was uploaded.

    Raises:
      UserError: see `publish.push`.
    """
    from relo_jax.checkpoints import publish

    done = publish.push(args.checkpoint, args.address, args.license, args.private, args.message)
    in_words = lambda size: f"{size / 1e6:.1f} MB" if size > 1e5 else f"{size / 1e3:.1f} kB"
    files = ", ".join(f"{name} ({in_words(size)})" for name, size in done.files.items())
    print(f"uploaded: {files}")
    print(f"see {done.page}; load it with --checkpoint {args.address}")
    if done.license is None:
        print("its card names no licence, so that nobody may use the weights: push it again with --license ID")
