"""PyTorch checkpoints of the release to variables.

    variables = relo_jax.convert.from_torch("RELO_ep0090.pth.tar", RELO.from_variant("b256"))

Three kinds of files are known: a RELO checkpoint (everything), a warm-up checkpoint (no policy, no value head) and an
ImageNet-pretrained Fast-iTPN (encoder only, one square table of positions; the released system, "Encoder",
Initialisation). What a kind lacks by design comes from a fresh initialisation, and is said. Every other tensor must be
there, have the shape the model needs, and be used: anything else is an error that names it. Neither is PyTorch needed
nor anything run that a file contains (`relo_jax/checkpoints/pytorch/reader.py`); the mapping is in `relo_jax/checkpoints/pytorch/parameter_map.py`.
"""

import fnmatch
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.checkpoints.pytorch import reader
from relo_jax.checkpoints.pytorch.parameter_map import PREFIX, sources
from relo_jax.checkpoints.pytorch.position_embedding import split_positions
from relo_jax.errors import UserError
from relo_jax.model import RELO, VARIANTS, init_variables

RELO_KIND, WARMUP, PRETRAINED = "RELO checkpoint", "warm-up checkpoint", "pretrained Fast-iTPN"

# Where a file keeps its state dict: the release's, Fast-iTPN's (two kinds), other people's.
CONTAINERS = ("net", "module", "model", "state_dict")

# What each kind may lack, as patterns of the release's names; whole, that is in no main block.
OPTIONAL = {
    RELO_KIND: (),
    WARMUP: ("policy_model.*", "value_model.*"),
    PRETRAINED: (
        "policy_model.*", "value_model.*", "decoder.*",
        PREFIX + "*ttoken*", PREFIX + "template_*_token", PREFIX + "search_token",  # RELO's own
        PREFIX + "fc_norm.*", PREFIX + "blocks.*.gamma_?",  # not before fine-tuning; the release makes them, too
    ),
}  # fmt: skip
# What each kind may have beside it, and why it is not used.
UNUSED = {
    RELO_KIND: {"*.num_batches_tracked": "counts batches; only read where BatchNorm has no momentum"},
    WARMUP: {"*.num_batches_tracked": "counts batches; only read where BatchNorm has no momentum"},
    PRETRAINED: {
        PREFIX + "head.*": "classifier",
        PREFIX + "lm_head.*": "prediction of masked patches",
        PREFIX + "mask_token": "stands for masked patches",
        PREFIX + "norm.*": "last norm of pre-training; RELO has fc_norm",
    },
}


@dataclass(frozen=True)
class Conversion:
    """Variables, and an account of every tensor."""

    variables: dict
    kind: str
    mapped: dict[str, tuple[int, int]]  # part of the model -> tensors of the file, parameters
    fresh: dict[str, list[str]]  # part -> release's names that the file lacks by design
    unused: dict[str, str]  # release's name -> why


def from_torch(path_or_state_dict, model, *, key=None, ignore=()):
    """Variables of `model` from a checkpoint of the release; warns of what had to be initialised afresh.

    Args:
      path_or_state_dict: a `.pth.tar` or `.pt` file, or a state dict by the release's names, of numpy arrays or
        PyTorch tensors.
      model: `RELO`, of the checkpoint's variant.
      key: PRNG key for what a warm-up or pretrained checkpoint lacks, `jax.random.key(0)` where not given.
      ignore: patterns (`fnmatch`) of names to leave out, for files with tensors that this module does not know.

    Returns:
      `{"params", "batch_stats"}`, float32.

    Raises:
      UserError: unreadable file; a tensor is missing, misshapen, unknown or not finite, and which.
    """
    conversion = convert(path_or_state_dict, model, key=key, ignore=ignore)
    if conversion.fresh:
        warnings.warn(f"{conversion.kind}: freshly initialised {describe_fresh(conversion)}", stacklevel=2)
    return conversion.variables


def convert(path_or_state_dict, model, *, key=None, ignore=()):
    """`from_torch` with an account of every tensor: a `Conversion`."""
    where = "the state dict" if isinstance(path_or_state_dict, Mapping) else str(path_or_state_dict)
    state_dict, kind = read(path_or_state_dict, ignore)
    positions = PREFIX + "pos_embed"
    if kind == PRETRAINED and positions in state_dict:
        state_dict[positions] = split_positions(_array(state_dict, positions, where), model)

    arrays, mapped, fresh = {}, {}, {}
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
        why = [reason for pattern, reason in UNUSED[kind].items() if fnmatch.fnmatchcase(name, pattern)]
        if not why:
            raise UserError(
                f"{where} ({kind}) has {name}, for which variant {model.config.variant!r} has no place: "
                "is it another variant? (ignore=[...] leaves a tensor out)"
            )
        unused[name] = why[0]

    if fresh:
        arrays |= _initialise(model, jax.random.key(0) if key is None else key, without=set(arrays))
    return Conversion(_tree(arrays), kind, mapped, fresh, unused)


def describe_fresh(conversion):
    """The parts that are fresh, in words: `policy, value, encoder (ttokens, search_token)`."""
    parts = []
    for part, names in conversion.fresh.items():
        partly = part in conversion.mapped
        parts.append(f"{part} ({', '.join(n.removeprefix(PREFIX) for n in names)})" if partly else part)
    return ", ".join(parts)


def read(path_or_state_dict, ignore=()):
    """The state dict by the release's names, and the kind of checkpoint.

    Args:
      path_or_state_dict, ignore: as in `from_torch`.

    Returns:
      dict of arrays or tensors, all under the names of a RELO checkpoint; one of RELO_KIND, WARMUP, PRETRAINED.

    Raises:
      UserError: neither.
    """
    loaded, where = path_or_state_dict, "the state dict"
    if not isinstance(loaded, Mapping):
        where = str(path_or_state_dict)
        loaded = reader.load(path_or_state_dict)
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
        f"{where} holds no RELO and no Fast-iTPN: expected tensors named {PREFIX}blocks... or blocks..., "
        f"found {', '.join(list(tensors)[:3]) or 'none'}"
    )


def model_for(path_or_state_dict, overrides=None):
    """The model that a checkpoint fits, from the shapes of its tensors.

    Args:
      path_or_state_dict: as in `from_torch`.
      overrides: fields of `RELO` that are known otherwise; attention heads, templates and drop path leave no trace in
        the shapes, and come from the variant.

    Returns:
      `RELO`.

    Raises:
      UserError: not a checkpoint, or of no known variant where `overrides` does not give the heads.
    """
    where = "the state dict" if isinstance(path_or_state_dict, Mapping) else str(path_or_state_dict)
    state_dict, kind = read(path_or_state_dict)
    overrides = dict(overrides or {})
    fields = _fields_from_shapes(state_dict, kind, where)
    body = ("width", "stem_blocks", "depth")
    known = [v for v, row in VARIANTS.items() if all(row[field] == fields[field] for field in body)]
    if not known and "heads" not in overrides:
        size = ", ".join(f"{field} {fields[field]}" for field in body)
        raise UserError(f"{where} is of no known variant ({size}) and does not tell its attention heads: set heads=N")
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
        # A search crop has twice the template's side, so there are 4 k^2 + k^2 positions.
        side = math.isqrt(shape(PREFIX + "pos_embed")[1] // 5)
        fields |= {
            "temporal_tokens": shape(PREFIX + "ttokens")[1],
            "head_width": shape("decoder.conv1_ctr.0.weight")[0],
            "search_size": 32 * side,
            "template_size": 16 * side,
        }
    return fields


def _array(state_dict, name, where, source=None, model=None):
    """A tensor as numpy, its shape and numbers checked. PyTorch's own go through float32: numpy knows no bfloat16."""
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
        raise UserError(f"{where}: {name} holds NaN or infinite numbers")
    return array


def _initialise(model, key, without):
    """Fresh arrays by path, but for those at the given paths; what is not wanted is not even compiled."""

    def wanted(key):
        leaves = jax.tree_util.tree_leaves_with_path(init_variables(model, key))
        fresh = {tuple(k.key for k in path): leaf for path, leaf in leaves}
        return {path: leaf for path, leaf in fresh.items() if path not in without}

    return jax.jit(wanted)(key)


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
