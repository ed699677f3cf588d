"""Checks what a checkpoint holds before it is used: arrays of numbers, of the model's shapes, all of them finite."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.checkpoints import network_size
from relo_jax.checkpoints.pytorch.parameter_map import abstract_variables
from relo_jax.errors import UserError
from relo_jax.model import RELO

_MAX_DEPTH = 20


def check_fits(variables: Any, model: RELO, where: Path | str) -> None:
    """Raises UserError for the first array that the model lacks, or has with another shape, or that is no array.

    Args:
      variables: tree of anything with a shape and a dtype.
      where: the checkpoint, for the message.
    """
    _check_names(variables, where)
    saved, needed = (
        {_name(path): _shape(leaf, _name(path), where) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (variables, abstract_variables(model))
    )
    for name in [*needed, *saved]:
        if saved.get(name) != needed.get(name):
            has, needs = (f"shape {tree[name]}" if name in tree else "nothing" for tree in (saved, needed))
            size = network_size.difference(network_size.of_variables(saved), model.config)
            raise UserError(
                f"{where} is of another variant than {model.config.variant!r}: "
                f"{f'it {size}; ' if size else ''}{name[:200]}: {has}, expected {needs}"
            )


def check_finite(variables: Any, where: Path | str) -> None:
    """Raises UserError if a weight is NaN or infinite: the file is damaged, or its training diverged.

    Args:
      variables: tree of arrays.
      where: the checkpoint, for the message.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        bad = np.count_nonzero(~np.isfinite(np.asarray(leaf)))
        if bad:
            raise UserError(
                f"{where} cannot be used: {bad} of the {leaf.size} numbers of {_name(path)} are NaN or infinite"
            )


def _check_names(tree, where):
    """Raises UserError for a name that is no text, and for dicts nested without end."""
    level = [tree]
    for _ in range(_MAX_DEPTH):
        level = [node for node in level if isinstance(node, dict)]
        for key in (key for node in level for key in node):
            if not isinstance(key, str):
                raise UserError(f"{where} is no checkpoint of relo_jax: a name in it is {str(key)[:40]!r}, not a text")
        level = [value for node in level for value in node.values()]
        if not level:
            return
    raise UserError(f"{where} is no checkpoint of relo_jax: its dicts are nested more than {_MAX_DEPTH} deep")


def _name(path):
    return "/".join(str(getattr(key, "key", key)) for key in path)


def _shape(leaf, name, where):
    """The shape of a leaf. Raises UserError if it is no array of numbers."""
    dtype = getattr(leaf, "dtype", None)
    if dtype is None or not hasattr(leaf, "shape") or not jnp.issubdtype(dtype, jnp.number):
        kind = type(leaf).__name__ if dtype is None else f"an array of {dtype}"
        raise UserError(
            f"{where} is no checkpoint of relo_jax: {name[:200] or 'it'} is {kind}, not an array of numbers"
        )
    return tuple(leaf.shape)
