"""Converts PyTorch checkpoints, of the release and of others, to variables.

    variables = relo_jax.convert.from_torch("RELO_ep0090.pth.tar", RELO.from_variant("b256"))

It knows three kinds of networks: a RELO checkpoint (everything), a warm-up checkpoint (no policy and value head) and an
ImageNet-pretrained Fast-iTPN (only the encoder, with one square table of positions). Parts that a kind lacks by design
are freshly initialised and reported. Every other tensor must exist and have the shape that the model needs; otherwise
an error names it. A tensor that the model has no place for, such as a classifier, is refused until the user names it.

Reading needs no PyTorch and runs nothing that a file contains (`reader`, `safetensors_file`). `state_dict` finds the
network in a file, `parameter_map` has the mapping, `export` writes the release's names.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.checkpoints import network_size
from relo_jax.checkpoints.pytorch import export, strays
from relo_jax.checkpoints.pytorch.parameter_map import PREFIX, Source, sources
from relo_jax.checkpoints.pytorch.position_embedding import split_positions
from relo_jax.checkpoints.pytorch.state_dict import PRETRAINED, RELO_KIND, WARMUP, Found, StateDict, find, matching
from relo_jax.errors import UserError
from relo_jax.model import RELO, VARIANTS, init_variables
from relo_jax.model.initialise import quick_jit

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


@dataclass(frozen=True)
class Conversion:
    """Variables, and a report of every tensor."""

    variables: dict
    kind: str
    mapped: dict[str, tuple[int, int]]  # part of the model -> number of tensors in the file, of parameters
    fresh: dict[str, list[str]]  # part -> release's names that the file lacks by design
    unused: dict[str, str]  # name as in the network of the file -> why
    around: str = ""  # what stood before the network's names in the file, such as "model.module."
    dtypes: dict[str, int] = field(default_factory=dict)  # type of the file's numbers -> number of tensors


def from_torch(
    path_or_state_dict: Path | str | StateDict,
    model: RELO,
    *,
    key: jax.Array | None = None,
    ignore: Iterable[str] | str = (),
    option: str = "ignore=",
) -> dict:
    """Variables of `model` from a PyTorch checkpoint; warns about parts that are freshly initialised.

    Args:
      path_or_state_dict: a `.pth.tar`, `.pt` or `.safetensors` file, or a state dict of NumPy arrays or PyTorch
        tensors. Names are the release's or Fast-iTPN's, with any prefix.
      model: of the checkpoint's variant.
      key: PRNG key for the parts that a warm-up or pretrained checkpoint lacks; None is `jax.random.key(0)`.
      ignore: patterns (`fnmatch`) of tensors to leave out, such as "head.*"; commas separate them in a string.
      option: how the user gives such patterns, for messages.

    Returns:
      `{"params", "batch_stats"}`, float32.

    Raises:
      UserError: the file is unreadable, of another variant, or has several networks; a tensor is missing, misshapen,
        not finite, or has no place in the model (names it); a pattern matches nothing, or what the model needs.
    """
    conversion = convert(path_or_state_dict, model, key=key, ignore=ignore, option=option)
    if conversion.fresh:
        warnings.warn(f"{conversion.kind}: freshly initialised {describe_fresh(conversion)}", stacklevel=2)
    return conversion.variables


def convert(
    path_or_state_dict: Path | str | StateDict,
    model: RELO,
    *,
    key: jax.Array | None = None,
    ignore: Iterable[str] | str = (),
    option: str = "ignore=",
) -> Conversion:
    """`from_torch` with a report of every tensor."""
    found = find(path_or_state_dict, ignore, option)
    rows = sources(model)
    _check_ignored(found, rows, option)
    # Compared before any tensor, so that a file of another variant is not refused for one of its hundreds.
    fields = sizes(found)
    if size := network_size.difference(fields, model.config):
        variant = network_size.variant_of(fields)
        choice = f", or choose the variant {variant}" if variant not in (None, model.config.variant) else ""
        raise UserError(f"{found.where} ({found.kind}) {size}: give a file of that size{choice}")
    positions = PREFIX + "pos_embed"
    tensors = found.left
    if found.kind == PRETRAINED and positions in tensors:
        tensors[positions] = split_positions(_array(found, positions), model, f"{found.where}: ")

    arrays: dict[tuple[str, ...], Any] = {}
    mapped: dict[str, tuple[int, int]] = {}
    fresh: dict[str, list[str]] = {}
    for source in rows:
        missing = [name for name in source.names if name not in tensors]
        if missing:
            if len(missing) == len(source.names) and matching([missing[0]], OPTIONAL[found.kind]):
                fresh.setdefault(source.part, []).append(missing[0])
                continue
            raise _missing(found, rows, model)
        arrays[source.path] = source.assemble([_array(found, n, tensors[n], source, model) for n in source.names])
        count, parameters = mapped.get(source.part, (0, 0))
        is_parameter = source.path[0] == "params"
        mapped[source.part] = (count + len(source.names), parameters + is_parameter * arrays[source.path].size)

    used = {name for source in rows for name in source.names if source.path in arrays}
    unused = strays.account(found, used, option)
    if fresh:
        arrays |= _initialise(model, jax.random.key(0) if key is None else key, without=set(arrays))
    dtypes = Counter(str(found.tensors[name].dtype).removeprefix("torch.") for name in tensors if name in used)
    return Conversion(_tree(arrays), found.kind, mapped, fresh, unused, found.around, dict(dtypes.most_common()))


def describe_fresh(conversion: Conversion) -> str:
    """The fresh parts in words: `policy, value, encoder (ttokens, search_token)`."""
    parts = []
    for part, names in conversion.fresh.items():
        partly = part in conversion.mapped
        parts.append(f"{part} ({', '.join(n.removeprefix(PREFIX) for n in names)})" if partly else part)
    return ", ".join(parts)


def model_for(
    path_or_state_dict: Path | str | StateDict,
    overrides: Mapping[str, Any] | None = None,
    ignore: Iterable[str] | str = (),
    option: str = "ignore=",
) -> RELO:
    """The model that fits a checkpoint: from the config that `export` wrote into it, or from the shapes of its tensors.

    Args:
      path_or_state_dict, ignore, option: as in `from_torch`.
      overrides: fields of the model that replace those found. Attention heads, templates and drop path do not show in
        the shapes, and come from the variant.

    Raises:
      UserError: it is no checkpoint; or its variant is unknown, and `overrides` lacks the heads.
    """
    overrides = dict(overrides or {})
    written = {} if isinstance(path_or_state_dict, Mapping) else export.config_of(path_or_state_dict)
    if written:
        return RELO.from_config(written["model"] | overrides)
    found = find(path_or_state_dict, ignore, option)
    fields = sizes(found, strict=True)
    body = network_size.BODY
    variant = network_size.variant_of(fields)
    if variant is None and "heads" not in overrides:
        size = ", ".join(f"{field} {fields[field]}" for field in body)
        raise UserError(
            f"{found.where} is of an unknown variant ({size}), without its number of attention heads: set heads=N"
        )
    variant = variant or "tiny"
    if found.kind != PRETRAINED:
        # The search crop has twice the template's side, so there are 4 k^2 + k^2 positions.
        side = int(np.sqrt(_shape(found, PREFIX + "pos_embed")[1] // 5))
        fields |= {"search_size": 32 * side, "template_size": 16 * side}
    fields = {field: value for field, value in fields.items() if VARIANTS[variant][field] != value}
    return RELO.from_variant(variant, **(fields | overrides))


def sizes(found: Found, strict: bool = False) -> dict[str, Any]:
    """The fields of `ModelConfig` that the shapes in a checkpoint show.

    Args:
      found: the checkpoint.
      strict: raise UserError for a tensor that is missing; otherwise fields that depend on it are left out.
    """
    fields: dict[str, Any] = {}
    numbers = [name.removeprefix(PREFIX + "blocks.").split(".") for name in found.tensors if _is_block(name)]
    merges = sorted({int(number) for number, *rest in numbers if rest == ["reduction", "weight"]})
    if len(merges) == 2:
        fields["stem_blocks"] = (merges[0], merges[1] - merges[0] - 1)
        fields["depth"] = max(int(number) for number, *_ in numbers) - merges[1]
    elif strict:
        raise UserError(
            f"{found.where} ({found.kind}) has {len(merges)} patch merges (blocks.N.reduction.weight), expected 2"
            f"{strays.another_network(found)}"
        )
    shapes = {"width": (PREFIX + "patch_embed.proj.weight", 0)}
    if found.kind != PRETRAINED:
        shapes |= {"temporal_tokens": (PREFIX + "ttokens", 1), "head_width": ("decoder.conv1_ctr.0.weight", 0)}
    for name, (tensor, axis) in shapes.items():
        if strict or len(getattr(found.tensors.get(tensor), "shape", ())) > axis:
            fields[name] = int(_shape(found, tensor)[axis]) * (4 if name == "width" else 1)
    return fields


def _is_block(name):
    return name.startswith(PREFIX + "blocks.") and name.removeprefix(PREFIX + "blocks.").partition(".")[0].isdecimal()


def _shape(found, name):
    """The shape of a tensor that must be there, with the number of axes that it has in the release."""
    axes = {"patch_embed.proj.weight": 4, "ttokens": 3, "pos_embed": 3}.get(name.removeprefix(PREFIX), 4)
    if name not in found.tensors:
        raise UserError(f"{found.where} ({found.kind}) lacks {found.short(name)}")
    shape = tuple(found.tensors[name].shape)
    if len(shape) != axes:
        raise UserError(f"{found.where}: {found.shown(name)} has shape {shape}, expected {axes} axes")
    return shape


def _missing(found, rows, model):
    """The UserError for tensors that a checkpoint lacks."""
    left = found.left
    names = [name for source in rows for name in source.names if name not in left]
    needed = [name for name in names if not matching([name], OPTIONAL[found.kind])]
    # Optional tensors of some main blocks, but not of all, are named too.
    first = found.short((needed or [n for n in names if "gamma" in n])[0])
    more = f" and {len(needed) - 1} more tensors" if len(needed) > 1 else ""
    value = f" (it is a {found.others[first]}, not a tensor)" if first in found.others else ""
    return UserError(
        f"{found.where} ({found.kind}) lacks {first}{value}{more}, which variant {model.config.variant!r} needs"
        f"{strays.another_network(found)}"
    )


def _check_ignored(found: Found, rows: Sequence[Source], option: str) -> None:
    """Raises UserError for a pattern that leaves out what the model needs."""
    for name in (name for source in rows for name in source.names):
        if name in found.ignored and not matching([name], OPTIONAL[found.kind]):
            count = sum(pattern == found.ignored[name] for pattern in found.ignored.values())
            raise UserError(
                f"{option}{found.ignored[name]!r} matches {found.shown(name)} of {found.where}, which the model needs "
                f"({count} of {len(found.names)} tensors match): name only tensors that it has no place for"
            )


def _array(found, name, value=None, source=None, model=None):
    """A tensor as a checked float32 array. PyTorch's tensors convert first, since NumPy has no bfloat16."""
    value = found.tensors[name] if value is None else value
    where = f"{found.where}: {found.shown(name)}"
    if source is not None and tuple(value.shape) != source.release_shape:
        raise UserError(
            f"{where} has shape {tuple(value.shape)}, variant {model.config.variant!r} needs {source.release_shape}"
        )
    try:
        if not getattr(value, "is_floating_point", lambda: jnp.issubdtype(value.dtype, jnp.floating))():
            raise UserError(f"its numbers are of type {value.dtype}, expected float32, float16, bfloat16 or float64")
        array = np.asarray(value.detach().cpu().float() if hasattr(value, "detach") else value).astype(np.float32)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if not np.isfinite(array).all():
        raise UserError(f"{where} has NaN or infinite numbers")
    return array


def _initialise(model, key, without):
    """Fresh arrays by path, except those in `without`, which are not even compiled."""

    def missing(key):
        leaves = jax.tree_util.tree_leaves_with_path(init_variables(model, key))
        fresh = {tuple(k.key for k in path): leaf for path, leaf in leaves}
        return {path: leaf for path, leaf in fresh.items() if path not in without}

    return quick_jit(missing)(key)


def _tree(arrays):
    tree = {}
    for path, array in arrays.items():
        node = tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = jnp.asarray(array)
    return tree
