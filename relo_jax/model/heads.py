"""Heads on the map of search features: regression, policy and value (the released system, "Heads").

Features are `[..., N, D]`, N = H x W row-major; leading axes are frames, and batch statistics run over all of them.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from relo_jax.model.layers import BatchNorm

xavier = nn.initializers.xavier_uniform()


class ConvTower(nn.Module):
    """Four times 3x3 convolution, batch norm, ReLU; widths c, c/2, c/4, c/8."""

    width: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x, train: bool):
        """`[F, H, W, D]` -> `[F, H, W, c/8]`."""
        for i in range(4):
            x = nn.Conv(self.width >> i, (3, 3), dtype=self.dtype, kernel_init=xavier, name=f"conv{i}")(x)
            x = nn.relu(BatchNorm(self.dtype, name=f"bn{i}")(x, train))
        return x


class MapHead(ConvTower):
    """A tower closed by a 1x1 convolution to `channels` maps, in float32."""

    channels: int = 1

    @nn.compact
    def __call__(self, x, train: bool):
        """`[F, H, W, D]` -> `[F, H, W, channels]`."""
        x = super().__call__(x, train)
        return nn.Conv(self.channels, (1, 1), kernel_init=xavier, name="out")(x.astype(jnp.float32))


class ValueHead(ConvTower):
    """A tower, global average pool, and a linear layer to one scalar: the baseline of REINFORCE."""

    @nn.compact
    def __call__(self, x, train: bool):
        """`[F, H, W, D]` -> `[F]`."""
        x = super().__call__(x, train).astype(jnp.float32).mean((1, 2))
        return nn.Dense(1, kernel_init=xavier, name="out")(x)[:, 0]


class RegressionHead(nn.Module):
    """Box size and centre offset for every cell, and the release's centre map."""

    width: int
    dtype: str = "float32"

    def setup(self):
        self.center = MapHead(self.width, self.dtype, 1)
        self.offset = MapHead(self.width, self.dtype, 2)
        self.size = MapHead(self.width, self.dtype, 2)

    def boxes(self, x, train: bool):
        """`[F, H, W, D]` -> size `[F, H, W, 2]` in (0, 1) of the crop, offset `[F, H, W, 2]` in cells."""
        return clamped_sigmoid(self.size(x, train)), self.offset(x, train)

    def centers(self, x, train: bool):
        """`[F, H, W, D]` -> `[F, H, W]` in (0, 1); the release's warm-up only, no decision uses it."""
        return clamped_sigmoid(self.center(x, train))[..., 0]


def clamped_sigmoid(x):
    """Sigmoid clamped to [1e-4, 1 - 1e-4], so that the focal loss stays finite."""
    return jnp.clip(jax.nn.sigmoid(x), 1e-4, 1 - 1e-4)


def as_map(features):
    """`[..., N, D]` -> `[F, H, W, D]` with F the product of the leading axes."""
    side = math.isqrt(features.shape[-2])
    return features.reshape(-1, side, side, features.shape[-1])
