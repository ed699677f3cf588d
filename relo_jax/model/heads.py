"""Heads on the map of search features: regression, policy and value (the release's heads).

Batch statistics run over all F frames at once, whatever clips they belong to.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from relo_jax.config.model_config import ModelConfig
from relo_jax.model import split
from relo_jax.model.batch_norm import BatchNorm
from relo_jax.model.linear import Conv

xavier = nn.initializers.xavier_uniform()


class ConvTower(nn.Module):
    """Four times 3x3 convolution, batch norm, ReLU; widths c, c/2, c/4, c/8."""

    config: ModelConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "F H W D"], train: bool, inside: Bool[Array, "F H W 1"] | None = None
    ) -> Float[Array, "F _ _ C"]:
        """`[F, H, W, c/8]`; with `inside`, for the 9 x 9 cells of `neighbourhood`, the middle one: `[F, 1, 1, c/8]`."""
        padding = "SAME" if inside is None else "VALID"
        dtype = self.config.dtype
        for i in range(4):
            width = self.config.head_width >> i
            conv = Conv(width, (3, 3), padding=padding, dtype=dtype, kernel_init=xavier, name=f"conv{i}")
            x = nn.relu(BatchNorm(dtype, name=f"bn{i}")(conv(x), train))
            if inside is not None:
                inside = inside[:, 1:-1, 1:-1]
                x = jnp.where(inside, x, 0)  # as the padding of the whole map would be
        return x


class MapHead(ConvTower):
    """A tower closed by a 1x1 convolution to `channels` maps, in float32."""

    channels: int = 1

    @nn.compact
    def __call__(
        self, x: Float[Array, "F H W D"], train: bool, inside: Bool[Array, "F H W 1"] | None = None
    ) -> Float[Array, "F _ _ {self.channels}"]:
        """The maps; `inside` as in `ConvTower`."""
        x = super().__call__(x, train, inside)
        return nn.Conv(self.channels, (1, 1), kernel_init=xavier, name="out")(x.astype(jnp.float32))


class ValueHead(ConvTower):
    """A tower, global average pool, and a linear layer to one scalar: the baseline of REINFORCE."""

    @nn.compact
    def __call__(self, x: Float[Array, "F H W D"], train: bool) -> Float[Array, " F"]:  # type: ignore[override]
        """The expected reward of each frame."""
        x = super().__call__(x, train).astype(jnp.float32).mean((1, 2))
        return nn.Dense(1, kernel_init=xavier, name="out")(x)[:, 0]


class RegressionHead(nn.Module):
    """Box size and centre offset for every cell, and the release's centre map."""

    config: ModelConfig

    def setup(self) -> None:
        self.center = MapHead(self.config, 1)
        self.offset = MapHead(self.config, 2)
        self.size = MapHead(self.config, 2)

    def boxes(self, x: Float[Array, "F H W D"], train: bool) -> tuple[Float[Array, "F H W 2"], Float[Array, "F H W 2"]]:
        """(size in (0, 1) of the crop, offset in cells)."""
        return clamped_sigmoid(self.size(x, train)), self.offset(x, train)

    def box_at(
        self, x: Float[Array, "F H W D"], action: Int[Array, " F"]
    ) -> tuple[Float[Array, "F 2"], Float[Array, "F 2"]]:
        """`boxes` at one cell `i * W + j` of each map, computed from the 9 x 9 cells that it depends on."""
        cells, inside = neighbourhood(x, action)
        size, offset = clamped_sigmoid(self.size(cells, False, inside)), self.offset(cells, False, inside)
        return size[:, 0, 0], offset[:, 0, 0]

    def centers(self, x: Float[Array, "F H W D"], train: bool) -> Float[Array, "F H W"]:
        """The centre map, in (0, 1): for the release's warm-up and the "heatmap" localizer."""
        return clamped_sigmoid(self.center(x, train))[..., 0]


def neighbourhood(
    x: Float[Array, "F H W D"], action: Int[Array, " F"], reach: int = 4
) -> tuple[Float[Array, "F 2*{reach}+1 2*{reach}+1 D"], Bool[Array, "F 2*{reach}+1 2*{reach}+1 1"]]:
    """The cells up to `reach` from the cell `i * W + j` of each map, and which of them lie on the map."""
    width, side = x.shape[2], 2 * reach + 1
    margin = ((reach, reach), (reach, reach), (0, 0))

    def cut(whole, action):
        start = (action // width, action % width, 0)
        return jax.lax.dynamic_slice(jnp.pad(whole, margin), start, (side, side, whole.shape[-1]))

    cells = jnp.ones((*x.shape[1:3], 1), bool)
    return jax.vmap(cut)(x, action), jax.vmap(lambda action: cut(cells, action))(action)


def clamped_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Sigmoid clamped to [1e-4, 1 - 1e-4], so that the focal loss stays finite."""
    return jnp.clip(jax.nn.sigmoid(x), 1e-4, 1 - 1e-4)


def as_map(features: Float[Array, "*frames N D"]) -> Float[Array, "F H W D"]:
    """Features of N = H x W cells, row-major, as maps; F is the product of the leading axes (see `split.flatten`)."""
    side = math.isqrt(features.shape[-2])
    if features.ndim == 4:
        features = split.flatten(features)
    return features.reshape(-1, side, side, features.shape[-1])


def of_frames(out: Float[Array, "F ..."], features: Float[Array, "*frames N D"]) -> Float[Array, "..."]:
    """A head's output for `as_map(features)`, with the leading axes of the features."""
    if features.ndim == 4:
        return split.unflatten(out, len(features))
    return out.reshape(*features.shape[:-2], *out.shape[1:])
