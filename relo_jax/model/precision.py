"""Kernels in the dtype that they are multiplied in: of a network that does not learn, rounded once and held in that.

With `model.dtype` "bfloat16" each linear layer and convolution rounds its float32 kernel whenever it is applied.
Rounded beforehand they are the same numbers, half the memory, and half as much to read for every frame. All else stays
float32: norms and the last layer of each head are computed in it, embeddings are added up before they are rounded, and
biases are too small to matter.

Training holds frozen weights in float32 all the same: its checkpoints have those of the warm-up to the bit.
"""

import jax
from flax.traverse_util import flatten_dict, unflatten_dict


def cast_kernels(model, variables):
    """The variables, with the kernels that `model` rounds to its dtype in that dtype; for `apply` without gradients.

    Args:
      model: `RELO`.
      variables: its variables, of numpy or JAX; they stay as they are.

    Returns:
      variables; those that change nothing, and with "float32" all of them, are the very arrays that were given.
    """
    flat = flatten_dict(variables["params"])
    # "out" is the last layer of a head, in float32 whatever the dtype.
    rounded = [
        name for name, x in flat.items() if name[-1] == "kernel" and name[-2] != "out" and x.dtype != model.dtype
    ]
    if not rounded:
        return variables
    # One program: on its own, each shape would be compiled by itself.
    cast = jax.jit(lambda kernels: [x.astype(model.dtype) for x in kernels])([flat[name] for name in rounded])
    return {**variables, "params": unflatten_dict(flat | dict(zip(rounded, cast, strict=True)))}
