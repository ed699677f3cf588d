"""The trained heads in groups of clips, as in the release, where each GPU normalises by itself.

There a GPU has 8 clips in the warm-up and 2 in the RL stage, and its heads see one frame at a time. BatchNorm
therefore normalises by the statistics of one frame of one group. The running statistics move once for each of the T
frames, in their order; those of the first group are kept, and those of the others are lost. `config.group_size` and
`config.batch_norm` ask for this, on any number of devices. All groups and frames are computed at once.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from relo_jax.model import RELO
from relo_jax.model.batch_norm import BatchNorm
from relo_jax.model.split import devices, flatten, unflatten
from relo_jax.train.mesh import constrain
from relo_jax.train.state import merge, split

Tree = TypeVar("Tree")


def split_groups(tree: Tree, size: int) -> Tree:
    """`[B, ...]` -> `[B / size, size, ...]`: a group has consecutive clips. `size` 0: one group of all clips."""
    return jax.tree.map(lambda x: x.reshape(-1, size or len(x), *x.shape[1:]), tree)


def apply_heads(
    model: RELO, config: ConfigDict, variables: dict, heads: Callable[[Any, jax.Array], Any], features: jax.Array,
    paths: Iterable[str], train: bool = True,
) -> tuple[Any, dict]:  # fmt: skip
    """The outputs of heads, and the running statistics of all modules after them.

    Args:
      config: reads `batch_norm` and `group_size`.
      variables: `params` of the heads; `batch_stats` of all modules.
      heads: (module, features `[..., N, D]`) -> tree of arrays `[..., *]`.
      features: `[B, T, N, D]`.
      paths: of the heads, see `relo_jax.train.state.split`.
      train: whether `heads` normalises by the statistics of the features.

    Returns:
      A tree of arrays `[B, T, *]`, and `batch_stats`.
    """
    batch_stats = variables["batch_stats"]
    if not train or (config.batch_norm == "batch" and not config.group_size):
        outputs, updated = model.apply(variables, features, method=heads, mutable=["batch_stats"])
        return outputs, {**batch_stats, **updated["batch_stats"]}
    running, _ = split(batch_stats, paths)
    # Training does not read the running statistics. Zeros become the share of the new ones in the moving average.
    zeros = {"params": variables["params"], "batch_stats": jax.tree.map(jnp.zeros_like, running)}

    def one_part(features):
        outputs, updated = model.apply(zeros, features, method=heads, mutable=["batch_stats"])
        return outputs, updated["batch_stats"]

    parts = split_groups(features, config.group_size)  # [G, size, T, N, D]
    by_frame = config.batch_norm == "frame"
    outputs, shares = _over_frames(one_part, parts) if by_frame else jax.vmap(one_part)(parts)
    shares = jax.tree.map(lambda x: x[0] if by_frame else x[:1], shares)  # of the first group, in order of frames
    shares = constrain(shares, "none")  # gathered here, not in the loop
    move = lambda old, share: jax.tree.map(lambda a, b: BatchNorm.momentum * a + b, old, share)
    running, _ = jax.lax.scan(lambda old, share: (move(old, share), None), running, shares)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), outputs), merge(batch_stats, running)


def _over_frames(one_part, parts):
    """`one_part` of each frame of each group `[G, size, T, *]`: outputs `[G, size, T, *]`, statistics `[G, T, *]`."""
    if devices(len(parts), parts.shape[2])[1] == 1:
        return jax.vmap(jax.vmap(one_part, in_axes=1, out_axes=(1, 0)))(parts)
    by_frame = lambda x: jnp.moveaxis(x, 2, 1)  # and back
    outputs, shares = jax.vmap(one_part)(flatten(by_frame(parts)))
    of_groups = lambda tree: jax.tree.map(lambda x: unflatten(x, len(parts)), tree)
    return jax.tree.map(by_frame, of_groups(outputs)), of_groups(shares)
