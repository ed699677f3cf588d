"""`relo convert IN OUT`: converts a PyTorch checkpoint to a run directory and accounts for every tensor."""

from __future__ import annotations

import argparse
import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relo_jax.checkpoints.pytorch.convert import Conversion
    from relo_jax.model import RELO


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo convert`."""
    parser.add_argument(
        "input", metavar="IN", type=Path, help=".pth.tar of RELO, or .pt of a Fast-iTPN trained on ImageNet"
    )
    parser.add_argument("output", metavar="OUT", type=Path, help="run directory to write; must not exist")
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="PATTERN",
        help="tensors to leave out, such as 'mask_*'; may be repeated",
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
      UserError: see `convert.convert`, `convert.model_for` and `save_variables`.
    """
    from relo_jax.checkpoints import load, model_card
    from relo_jax.checkpoints.pytorch import convert
    from relo_jax.checkpoints.run_directory import check_free
    from relo_jax.model import RELO

    check_free(args.output)
    overrides = dict(args.set)
    if args.variant:
        model = RELO.from_variant(args.variant, **overrides)
    else:
        model = convert.model_for(args.input, overrides)
    conversion = convert.convert(args.input, model, ignore=args.ignore)
    parameters = model_card.count_parameters(conversion.variables)
    card = model_card.of_converted(args.input, model, parameters, conversion.kind)
    load.save_variables(args.output, model, conversion.variables, card=card)
    print(account(conversion, model))
    print(f"written to {args.output}; its score is not calibrated: relo calibrate --checkpoint {args.output}")


def account(conversion: Conversion, model: RELO) -> str:
    """A table of the tensors that were mapped, freshly initialised and left out."""
    from relo_jax.checkpoints.pytorch.convert import describe_fresh

    config = model.config
    lines = [
        f"{conversion.kind}, variant {config.variant}: width {config.width}, {config.depth} main blocks, "
        f"{config.heads} heads, {config.temporal_tokens} temporal tokens, search {config.search_size} px",
        f"{'part':<12}{'tensors':>8}{'parameters':>14}",
    ]
    lines += [f"{part:<12}{tensors:>8}{count:>14,}" for part, (tensors, count) in conversion.mapped.items()]
    if conversion.fresh:
        lines.append(f"freshly initialised: {describe_fresh(conversion)}")
    reasons: dict[str, list[str]] = {}
    for name, why in conversion.unused.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"not used: {names[0]}{more} ({why})")
    return "\n".join(lines)
