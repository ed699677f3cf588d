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
    def __call__(self, x, train: bool, inside=None):
        """`[F, H, W, D]` -> `[F, H, W, c/8]`; with `inside`, what `around` cut to its middle: `[F, 1, 1, c/8]`."""
        padding = "SAME" if inside is None else "VALID"
        for i in range(4):
            conv = nn.Conv(
                self.width >> i, (3, 3), padding=padding, dtype=self.dtype, kernel_init=xavier, name=f"conv{i}"
            )
            x = nn.relu(BatchNorm(self.dtype, name=f"bn{i}")(conv(x), train))
            if inside is not None:
                inside = inside[:, 1:-1, 1:-1]
                x = jnp.where(inside, x, 0)  # what the padding of the whole map would be
        return x


class MapHead(ConvTower):
    """A tower closed by a 1x1 convolution to `channels` maps, in float32."""

    channels: int = 1

    @nn.compact
    def __call__(self, x, train: bool, inside=None):
        """`[F, H, W, D]` -> `[F, H, W, channels]`; `inside` as in `ConvTower`."""
        x = super().__call__(x, train, inside)
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

    def box_at(self, x, action):
        """`boxes` at one cell of each map, and nothing else: a cell depends on the 9 x 9 around it.

        Args:
          x: `[F, H, W, D]`.
          action: `[F]` int, `i * W + j`.

        Returns:
          size `[F, 2]`, offset `[F, 2]`.
        """
        part, inside = around(x, action)
        size, offset = clamped_sigmoid(self.size(part, False, inside)), self.offset(part, False, inside)
        return size[:, 0, 0], offset[:, 0, 0]

    def centers(self, x, train: bool):
        """`[F, H, W, D]` -> `[F, H, W]` in (0, 1); for the release's warm-up, and the "heatmap" localizer."""
        return clamped_sigmoid(self.center(x, train))[..., 0]


def around(x, action, reach=4):
    """The cells around one of each map.

    Args:
      x: `[F, H, W, D]`.
      action: `[F]` int, `i * W + j`.
      reach: r, cells to each side.

    Returns:
      `[F, 2r + 1, 2r + 1, D]`, and bool `[F, 2r + 1, 2r + 1, 1]`: which of them lie on the map.
    """
    width, side = x.shape[2], 2 * reach + 1
    margin = ((reach, reach), (reach, reach), (0, 0))

    def cut(whole, action):
        start = (action // width, action % width, 0)
        return jax.lax.dynamic_slice(jnp.pad(whole, margin), start, (side, side, whole.shape[-1]))

    cells = jnp.ones((*x.shape[1:3], 1), bool)
    return jax.vmap(cut)(x, action), jax.vmap(lambda action: cut(cells, action))(action)


def clamped_sigmoid(x):
    """Sigmoid clamped to [1e-4, 1 - 1e-4], so that the focal loss stays finite."""
    return jnp.clip(jax.nn.sigmoid(x), 1e-4, 1 - 1e-4)


def as_map(features):
    """`[..., N, D]` -> `[F, H, W, D]` with F the product of the leading axes."""
    side = math.isqrt(features.shape[-2])
    return features.reshape(-1, side, side, features.shape[-1])
