"""Fresh variables of the network, of all its parts or of some.

What takes time is to compile the random numbers of its two hundred arrays. XLA's full optimisation makes them no
faster and takes three times as long, so CPUs, which compile slowly, go without most of it: the numbers are the same.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from relo_jax.model.relo import RELO

PARTS = ("encoder", "regression", "policy", "value")
_QUICK = {"xla_backend_optimization_level": 1}


def init_variables(model: RELO, key: PRNGKeyArray, parts: Collection[str] = PARTS) -> dict:
    """Fresh variables, `{"params", "batch_stats"}`, float32. No data is needed; compiled, since eager is slow.

    With `ModelConfig.init_scheme` "similarity" attention starts as a comparison: see `_start_as_matcher`.

    Args:
      model: the network.
      key: of the random numbers.
      parts: those to return, of `PARTS`. Each has the same numbers, whatever the others; without the encoder, little
        is to be compiled.
    """
    config = model.config

    def network(key: PRNGKeyArray) -> Any:
        s, t, k = config.search_size, config.template_size, config.templates
        templates, boxes = jnp.zeros((1, k, t, t, 3)), jnp.zeros((1, k, 4))
        variables = model.init(key, templates, boxes, jnp.zeros((1, 1, s, s, 3)))
        if config.init_scheme == "similarity":
            variables["params"]["encoder"] = _start_as_matcher(variables["params"]["encoder"], key)
        return variables

    def heads(key: PRNGKeyArray) -> Any:
        return model.init(key, jnp.zeros((1, config.grid**2, config.width)), method="heads")

    def init(key: PRNGKeyArray) -> dict:
        variables = network(key) if "encoder" in parts else heads(key)
        return {name: {part: tree[part] for part in tree if part in parts} for name, tree in variables.items()}

    return quick_jit(init)(key)


def quick_jit(function: Callable) -> Callable:
    """`jax.jit` for what runs once: takes less time to compile, more to run."""
    traced = isinstance(jnp.zeros(()), jax.core.Tracer)  # where XLA takes the options of whoever compiles the whole
    slow = jax.default_backend() == "cpu" and not jax.config.read("jax_disable_most_optimizations")
    return jax.jit(function, compiler_options=_QUICK if slow and not traced else None)


def count_parameters(variables: Mapping[str, Any]) -> dict[str, int]:
    """Number of parameters of each part: encoder, regression, policy, value. `variables` may be shapes."""
    return {part: sum(leaf.size for leaf in jax.tree.leaves(tree)) for part, tree in variables["params"].items()}


def _start_as_matcher(encoder, key):
    """Makes every head of every block start as a matcher: tokens that look alike attend to each other.

    From random weights, attention takes very long to discover that comparing template and search region pays. Here
    query and key projections start equal, and wide enough for logits of a few units, so that a search token attends to
    the template tokens that look like it. Token types differ from the start, so that it reads there whether those were
    target or background. Nothing is tied: training may undo all of it.
    """
    keys = jax.random.split(key, 4)
    attention = encoder["blocks"]["attn"]
    shape = attention["q_proj"]["kernel"].shape
    kernel = jax.random.normal(keys[0], shape) * shape[-1] ** -0.5
    attention["q_proj"]["kernel"] = attention["k_proj"]["kernel"] = kernel
    types = "template_foreground_token", "template_background_token", "search_token"
    for name, k in zip(types, keys[1:], strict=True):
        encoder[name] = 0.3 * jax.random.normal(k, encoder[name].shape)
    return encoder
