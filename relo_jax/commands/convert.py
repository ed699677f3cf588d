"""`relo convert IN OUT`: a PyTorch or safetensors file to a run directory, or a checkpoint to a safetensors file."""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

_IGNORE = "--ignore "  # as messages show it before its value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo convert`."""
    parser.add_argument(
        "input",
        metavar="IN",
        help=".pth.tar of RELO, .pt of a Fast-iTPN trained on ImageNet, either as .safetensors; a run directory; or "
        "hf://org/name",
    )
    parser.add_argument(
        "output",
        metavar="OUT",
        type=Path,
        help="run directory to write, or a .safetensors file with the release's names; must not exist",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="PATTERN",
        help="tensors to leave out, such as 'head.*' or 'head.*,mask_token'; may be repeated",
    )
    parser.add_argument("--variant", help="such as b256 (default: from the shapes)")
    parser.add_argument(
        "--set",
        action="append",
        type=field,
        default=[],
        metavar="FIELD=VALUE",
        help="a field of the model, such as heads=3; may be repeated",
    )


def field(text: str) -> tuple[str, object]:
    """`heads=3` -> ("heads", 3). A value that is not a Python literal is a string: `dtype=bfloat16`."""
    name, _, value = text.partition("=")
    if not (name and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=VALUE, such as heads=3")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def run(args: argparse.Namespace) -> None:
    """Converts, writes, and prints the account.

    Raises:
      UserError: see `convert.convert`, `convert.model_for`, `save_variables` and `export.write`; or OUT does not fit.
    """
    from relo_jax.checkpoints import hub
    from relo_jax.checkpoints.pytorch import safetensors_file
    from relo_jax.checkpoints.run_directory import STARTERS, check_free
    from relo_jax.errors import UserError

    check_free(args.output)
    args.input = hub.local(args.input)
    to_file = args.output.suffix == safetensors_file.SUFFIX
    if args.output.suffix in (".pt", ".pth", ".tar", ".bin"):
        raise UserError(f"{args.output}: files are written as {safetensors_file.SUFFIX}, which PyTorch reads too")
    is_ours = str(args.input) in STARTERS or args.input.is_dir() or args.input.suffix == ".msgpack"
    if not is_ours:
        _from_file(args, to_file)
    elif not to_file:
        raise UserError(
            f"{args.input} is a checkpoint of relo_jax already: name OUT{safetensors_file.SUFFIX} to write it with the "
            "release's names"
        )
    elif args.ignore or args.variant or args.set:
        raise UserError(f"{args.input} is a checkpoint of relo_jax: --ignore, --variant and --set are for other files")
    else:
        _export(args)


def _from_file(args, to_file):
    """Converts a PyTorch or safetensors file."""
    from relo_jax.checkpoints import load, model_card
    from relo_jax.checkpoints.pytorch import convert, export, report
    from relo_jax.errors import UserError
    from relo_jax.model import RELO, count_parameters
    from relo_jax.tracking import confidence

    overrides = dict(args.set)
    if args.variant:
        model = RELO.from_variant(args.variant, **overrides)
    else:
        model = convert.model_for(args.input, overrides, args.ignore, _IGNORE)
    conversion = convert.convert(args.input, model, ignore=args.ignore, option=_IGNORE)
    config = load.describe(model) | export.config_of(args.input)
    if to_file:
        if conversion.kind == convert.PRETRAINED:
            raise UserError(f"{args.input} is a pretrained encoder, without the rest of RELO: name a run directory")
        with_policy = conversion.kind == convert.RELO_KIND
        export.write(args.output, model, conversion.variables, config, with_policy)
        print(report.account(conversion, model))
        print(f"written to {args.output}")
        return
    parameters = count_parameters(conversion.variables)
    card = model_card.of_converted(args.input, model, parameters, conversion.kind)
    load.save_variables(args.output, model, conversion.variables, config["tracker"], card)
    print(report.account(conversion, model))
    calibrated = confidence.is_calibrated(config["tracker"])
    advice = "" if calibrated else f"; its score is not calibrated: relo calibrate --checkpoint {args.output}"
    print(f"written to {args.output}{advice}")


def _export(args):
    """Writes a checkpoint of relo_jax as a safetensors file."""
    from relo_jax.checkpoints import load
    from relo_jax.checkpoints.pytorch import export

    loaded = load.load(str(args.input))
    with_policy = load.has_policy(loaded)
    count = export.write(args.output, loaded.model, loaded.variables, loaded.config, with_policy)
    what = "all parts" if with_policy else "without policy and value head, which are untrained"
    print(f"variant {loaded.model.config.variant}, {what}: {count} tensors with the release's names, float32")
    print(f"written to {args.output}; in PyTorch: safetensors.torch.load_file({str(args.output)!r})")
