"""The table of variants, as the release configures them, and a `ModelConfig` from one of its rows."""

import dataclasses
from typing import Any

from relo_jax.config.model_config import ModelConfig
from relo_jax.errors import UserError, did_you_mean

_LARGE = dict(search_size=256, template_size=128, head_width=256)

# fmt: off
VARIANTS: dict[str, dict[str, Any]] = {
    # the demo, the studies and the tests: far faster than real time on two cores, trained from random weights
    "tiny": dict(width=128, stem_blocks=(1, 1), depth=6, heads=4, temporal_tokens=2, templates=1,
                 search_size=128, template_size=64, head_width=64, drop_path=0.0,
                 layer_scale=1.0, init_scheme="similarity"),
    # the shipped starter for real video, trained from random weights on one GPU
    "mini": dict(width=160, stem_blocks=(1, 1), depth=8, heads=5, temporal_tokens=2, templates=2,
                 search_size=192, template_size=96, head_width=64, drop_path=0.0,
                 layer_scale=1.0, init_scheme="similarity"),
    "t256": dict(width=384, stem_blocks=(1, 1), depth=12, heads=6, temporal_tokens=4, templates=1, **_LARGE),
    # defined by the release, without a checkpoint: tokens and templates as in t256, the nearest in size
    "s256": dict(width=384, stem_blocks=(2, 2), depth=20, heads=6, temporal_tokens=4, templates=1, **_LARGE),
    "b256": dict(width=512, stem_blocks=(3, 3), depth=24, heads=8, temporal_tokens=32, templates=2, **_LARGE),
    "l256": dict(width=768, stem_blocks=(2, 2), depth=40, heads=12, temporal_tokens=32, templates=2, **_LARGE),
}
# fmt: on


def variant_config(variant: str, **overrides) -> ModelConfig:
    """The config of a variant, with fields replaced.

    Raises:
      UserError: unknown variant or field; a value of which no network can be built.
    """
    if not isinstance(variant, str) or variant not in VARIANTS:
        raise UserError(f"unknown variant {variant!r}{did_you_mean(variant, VARIANTS)}")
    known = [field.name for field in dataclasses.fields(ModelConfig) if field.name != "variant"]
    for name in overrides:
        if name not in known:
            raise UserError(f"variant {variant!r} has no field {name!r}{did_you_mean(name, known)}")
    return ModelConfig(variant, **VARIANTS[variant] | overrides)
