"""The size of a network in words, for messages about a checkpoint of another variant."""

from collections.abc import Mapping
from typing import Any

from relo_jax.config.model_config import ModelConfig
from relo_jax.model import VARIANTS

BODY = ("width", "stem_blocks", "depth")  # the fields that tell the variants apart


def difference(found: Mapping[str, Any], config: ModelConfig) -> str | None:
    """The difference in size between a checkpoint and a model in words; None if there is none, or nothing is known.

    Such as `has 12 main blocks of width 384 (t256), the model has 24 main blocks of width 512 (b256)`.

    Args:
      found: the sizes that a checkpoint shows, as fields of `ModelConfig`.
      config: of the model that it should fit.
    """
    wanted = {name: getattr(config, name) for name in found}
    different = [name for name in found if found[name] != wanted[name]]
    if not different or not {"depth", "width"} <= found.keys():
        return None
    different = [name for name in BODY if name in different] or different  # the rest follows from these
    has, needs = in_words(found, different), in_words(wanted, different)
    return f"has {has} ({variant_of(found) or 'no known variant'}), the model has {needs} ({config.variant})"


def in_words(fields: Mapping[str, Any], names: list[str]) -> str:
    """Depth and width, and the other fields that are named."""
    first, second = fields.get("stem_blocks", (0, 0))
    words = {
        "stem_blocks": f"{first} + {second} stem blocks",
        "temporal_tokens": f"{fields.get('temporal_tokens')} temporal tokens",
        "head_width": f"heads of width {fields.get('head_width')}",
    }
    body = f"{fields['depth']} main blocks of width {fields['width']}"
    return ", ".join([body, *(text for name, text in words.items() if name in names)])


def variant_of(fields: Mapping[str, Any]) -> str | None:
    """The variant with this width, stem and depth; None if there is none."""
    return next(
        (name for name, row in VARIANTS.items() if all(row[field] == fields.get(field) for field in BODY)), None
    )


def of_variables(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The sizes that the arrays of a checkpoint show, as fields of `ModelConfig`.

    Args:
      shapes: of our arrays, by path: `{"params/encoder/ttokens": (4, 384), ...}`.
    """
    fields: dict[str, Any] = {}
    for field, name, axis in (
        ("width", "params/encoder/fc_norm/scale", -1),
        ("depth", "params/encoder/blocks/norm1/scale", 0),
        ("temporal_tokens", "params/encoder/ttokens", 0),
        ("head_width", "params/policy/conv0/kernel", -1),
    ):
        if shapes.get(name):
            fields[field] = shapes[name][axis]
    modules = {name.split("/")[2] for name in shapes if name.startswith("params/encoder/stage")}
    if modules:
        fields["stem_blocks"] = tuple(sum(m.startswith(f"stage{stage}_") for m in modules) for stage in (1, 2))
    return fields
