"""Kernels in the dtype that they are multiplied in: those of a network that does not learn are rounded once.

With `ModelConfig.dtype` "bfloat16" each linear layer and convolution rounds its float32 kernel whenever it is applied.
Kernels rounded beforehand give the same numbers, take half the memory, and halve what is read for every frame. All else
stays float32: norms and the last layer of each head are computed in it, embeddings are added up before they are
rounded, and biases are too small to matter.

Training holds frozen weights in float32 nevertheless: its checkpoints then have those of the warm-up to the bit.
"""

import jax
from flax.traverse_util import flatten_dict, unflatten_dict

from relo_jax.model.relo import RELO


def cast_kernels(model: RELO, variables: dict) -> dict:
    """The variables with kernels in the model's dtype, for `apply` without gradients.

    Args:
      model: the network.
      variables: its variables, of numpy or JAX; they stay as they are.

    Returns:
      New variables. Arrays that do not change are the given ones, and with "float32" so is the whole tree.
    """
    flat, dtype = flatten_dict(variables["params"]), model.config.dtype
    # "out" is the last layer of a head, in float32 whatever the dtype.
    rounded = [name for name, x in flat.items() if name[-1] == "kernel" and name[-2] != "out" and x.dtype != dtype]
    if not rounded:
        return variables
    # One program: otherwise each shape would be compiled by itself.
    cast = jax.jit(lambda kernels: [x.astype(dtype) for x in kernels])([flat[name] for name in rounded])
    return {**variables, "params": unflatten_dict(flat | dict(zip(rounded, cast, strict=True)))}
