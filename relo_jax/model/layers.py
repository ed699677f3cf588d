"""Layers that Flax does not ship as the release defines them: drop path, attention with biases, SwiGLU.

All of them make parameters in float32 and compute in `dtype`; softmax and the statistics of every norm are float32.
Where nothing learns, kernels may be held in `dtype` (`precision.py`).
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from relo_jax.model import platform
from relo_jax.model.linear import Dense, spread
from relo_jax.model.platform import Implementation
from relo_jax.model.split import sharing

LN_EPS = 1e-6


def drop_path(
    x: Float[Array, "B T *token D"], rate: float | Float[Array, ""], key: PRNGKeyArray
) -> Float[Array, "B T *token D"]:
    """Stochastic depth: drops the whole residual branch of a frame, and scales the survivors (Huang et al., 2016).

    Args:
      x: the branch; each of the B x T frames is dropped by itself.
      rate: in [0, 1); each layer under `nn.scan` has its own.
      key: PRNG key.
    """
    keep = 1.0 - rate
    shape = x.shape[:2] + (1,) * (x.ndim - 2)
    mask = jax.random.bernoulli(key, keep, shape)
    return jnp.where(mask, x / jnp.asarray(keep, x.dtype), jnp.zeros((), x.dtype))


def dot_product_attention(
    query: Float[Array, "B Q h d"],
    key: Float[Array, "B K h d"],
    value: Float[Array, "B K h d"],
    implementation: Implementation | None = None,
) -> Float[Array, "B Q h d"]:
    """Softmax attention with logits and softmax in float32.

    Args:
      query: already scaled by d^-0.5.
      key, value: what it attends to.
      implementation: "plain", or "xla" and "cudnn" of `jax.nn.dot_product_attention`; None takes the platform's.

    Returns:
      The values' weighted sums, in their dtype.
    """
    implementation = implementation or platform.attention(query.shape[0], query.dtype.name, query.shape[-1])
    if implementation != "plain":
        return jax.nn.dot_product_attention(query, key, value, scale=1.0, implementation=implementation)
    # Heads first, and the division by the sum of weights last: it divides d numbers a query instead of K.
    query, key, value = (jnp.swapaxes(y, 1, 2) for y in (query, key, value))
    logits = jnp.einsum("bhqd,bhkd->bhqk", query, key, preferred_element_type=jnp.float32)
    weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))
    summed = jnp.einsum("bhqk,bhkd->bhqd", weights.astype(value.dtype), value, preferred_element_type=jnp.float32)
    return jnp.swapaxes(summed / weights.sum(-1, keepdims=True), 1, 2).astype(value.dtype)


def gelu(x: Float[Array, "*any"], way: Literal["erfc", "erf"] | None = None) -> Float[Array, "*any"]:
    """GELU without an approximation (Hendrycks and Gimpel, 2016): x times the share of the normal distribution below x.

    Args:
      x: any.
      way: "erfc" is JAX's, in `x`'s dtype. "erf" is one operation of float32, which XLA fuses with what follows; it is
        off by at most 1e-7 |x|. None takes the platform's.
    """
    if (way or platform.choices().gelu) == "erfc":
        return jax.nn.gelu(x, approximate=False)
    wide = x.astype(jnp.float32)
    return (0.5 * wide * (1 + jax.lax.erf(wide * 0.5**0.5))).astype(x.dtype)


class Attention(nn.Module):
    """Multi-head attention in the sub-LN flavour of Fast-iTPN: bias on q and v only, no norm inside.

    Queries come from `x`, keys and values from `context`, which has tokens of the previous frame besides. Those are
    only attended to: each layer gets them afresh, so their own output is never computed.
    """

    heads: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "F M D"], context: Float[Array, "F K D"]) -> Float[Array, "F M D"]:
        """What each token of `x` reads from `context`."""
        batch, _, width = x.shape
        split = lambda y: y.reshape(batch, -1, self.heads, width // self.heads)
        dense = lambda name: Dense(width, use_bias=False, dtype=self.dtype, kernel_init=kernel_init(), name=name)
        q_bias = self.param("q_bias", nn.initializers.zeros, (width,))
        v_bias = self.param("v_bias", nn.initializers.zeros, (width,))
        # Where XLA would make keys and values by one product, out of which both are copied, a barrier keeps them apart.
        size = (2 * context.size // sharing(batch) + width**2) * jnp.dtype(self.dtype).itemsize
        same = jax.lax.optimization_barrier(context) if size <= platform.choices().joined_bytes else context
        query, key, value = dense("q_proj")(x), dense("k_proj")(context), dense("v_proj")(same)
        query, value = query + spread(q_bias, query), value + spread(v_bias, value)
        scale = (width // self.heads) ** -0.5
        out = dot_product_attention(split(query * scale), split(key), split(value))
        return Dense(width, dtype=self.dtype, kernel_init=kernel_init(), name="proj")(out.reshape(x.shape))


class SwiGLU(nn.Module):
    """`w3(LN(silu(w1 x) * w2 x))`, with a hidden width of 3 D."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "*tokens D"]) -> Float[Array, "*tokens D"]:
        """Each token by itself."""
        width = x.shape[-1]
        dense = lambda features, name: Dense(features, dtype=self.dtype, kernel_init=kernel_init(), name=name)
        hidden = nn.silu(dense(3 * width, "w1")(x)) * dense(3 * width, "w2")(x)
        hidden = layer_norm(self.dtype, "norm")(hidden)
        return dense(width, "w3")(hidden)


def kernel_init() -> nn.initializers.Initializer:
    """Truncated normal with standard deviation 0.02, as for every linear layer of the encoder."""
    return nn.initializers.truncated_normal(0.02)


def layer_norm(dtype: str, name: str) -> nn.LayerNorm:
    """The encoder's LayerNorm: eps 1e-6 everywhere."""
    return nn.LayerNorm(epsilon=LN_EPS, dtype=dtype, name=name, use_fast_variance=platform.choices().one_pass_variance)
