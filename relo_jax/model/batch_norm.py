"""Batch normalisation, whose statistics on several devices take one exchange forward and one backward.

Mean and variance in two passes are two sums over all devices, one after the other, and as many in the gradient; four
layers make a chain of sixteen small all-reduces, each a wait. Here every device takes mean and variance of its own
frames, in two passes, and one gather brings those of all devices together (Chan et al., 1979, "Updating formulae and a
pairwise algorithm for computing sample variances"). The gradient needs two sums, which are exchanged as one. A layer
needs the statistics of the layer before it, so fewer exchanges than two a layer are not possible.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from relo_jax.model import split


class BatchNorm(nn.Module):
    """Batch normalisation over all leading axes, with PyTorch's running statistics.

    Flax's own feeds the biased variance into the running one; PyTorch, and so the release, the unbiased one. Under
    `jit` with a sharded batch the statistics are those of the global batch, whatever the number of devices.
    """

    dtype: str = "float32"
    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "*batch C"], train: bool) -> Float[Array, "*batch C"]:
        """Normalises; with `train` by the statistics of the batch, which then move the running ones."""
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        var = self.variable("batch_stats", "var", jnp.ones, (channels,))
        x = x.astype(jnp.float32)
        if not train:
            return _normalised(x, mean.value, var.value, scale, bias, self.epsilon).astype(self.dtype)
        parts = split.sharing(len(x))
        if parts == 1:
            axes = tuple(range(x.ndim - 1))
            batch_mean = x.mean(axes)
            batch_var = jnp.square(x - batch_mean).mean(axes)
            out = _normalised(x, batch_mean, batch_var, scale, bias, self.epsilon)
        else:
            out, batch_mean, batch_var = over_devices(x, scale, bias, self.epsilon, parts)
        if not self.is_initializing():
            count = x.size // channels
            unbiased = batch_var * (count / max(count - 1, 1))
            mean.value = self.momentum * mean.value + (1 - self.momentum) * batch_mean
            var.value = self.momentum * var.value + (1 - self.momentum) * unbiased
        return out.astype(self.dtype)


def is_trained(norms: dict) -> bool:
    """Whether the running statistics of some layers, `{name: {"mean", "var"}}`, have moved from where they begin."""
    return any(np.asarray(norm["mean"]).any() for norm in norms.values())


def _normalised(x, mean, var, scale, bias, epsilon):
    return (x - mean) * (jax.lax.rsqrt(var + epsilon) * scale) + bias


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def over_devices(
    x: Float[Array, "F *map C"], scale: Float[Array, " C"], bias: Float[Array, " C"], epsilon: float, parts: int
) -> tuple[Float[Array, "F *map C"], Float[Array, " C"], Float[Array, " C"]]:
    """Normalises frames that `parts` devices have an equal share of.

    Returns:
      The normalised frames, and mean and (biased) variance of all of them, which have no gradient.
    """
    mean, var = _statistics(x, parts)
    return _normalised(x, mean, var, scale, bias, epsilon), mean, var


def _statistics(x, parts):
    own = x.reshape(parts, -1, x.shape[-1])
    means = own.mean(1)
    variances = jnp.square(own - means[:, None]).mean(1)
    everywhere = jax.lax.with_sharding_constraint(jnp.stack([means, variances], 1), PartitionSpec())  # [parts, 2, C]
    means, variances = everywhere[:, 0], everywhere[:, 1]
    mean = means.mean(0)
    return mean, variances.mean(0) + jnp.square(means - mean).mean(0)


def _forward(x, scale, bias, epsilon, parts):
    out = over_devices(x, scale, bias, epsilon, parts)
    return out, (x, scale, *out[1:])


def _backward(epsilon, parts, residuals, grads):
    (x, scale, mean, var), (grad, *_) = residuals, grads
    inverse = jax.lax.rsqrt(var + epsilon)
    normalised = (x - mean) * inverse
    own = lambda y: y.reshape(parts, -1, x.shape[-1]).sum(1)
    sums = jnp.stack([own(grad), own(grad * normalised)], 1).sum(0)  # over devices, as one
    of_bias, of_scale = sums[0], sums[1]
    count = x.size // x.shape[-1]
    return (grad - (of_bias + normalised * of_scale) / count) * (inverse * scale), of_scale, of_bias


over_devices.defvjp(_forward, _backward)
