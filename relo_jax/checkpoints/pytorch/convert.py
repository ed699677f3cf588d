"""Converts PyTorch checkpoints of the release to variables.

    variables = relo_jax.convert.from_torch("RELO_ep0090.pth.tar", RELO.from_variant("b256"))

It knows three kinds of files: a RELO checkpoint (everything), a warm-up checkpoint (no policy and value head) and an
ImageNet-pretrained Fast-iTPN (only the encoder, with one square table of positions). Parts that a kind lacks by design
are freshly initialised and reported. Every other tensor must exist, have the shape that the model needs, and be used;
otherwise an error names it.

Reading needs no PyTorch and runs nothing that a file contains (`reader`); `parameter_map` has the mapping.
"""

import fnmatch
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.checkpoints.pytorch import reader
from relo_jax.checkpoints.pytorch.parameter_map import PREFIX, sources
from relo_jax.checkpoints.pytorch.position_embedding import split_positions
from relo_jax.errors import UserError
from relo_jax.model import RELO, VARIANTS, init_variables

StateDict = Mapping[str, Any]  # arrays or PyTorch tensors by the release's names
RELO_KIND, WARMUP, PRETRAINED = "RELO checkpoint", "warm-up checkpoint", "pretrained Fast-iTPN"

# Keys of the state dict in a file: the release's, Fast-iTPN's (two), and a common one.
CONTAINERS = ("net", "module", "model", "state_dict")

# Tensors that each kind may lack, as patterns of the release's names. Stacked ones must be missing in all main blocks.
OPTIONAL = {
    RELO_KIND: (),
    WARMUP: ("policy_model.*", "value_model.*"),
    PRETRAINED: (
        "policy_model.*", "value_model.*", "decoder.*",
        PREFIX + "*ttoken*", PREFIX + "template_*_token", PREFIX + "search_token",  # RELO's own
        PREFIX + "fc_norm.*", PREFIX + "blocks.*.gamma_?",  # fine-tuning adds them, as the release does
    ),
}  # fmt: skip
# Tensors of each kind that are not used, and why.
_COUNTERS = {"*.num_batches_tracked": "counts batches; only read where BatchNorm has no momentum"}
UNUSED = {
    RELO_KIND: _COUNTERS,
    WARMUP: _COUNTERS,
    PRETRAINED: {
        PREFIX + "head.*": "classifier",
        PREFIX + "lm_head.*": "prediction of masked patches",
        PREFIX + "mask_token": "replaces masked patches",
        PREFIX + "norm.*": "last norm of pre-training; RELO has fc_norm",
    },
}


@dataclass(frozen=True)
class Conversion:
    """Variables, and a report of every tensor."""

    variables: dict
    kind: str
    mapped: dict[str, tuple[int, int]]  # part of the model -> number of tensors in the file, of parameters
    fresh: dict[str, list[str]]  # part -> release's names that the file lacks by design
    unused: dict[str, str]  # release's name -> why


def from_torch(
    path_or_state_dict: Path | str | StateDict, model: RELO, *, key: jax.Array | None = None, ignore: Iterable[str] = ()
) -> dict:
    """Variables of `model` from a checkpoint of the release; warns about parts that are freshly initialised.

    Args:
      path_or_state_dict: a `.pth.tar` or `.pt` file, or a state dict with the release's names, of NumPy arrays or
        PyTorch tensors.
      model: of the checkpoint's variant.
      key: PRNG key for the parts that a warm-up or pretrained checkpoint lacks; None is `jax.random.key(0)`.
      ignore: patterns (`fnmatch`) of names to leave out, for files with tensors that this module does not know.

    Returns:
      `{"params", "batch_stats"}`, float32.

    Raises:
      UserError: the file is unreadable, or a tensor is missing, misshapen, unknown or not finite (names it).
    """
    conversion = convert(path_or_state_dict, model, key=key, ignore=ignore)
    if conversion.fresh:
        warnings.warn(f"{conversion.kind}: freshly initialised {describe_fresh(conversion)}", stacklevel=2)
    return conversion.variables


def convert(
    path_or_state_dict: Path | str | StateDict, model: RELO, *, key: jax.Array | None = None, ignore: Iterable[str] = ()
) -> Conversion:
    """`from_torch` with a report of every tensor."""
    where = "the state dict" if isinstance(path_or_state_dict, Mapping) else str(path_or_state_dict)
    state_dict, kind = read(path_or_state_dict, ignore)
    positions = PREFIX + "pos_embed"
    if kind == PRETRAINED and positions in state_dict:
        state_dict[positions] = split_positions(_array(state_dict, positions, where), model)

    arrays: dict[tuple[str, ...], Any] = {}
    mapped: dict[str, tuple[int, int]] = {}
    fresh: dict[str, list[str]] = {}
    for source in sources(model):
        missing = [name for name in source.names if name not in state_dict]
        if missing:
            if len(missing) == len(source.names) and _any(missing[0], OPTIONAL[kind]):
                fresh.setdefault(source.part, []).append(missing[0])
                continue
            raise UserError(f"{where} ({kind}) lacks {missing[0]}, which variant {model.config.variant!r} needs")
        arrays[source.path] = source.assemble([_array(state_dict, n, where, source, model) for n in source.names])
        for name in source.names:
            del state_dict[name]
        tensors, parameters = mapped.get(source.part, (0, 0))
        is_parameter = source.path[0] == "params"
        mapped[source.part] = (tensors + len(source.names), parameters + is_parameter * arrays[source.path].size)

    unused = {}
    for name in state_dict:
        reasons = [reason for pattern, reason in UNUSED[kind].items() if fnmatch.fnmatchcase(name, pattern)]
        if not reasons:
            raise UserError(
                f"{where} ({kind}) has {name}, which variant {model.config.variant!r} does not have: "
                "is it another variant? (ignore=[...] leaves a tensor out)"
            )
        unused[name] = reasons[0]

    if fresh:
        arrays |= _initialise(model, jax.random.key(0) if key is None else key, without=set(arrays))
    return Conversion(_tree(arrays), kind, mapped, fresh, unused)


def describe_fresh(conversion: Conversion) -> str:
    """The fresh parts in words: `policy, value, encoder (ttokens, search_token)`."""
    parts = []
    for part, names in conversion.fresh.items():
        partly = part in conversion.mapped
        parts.append(f"{part} ({', '.join(n.removeprefix(PREFIX) for n in names)})" if partly else part)
    return ", ".join(parts)


def read(path_or_state_dict: Path | str | StateDict, ignore: Iterable[str] = ()) -> tuple[dict[str, Any], str]:
    """Reads a state dict and finds out its kind.

    Args:
      path_or_state_dict, ignore: as in `from_torch`.

    Returns:
      Arrays or tensors under the names of a RELO checkpoint; one of RELO_KIND, WARMUP and PRETRAINED.

    Raises:
      UserError: it is of no known kind.
    """
    where, loaded = "the state dict", path_or_state_dict
    if not isinstance(loaded, Mapping):
        where, loaded = str(loaded), reader.load(loaded)
    for container in CONTAINERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(container), Mapping):
            loaded = loaded[container]
    tensors = {k: v for k, v in loaded.items() if hasattr(v, "shape")} if isinstance(loaded, Mapping) else {}
    if tensors and all(name.startswith("module.") for name in tensors):  # saved from a DataParallel wrapper
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    tensors = {name: value for name, value in tensors.items() if not _any(name, ignore)}

    if any(name.startswith(PREFIX) for name in tensors):
        heads = any(name.startswith(("policy_model.", "value_model.")) for name in tensors)
        return tensors, RELO_KIND if heads else WARMUP
    if any(name.startswith("blocks.") for name in tensors):
        return {PREFIX + name: value for name, value in tensors.items()}, PRETRAINED
    raise UserError(
        f"{where} has neither RELO nor Fast-iTPN: expected tensors named {PREFIX}blocks... or blocks..., "
        f"found {', '.join(list(tensors)[:3]) or 'none'}"
    )


def model_for(path_or_state_dict: Path | str | StateDict, overrides: Mapping[str, Any] | None = None) -> RELO:
    """The model that fits a checkpoint, from the shapes of its tensors.

    Args:
      path_or_state_dict: as in `from_torch`.
      overrides: fields of the model that replace those found. Attention heads, templates and drop path do not show in
        the shapes, and come from the variant.

    Raises:
      UserError: it is no checkpoint; or its variant is unknown, and `overrides` lacks the heads.
    """
    where = "the state dict" if isinstance(path_or_state_dict, Mapping) else str(path_or_state_dict)
    state_dict, kind = read(path_or_state_dict)
    overrides = dict(overrides or {})
    fields = _fields_from_shapes(state_dict, kind, where)
    body = ("width", "stem_blocks", "depth")
    known = [v for v, row in VARIANTS.items() if all(row[field] == fields[field] for field in body)]
    if not known and "heads" not in overrides:
        size = ", ".join(f"{field} {fields[field]}" for field in body)
        raise UserError(
            f"{where} is of an unknown variant ({size}), without its number of attention heads: set heads=N"
        )
    variant = known[0] if known else "tiny"
    fields = {field: value for field, value in fields.items() if VARIANTS[variant][field] != value}
    return RELO.from_variant(variant, **(fields | overrides))


def _fields_from_shapes(state_dict, kind, where):
    def shape(name):
        if name not in state_dict:
            raise UserError(f"{where} ({kind}) lacks {name}")
        return tuple(state_dict[name].shape)

    blocks = [name.removeprefix(PREFIX).split(".") for name in state_dict if name.startswith(PREFIX + "blocks.")]
    merges = sorted(int(block[1]) for block in blocks if block[2:] == ["reduction", "weight"])
    if len(merges) != 2:
        raise UserError(f"{where} ({kind}) has {len(merges)} patch merges (blocks.N.reduction.weight), expected 2")
    fields = {
        "width": 4 * shape(PREFIX + "patch_embed.proj.weight")[0],
        "stem_blocks": (merges[0], merges[1] - merges[0] - 1),
        "depth": sum(block[2:] == ["attn", "q_proj", "weight"] for block in blocks),
    }
    if kind != PRETRAINED:
        # The search crop has twice the template's side, so there are 4 k^2 + k^2 positions.
        side = math.isqrt(shape(PREFIX + "pos_embed")[1] // 5)
        fields |= {
            "temporal_tokens": shape(PREFIX + "ttokens")[1],
            "head_width": shape("decoder.conv1_ctr.0.weight")[0],
            "search_size": 32 * side,
            "template_size": 16 * side,
        }
    return fields


def _array(state_dict, name, where, source=None, model=None):
    """A tensor as a checked float32 array. PyTorch's tensors convert first, since NumPy has no bfloat16."""
    value = state_dict[name]
    if source is not None and tuple(value.shape) != source.release_shape:
        raise UserError(
            f"{where}: {name} has shape {tuple(value.shape)}, "
            f"variant {model.config.variant!r} needs {source.release_shape}"
        )
    try:
        array = np.asarray(value.detach().cpu().float() if hasattr(value, "detach") else value).astype(np.float32)
    except UserError as error:
        raise UserError(f"{where}: {name}: {error}") from None
    if not np.isfinite(array).all():
        raise UserError(f"{where}: {name} has NaN or infinite numbers")
    return array


def _initialise(model, key, without):
    """Fresh arrays by path, except those in `without`, which are not even compiled."""

    def missing(key):
        leaves = jax.tree_util.tree_leaves_with_path(init_variables(model, key))
        fresh = {tuple(k.key for k in path): leaf for path, leaf in leaves}
        return {path: leaf for path, leaf in fresh.items() if path not in without}

    return jax.jit(missing)(key)


def _any(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _tree(arrays):
    tree = {}
    for path, array in arrays.items():
        node = tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = jnp.asarray(array)
    return tree
