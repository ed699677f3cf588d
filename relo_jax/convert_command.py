"""`relo convert IN OUT`: a PyTorch checkpoint to a run directory, with an account of every tensor."""

from relo_jax.checkpoints import load, model_card
from relo_jax.checkpoints.pytorch import convert
from relo_jax.model import RELO


def convert_command(in_path, out_path, variant=None, overrides=None, ignore=()):
    """Converts, writes, and prints what became of the tensors.

    Args:
      in_path: `.pth.tar` or `.pt` file, see `relo_jax.convert`.
      out_path: directory that does not exist yet; it gets `config.json`, `checkpoints/0` and the model card.
      variant: name of the variant; None finds it from the shapes.
      overrides: dict, fields of `RELO` to replace, such as `{"heads": 3}`.
      ignore: patterns of tensors to leave out, see `convert.from_torch`.

    Raises:
      UserError: see `convert.from_torch`, `convert.model_for` and `checkpoint.save_variables`.
    """
    load.check_free(out_path)
    overrides = overrides or {}
    model = RELO.from_variant(variant, **overrides) if variant else convert.model_for(in_path, overrides)
    conversion = convert.convert(in_path, model, ignore=ignore)
    source = model_card.of_converted(in_path, model, model_card.count_parameters(conversion.variables), conversion.kind)
    load.save_variables(out_path, model, conversion.variables, card=source)
    print(account(conversion, model))
    print(f"written to {out_path}; its score is not calibrated yet: relo calibrate --checkpoint {out_path}")


def account(conversion, model):
    """A table of what was mapped, what is fresh and what was left out, as text."""
    lines = [
        f"{conversion.kind}, variant {model.variant}: width {model.width}, {model.depth} main blocks, "
        f"{model.heads} heads, {model.temporal_tokens} temporal tokens, search {model.search_size} px",
        f"{'part':<12}{'tensors':>8}{'parameters':>14}",
    ]
    lines += [f"{part:<12}{tensors:>8}{count:>14,}" for part, (tensors, count) in conversion.mapped.items()]
    if conversion.fresh:
        lines.append(f"freshly initialised: {convert.describe_fresh(conversion)}")
    reasons = {}
    for name, why in conversion.unused.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"not used: {names[0]}{more} ({why})")
    return "\n".join(lines)
