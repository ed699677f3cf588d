"""The table of variants, and the model as a JSON section of a run's config (the released system, "Variants")."""

import dataclasses
import math

from relo_jax.errors import UserError, did_you_mean
from relo_jax.model.temporal import PROPAGATION

LOCALIZERS = ("policy", "heatmap")
DTYPES = ("float32", "bfloat16", "float16")
INIT_SCHEMES = ("release", "similarity")
REMAT_POLICIES = ("nothing", "dots")
_CHOICES = {
    "propagation": PROPAGATION, "localizer": LOCALIZERS, "dtype": DTYPES, "init_scheme": INIT_SCHEMES,
    "remat_policy": REMAT_POLICIES,
}  # fmt: skip
_SIZES = ("width", "depth", "heads", "temporal_tokens", "templates", "search_size", "template_size", "head_width")
_LARGE = dict(search_size=256, template_size=128, head_width=256)

# fmt: off
VARIANTS = {
    # the demo, the studies and the tests: far faster than real time on two cores, trained from nothing
    "tiny": dict(width=128, stem_blocks=(1, 1), depth=6, heads=4, temporal_tokens=2, templates=1,
                 search_size=128, template_size=64, head_width=64, drop_path=0.0,
                 layer_scale=1.0, init_scheme="similarity"),
    # the shipped starter for real video, trained from nothing on one GPU
    "mini": dict(width=160, stem_blocks=(1, 1), depth=8, heads=5, temporal_tokens=2, templates=2,
                 search_size=192, template_size=96, head_width=64, drop_path=0.0,
                 layer_scale=1.0, init_scheme="similarity"),
    "t256": dict(width=384, stem_blocks=(1, 1), depth=12, heads=6, temporal_tokens=4, templates=1, **_LARGE),
    # described by the authors' code, never released: tokens and templates as in t256, the nearest
    "s256": dict(width=384, stem_blocks=(2, 2), depth=20, heads=6, temporal_tokens=4, templates=1, **_LARGE),
    "b256": dict(width=512, stem_blocks=(3, 3), depth=24, heads=8, temporal_tokens=32, templates=2, **_LARGE),
    "l256": dict(width=768, stem_blocks=(2, 2), depth=40, heads=12, temporal_tokens=32, templates=2, **_LARGE),
}
# fmt: on


def variant_fields(variant, overrides):
    """Fields of a variant with overrides applied.

    Raises:
      UserError: unknown variant or field.
    """
    from relo_jax.model.relo import RELO

    if variant not in VARIANTS:
        raise UserError(f"unknown variant {variant!r}{did_you_mean(variant, VARIANTS)}")
    known = [f.name for f in dataclasses.fields(RELO) if f.name not in ("parent", "name", "variant")]
    for name in overrides:
        if name not in known:
            raise UserError(f"variant {variant!r} has no field {name!r}{did_you_mean(name, known)}")
    fields = {**VARIANTS[variant], **overrides}
    _check_fields(variant, fields)
    fields["stem_blocks"] = tuple(fields["stem_blocks"])
    return fields


def _check_fields(variant, fields):
    """Raises UserError for values of which no network can be built."""

    def check(name, fits, expected):
        if name in fields and not fits(fields[name]):
            raise UserError(f"variant {variant!r}: {name} is {fields[name]!r}, expected {expected}")

    is_number = lambda x: isinstance(x, (int, float)) and not isinstance(x, bool)
    for name in _SIZES:
        check(name, lambda x: isinstance(x, int) and x >= 1, "a positive integer")
    is_pair = lambda x: isinstance(x, (tuple, list)) and len(x) == 2
    check("stem_blocks", lambda x: is_pair(x) and all(isinstance(n, int) and n >= 0 for n in x), "two integers, (1, 1)")
    check("remat", lambda x: isinstance(x, bool), "True or False")
    check("layer_scale", lambda x: is_number(x) and math.isfinite(x), "a number")
    check("drop_path", lambda x: is_number(x) and 0 <= x < 1, "a share in [0, 1)")
    width, heads = fields["width"], fields["heads"]
    if width % 4 or width % heads:
        raise UserError(f"variant {variant!r}: width is {width}, expected a multiple of 4 and of heads={heads}")
    for name in ("search_size", "template_size"):
        if fields[name] % 16:
            raise UserError(f"variant {variant!r}: {name} is {fields[name]}, expected a multiple of 16")
    for name, known in _CHOICES.items():
        if fields.get(name, known[0]) not in known:
            raise UserError(f"variant {variant!r}: {name} is {fields[name]!r}{did_you_mean(fields[name], known)}")
    if fields.get("remat_policy") == "dots" and not fields.get("remat"):
        raise UserError(f"variant {variant!r}: remat_policy is 'dots', and nothing reads it without remat=True")


def model_config(model):
    """The model as a JSON-able dict: its variant's name and every field."""
    fields = {f.name: getattr(model, f.name) for f in dataclasses.fields(model) if f.name not in ("parent", "name")}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


def model_from_config(config):
    """The model that `model_config` described, or a variant with overrides. Raises UserError on unknown fields."""
    from relo_jax.model.relo import RELO

    config = dict(config)
    return RELO.from_variant(config.pop("variant"), **config)
