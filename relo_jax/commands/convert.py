"""`relo convert IN OUT`: a PyTorch checkpoint to a run directory, with an account of every tensor."""

import argparse
import ast
from pathlib import Path


def add_arguments(parser):
    """The arguments of `relo convert`."""
    parser.add_argument("input", metavar="IN", type=Path, help=".pth.tar of RELO, or .pt of an ImageNet Fast-iTPN")
    parser.add_argument("output", metavar="OUT", type=Path, help="directory to write; it must not exist yet")
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="PATTERN", help="tensors to leave out, such as 'mask_*'"
    )
    parser.add_argument("--variant", help="name of the variant (found from the shapes when not given)")
    parser.add_argument(
        "--set", action="append", type=field, default=[], metavar="FIELD=VALUE", help="a field of the model, heads=3"
    )


def field(text):
    """`heads=3` -> ("heads", 3); what is no Python literal is a string, `dtype=bfloat16` -> ("dtype", "bfloat16")."""
    name, _, value = text.partition("=")
    if not (name and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=VALUE, such as heads=3")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def run(args):
    """Converts, writes, and prints what became of the tensors.

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
    print(f"written to {args.output}; its score is not calibrated yet: relo calibrate --checkpoint {args.output}")


def account(conversion, model):
    """A table of what was mapped, what is fresh and what was left out, as text."""
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
    reasons = {}
    for name, why in conversion.unused.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"not used: {names[0]}{more} ({why})")
    return "\n".join(lines)
