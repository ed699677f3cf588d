"""Arguments that several commands share."""

import argparse
from pathlib import Path

from relo_jax.errors import UserError

_OPTIONS = ("window_power", "update_interval", "update_threshold", "found_threshold", "found_frames")


def add_tracker(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The checkpoint and the options of the tracker. Returns the group of options."""
    parser.add_argument(
        "--checkpoint", default="starter", help="run directory, its checkpoints/<step>, .pth.tar, .safetensors, "
        "hf://org/name, or a small model of relo_jax: starter or starter-tiny (default starter)",
    )  # fmt: skip
    add_dtype(parser)
    options = parser.add_argument_group("tracker", "By default those of the checkpoint.")
    options.add_argument("--window-power", type=float, metavar="K", help="preference for the centre of the region")
    options.add_argument("--update-interval", type=int, metavar="N", help="frames between template updates; 0: none")
    options.add_argument("--update-threshold", type=float, metavar="R", help="minimal response for a template update")
    return options


def tracker_options(args: argparse.Namespace) -> dict[str, float]:
    """The options of `add_tracker` that were given."""
    return {name: value for name in _OPTIONS if (value := getattr(args, name, None)) is not None}


def add_backend(parser: argparse.ArgumentParser) -> None:
    """What computes the network."""
    text = "what computes: jax, or exported graphs (relo export) by onnxruntime or openvino (default jax)"
    parser.add_argument("--backend", choices=["jax", "onnxruntime", "openvino"], default="jax", help=text)
    text = "of exported graphs: float32, float16 or int8 (default float32)"
    parser.add_argument("--precision", metavar="NAME", help=text)


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """The dtype of the computation."""
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="of the computation (default: checkpoint's)")


def add_batch(parser: argparse.ArgumentParser) -> None:
    """The number of sequences at a time."""
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="sequences at a time (default 8)")


def add_dataset(parser: argparse.ArgumentParser, default: str, split: str = "test", several: bool = False) -> None:
    """The dataset and where it is.

    Args:
      parser: of the command.
      default: the default dataset.
      split: the default split, for the help.
      several: whether several may be named.
    """
    joined = ", or lasot+got10k/val" if several else ""
    text = f"such as lasot{joined}; folder: a folder of sequences; procedural: drawn sequences (default {default})"
    parser.add_argument("--dataset", default=default, metavar="NAME", help=text)
    parser.add_argument("--split", help=f"such as val (default: {split})")
    parser.add_argument("--data-root", metavar="DIR", help="folder of the datasets, or of sequences (or RELO_DATA_DIR)")
    parser.add_argument("--one-based", action="store_true", help="the annotations of a folder count pixels from 1")


def add_procedural(parser: argparse.ArgumentParser, count: int, seed: int) -> None:
    """Which procedural sequences; the defaults are for the help."""
    parser.add_argument("--count", type=int, metavar="N", help=f"number of procedural sequences (default {count})")
    parser.add_argument("--seed", type=int, metavar="N", help=f"seed of procedural sequences (default {seed})")


def add_page(parser: argparse.ArgumentParser) -> None:
    """What is written for the page that tracks in a browser."""
    text = "folder that has onnxruntime-web and mediabunny (default: npm fetches them)"
    parser.add_argument("--node-modules", type=Path, metavar="DIR", help=text)
    parser.add_argument("--no-webgpu", action="store_true", help="leave out the page's runtime for WebGPU, 27 MB")


def frame_size(command: str, text: str) -> tuple[int, int]:
    """Width and height from WIDTHxHEIGHT, of frames to measure with. Raises UserError."""
    try:
        width, height = (int(side) for side in text.split("x"))
    except ValueError:
        raise UserError(f"{command}: --size is {text!r}: give WIDTHxHEIGHT, such as 640x480") from None
    if min(width, height) < 200:
        raise UserError(f"{command}: --size is {text}: give frames of at least 200 x 200 pixels")
    return width, height
