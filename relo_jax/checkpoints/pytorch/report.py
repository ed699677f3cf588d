"""The account of a conversion as text: what was taken from a file, and what was not."""

from relo_jax import tables
from relo_jax.checkpoints.pytorch.convert import Conversion, describe_fresh
from relo_jax.model import RELO


def account(conversion: Conversion, model: RELO) -> str:
    """A table of the tensors that were mapped, freshly initialised and left out."""
    config = model.config
    lines = [
        f"{conversion.kind}, variant {config.variant}: width {config.width}, {config.depth} main blocks, "
        f"{config.heads} heads, {config.temporal_tokens} temporal tokens, search {config.search_size} px"
    ]
    if conversion.around not in ("", "net."):  # the second is the release's
        lines.append(f"its names begin with {conversion.around!r}")
    rows = [[part, str(tensors), f"{count:,}"] for part, (tensors, count) in conversion.mapped.items()]
    lines.append(tables.terminal([["part", "tensors", "parameters"], *rows], "lrr"))
    lines += [
        f"{count} tensors in {dtype}, converted to float32 {'with rounding' if dtype == 'float64' else 'exactly'}"
        for dtype, count in conversion.dtypes.items()
        if dtype != "float32"
    ]
    if conversion.fresh:
        lines.append(f"freshly initialised: {describe_fresh(conversion)}")
    reasons: dict[str, list[str]] = {}
    for name, why in conversion.unused.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"not used: {names[0]}{more} ({why})")
    return "\n".join(lines)
