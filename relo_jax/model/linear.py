"""Linear layers and convolutions whose parameters have float32 gradients, whatever dtype they compute in.

Flax rounds a float32 kernel to the dtype of the layer, and the gradient of the rounded kernel has that dtype. With a
batch on several devices each of them sums over its own frames, and XLA adds up the sums in bfloat16 too: the more
devices, the less of a small gradient is left. Here the sums over frames are float32, and only then cross devices. A
layer in float32 is Flax's own.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

NHWC = ("NHWC", "HWIO", "NHWC")


class Dense(nn.Dense):
    """`flax.linen.Dense`, with float32 gradients of kernel and bias."""

    @nn.compact
    def __call__(self, inputs: Float[Array, "*tokens I"]) -> Float[Array, "*tokens O"]:
        """Each token by itself."""
        if jnp.dtype(self.dtype) == jnp.float32:
            return super().__call__(inputs)
        kernel = self.param("kernel", self.kernel_init, (inputs.shape[-1], self.features), self.param_dtype)
        out = _product(inputs.astype(self.dtype), kernel)
        if not self.use_bias:
            return out
        return out + spread(self.param("bias", self.bias_init, (self.features,), self.param_dtype), out)


class Conv(nn.Conv):
    """`flax.linen.Conv` of two axes, with float32 gradients of kernel and bias."""

    @nn.compact
    def __call__(self, inputs: Float[Array, "F H W I"]) -> Float[Array, "F _ _ O"]:
        """Each frame by itself."""
        if jnp.dtype(self.dtype) == jnp.float32:
            return super().__call__(inputs)
        height, width = self.kernel_size  # type: ignore[misc]
        shape = (height, width, inputs.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        strides = self.strides if isinstance(self.strides, tuple) else (self.strides,) * 2
        out = _convolution(inputs.astype(self.dtype), kernel, strides, self.padding)
        return out + spread(self.param("bias", self.bias_init, (self.features,), self.param_dtype), out)


def spread(x: Float[Array, "..."], over: Float[Array, "..."] | jax.ShapeDtypeStruct) -> Float[Array, "..."]:
    """`x` for a sum or product with `over`, in its dtype, with a gradient that is summed in float32."""
    return x if over.dtype == jnp.float32 else _spread(x, over.shape, over.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _spread(x, shape, dtype):
    return jnp.broadcast_to(x.astype(dtype), shape)


def _spread_backward(shape, dtype, like, grad):
    added = len(shape) - like.ndim
    axes = [axis for axis in range(len(shape)) if axis < added or like.shape[axis - added] < shape[axis]]
    return (grad.astype(jnp.float32).sum(axes).reshape(like.shape).astype(like.dtype),)


@jax.tree_util.register_static
class _Like:
    """Shape and dtype of an array, without the array."""

    def __init__(self, shape: tuple[int, ...], dtype: Any):
        self.shape, self.dtype, self.ndim = shape, dtype, len(shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Like) and (self.shape, self.dtype) == (other.shape, other.dtype)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))


_spread.defvjp(lambda x, *options: (_spread(x, *options), _Like(x.shape, x.dtype)), _spread_backward)


@jax.custom_vjp
def _product(x, kernel):
    return jax.lax.dot_general(x, kernel.astype(x.dtype), (((x.ndim - 1,), (0,)), ((), ())))


def _product_backward(residuals, grad):
    x, kernel = residuals
    by_x = jax.lax.dot_general(grad, kernel.astype(x.dtype), (((grad.ndim - 1,), (1,)), ((), ())))
    tokens = tuple(range(x.ndim - 1))
    by_kernel = jax.lax.dot_general(x, grad, ((tokens, tokens), ((), ())), preferred_element_type=jnp.float32)
    return by_x, by_kernel.astype(kernel.dtype)


_product.defvjp(lambda x, kernel: (_product(x, kernel), (x, kernel)), _product_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolution(x, kernel, strides, padding):
    return jax.lax.conv_general_dilated(x, kernel.astype(x.dtype), strides, padding, dimension_numbers=NHWC)


def _convolution_backward(strides, padding, residuals, grad):
    x, kernel = residuals
    forward = lambda x: jax.lax.conv_general_dilated(
        x, kernel.astype(x.dtype), strides, padding, dimension_numbers=NHWC
    )
    (by_x,) = jax.vjp(forward, x)[1](grad)
    # The gradient of the kernel is a convolution too: frames take the place of channels, the gradient that of a kernel.
    sides = list(zip(x.shape[1:3], grad.shape[1:3], kernel.shape[:2], strides, strict=True))
    before = [low for low, _ in jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)]
    pads = [
        (low, size + stride * (out - 1) - side - low)
        for low, (side, out, size, stride) in zip(before, sides, strict=True)
    ]
    by_kernel = jax.lax.conv_general_dilated(
        x, grad, (1, 1), pads, rhs_dilation=strides, dimension_numbers=("CHWN", "IHWO", "HWNC"),
        preferred_element_type=jnp.float32,
    )  # fmt: skip
    return by_x, by_kernel.astype(kernel.dtype)


_convolution.defvjp(lambda x, kernel, *options: (_convolution(x, kernel, *options), (x, kernel)), _convolution_backward)
