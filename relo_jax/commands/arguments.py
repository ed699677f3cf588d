"""Arguments that several commands share."""

DATA_ROOT = "folder of the datasets, or of sequences (or RELO_DATA_DIR)"
_OPTIONS = ("window_power", "update_interval", "update_threshold", "found_threshold")


def add_tracker(parser):
    """Which checkpoint tracks, and with which options. Returns the group of options."""
    parser.add_argument(
        "--checkpoint",
        default="starter",
        help="run directory, its checkpoints/<step>, .pth.tar, or a small model of relo_jax (starter, starter-tiny)",
    )
    add_dtype(parser)
    options = parser.add_argument_group("tracker", "The checkpoint sets the default of each.")
    options.add_argument("--window-power", type=float, metavar="K", help="preference for the middle of the region")
    options.add_argument("--update-interval", type=int, metavar="N", help="frames between template updates; 0: none")
    options.add_argument("--update-threshold", type=float, metavar="R", help="response above which it is updated")
    return options


def add_dtype(parser):
    """The dtype of the computation."""
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="to compute in (default: the checkpoint's)")


def tracker_options(args):
    """The options of `add_tracker` that were given: dict."""
    return {name: value for name in _OPTIONS if (value := getattr(args, name, None)) is not None}


def add_sequences(parser, count, seed):
    """Which sequences: a dataset, a folder, or procedural ones.

    Args:
      parser: of the command.
      count, seed: defaults of the procedural sequences, for the help.
    """
    parser.add_argument("--data-root", help=DATA_ROOT)
    parser.add_argument("--one-based", action="store_true", help="the annotations of a folder count pixels from 1")
    parser.add_argument("--count", type=int, help=f"number of procedural sequences (default {count})")
    parser.add_argument("--seed", type=int, help=f"seed of procedural sequences (default {seed})")
