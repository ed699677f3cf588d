"""Fast-iTPN: convolutional stem and sub-LN Transformer blocks (Tian et al., 2024; the released system, "Encoder").

Names of parameters are listed in `relo_jax/checkpoints/pytorch/parameter_map.py`, which maps the release's onto them.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.model.layers import Attention, SwiGLU, drop_path, kernel_init, layer_norm
from relo_jax.model.temporal import previous_tokens

STRIDE = 16
# PyTorch's default for convolutions: Kaiming-uniform with a = sqrt(5), that is a variance of 1 / (3 fan_in).
conv_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


# What of a block is stored for the backward pass, which computes the rest again (`RELO.remat_policy`). "dots": products
# with weights. Those of attention, a matrix for each head of each frame, would be too large.
REMAT_POLICIES = {
    "nothing": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class ConvBlock(nn.Module):
    """A stem block: `x + Conv1x1(LN(GELU(Conv1x1(LN(x)))))`; a 1x1 convolution is a linear layer on channels."""

    drop_rate: float
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x, train: bool):
        """`[B, T, H, W, C]` -> the same shape."""
        width = x.shape[-1]
        dense = lambda features, name: nn.Dense(features, dtype=self.dtype, kernel_init=conv_init, name=name)
        y = layer_norm(self.dtype, "norm")(x)
        y = nn.gelu(dense(3 * width, "fc1")(y), approximate=False)
        y = dense(width, "fc2")(layer_norm(self.dtype, "ffn_norm")(y))
        if train and self.drop_rate:
            y = drop_path(y, self.drop_rate, self.make_rng("drop_path"))
        return x + y


class PatchMerge(nn.Module):
    """LayerNorm over channels, then a 2x2 convolution of stride 2 that doubles them."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        """`[B, T, H, W, C]` -> `[B, T, H/2, W/2, 2C]`."""
        x = layer_norm(self.dtype, "norm")(x)
        return nn.Conv(
            2 * x.shape[-1], (2, 2), (2, 2), padding="VALID", dtype=self.dtype, kernel_init=conv_init, name="reduction"
        )(x)


class Block(nn.Module):
    """A main block, on all frames at once: attention over a frame's tokens and its predecessor's, then SwiGLU.

    Called under `nn.scan`; the carry is the tokens, the scanned inputs are this layer's drop rate and its temporal
    tokens of the frame before the first. `propagation` says what is seen of the predecessor, see `temporal.py`; with
    "deep_to_shallow" it is among the frame's own tokens already.
    """

    heads: int
    temporal_tokens: int
    layer_scale: float
    dtype: str = "float32"
    propagation: str = "layer_aligned"

    @nn.compact
    def __call__(self, x, layer, first, train: bool, keep=None):
        """Applies one block.

        Args:
          x: `[B, T, M, D]`, search, template and current temporal tokens.
          layer: `(drop_rate [], carried [B, n, D])`, this layer's share of the scanned inputs; carried is read with
            "layer_aligned" alone.
          first: `[B]` bool, where frame 0 has no predecessor.
          train: whether drop path is active.
          keep: how many of the first tokens are wanted; None is all. The others are looked at, and go no further.

        Returns:
          `x [B, T, M, D]` (or keep for M), and `[B, T, n, D]`: the temporal tokens that entered the block.
        """
        drop_rate, carried = layer
        batch, frames, count, width = x.shape
        current = memory = x[:, :, -self.temporal_tokens :]
        if self.propagation == "layer_aligned":
            memory = previous_tokens(current, carried.astype(x.dtype), first)
        flat = lambda y: y.reshape(batch * frames, -1, width)

        norm1 = layer_norm(self.dtype, "norm1")
        context = seen = norm1(flat(x))
        if self.propagation != "deep_to_shallow":
            context = jnp.concatenate([seen, norm1(flat(memory))], axis=1)
        attended = Attention(self.heads, self.dtype, name="attn")(seen[:, :keep], context)
        x = x[:, :, :keep]
        x = x + self._branch("gamma1", attended.reshape(x.shape), drop_rate, train)
        hidden = SwiGLU(self.dtype, name="mlp")(layer_norm(self.dtype, "norm2")(x))
        x = x + self._branch("gamma2", hidden, drop_rate, train)
        return x, current

    def _branch(self, name, y, drop_rate, train):
        gamma = self.param(name, nn.initializers.constant(self.layer_scale), (y.shape[-1],))
        y = y * gamma.astype(y.dtype)
        return drop_path(y, drop_rate, self.make_rng("drop_path")) if train else y


class Encoder(nn.Module):
    """The one-stream encoder: template, search and temporal tokens through the same blocks.

    Args are those of `relo_jax.model.RELO`.
    """

    width: int
    stem_blocks: tuple[int, int]
    depth: int
    heads: int
    temporal_tokens: int
    search_size: int
    template_size: int
    drop_path: float
    layer_scale: float
    remat: bool
    remat_policy: str
    dtype: str
    propagation: str = "layer_aligned"

    def setup(self):
        width, n = self.width, self.temporal_tokens
        self.search_count = (self.search_size // STRIDE) ** 2
        self.template_count = (self.template_size // STRIDE) ** 2
        # Concrete numbers, whatever is being traced: the stem's rates decide whether a block draws a mask at all.
        rates = [float(r) for r in np.linspace(0.0, self.drop_path, sum(self.stem_blocks) + self.depth)]
        self.main_rates = np.asarray(rates[sum(self.stem_blocks) :], np.float32)

        self.patch_embed = nn.Conv(width // 4, (4, 4), (4, 4), padding="VALID", dtype=self.dtype, kernel_init=conv_init)
        first, second = self.stem_blocks
        self.stage1 = [ConvBlock(rates[i], self.dtype) for i in range(first)]
        self.merge1 = PatchMerge(self.dtype)
        self.stage2 = [ConvBlock(rates[first + i], self.dtype) for i in range(second)]
        self.merge2 = PatchMerge(self.dtype)

        rows = self.search_count + self.template_count
        self.pos_embed = self.param("pos_embed", kernel_init(), (rows, width))
        self.pos_embed_ttoken = self.param("pos_embed_ttoken", kernel_init(), (n, width))
        vector = lambda name, *shape: self.param(name, nn.initializers.zeros, (*shape, width))
        self.ttokens = vector("ttokens", n)
        self.search_token = vector("search_token")
        self.template_foreground_token = vector("template_foreground_token")
        self.template_background_token = vector("template_background_token")

        block = Block
        if self.remat:
            policy = REMAT_POLICIES[self.remat_policy]
            block = nn.remat(Block, static_argnums=(4,), prevent_cse=False, policy=policy)
        self.blocks = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True, "drop_path": True},
            in_axes=(0, nn.broadcast, nn.broadcast),
            length=self.depth,
        )(self.heads, n, self.layer_scale, self.dtype, self.propagation)
        self.fc_norm = layer_norm(self.dtype, "fc_norm")

    def stem(self, images, train: bool = False):
        """Pixels to tokens, position embedding not yet added.

        Args:
          images: `[B, T, S, S, 3]`, uint8 RGB, or float already normalised by ImageNet's mean and deviation.
          train: whether drop path is active.

        Returns:
          `[B, T, (S/16)^2, D]`, row-major.
        """
        x = self.patch_embed(normalise(images).astype(self.dtype))
        for block in self.stage1:
            x = block(x, train)
        x = self.merge1(x)
        for block in self.stage2:
            x = block(x, train)
        x = self.merge2(x)
        return x.reshape(*x.shape[:2], -1, self.width)

    def encode_templates(self, images, boxes_xywh_norm, train: bool = False):
        """Template tokens, computed once a clip or a video (the released system, "Encoder", 5 to 7).

        Args:
          images: `[B, K, s, s, 3]`, as in `stem`.
          boxes_xywh_norm: `[B, K, 4]`, the target in each template crop, relative to its side.
          train: whether drop path is active.

        Returns:
          `[B, K * (s/16)^2, D]`.
        """
        x = self.stem(images, train) + self.pos_embed[self.search_count :].astype(self.dtype)
        share = foreground_share(boxes_xywh_norm, self.template_size)[..., None].astype(self.dtype)
        kind = share * self.template_foreground_token + (1 - share) * self.template_background_token
        x = x + kind.astype(self.dtype)
        return x.reshape(x.shape[0], -1, self.width)

    def _blocks_for_heads(self, x, carried, first, keep):
        """`self.blocks`, but of the last one the first `keep` tokens alone: nothing else of it is read.

        The blocks' parameters are indexed in place. As operands of a shorter scan they would be copied for each frame;
        this way it is a gradient that would be dear, which is why training goes the other.
        """
        stacked = jax.tree.map(jnp.asarray, self.blocks.variables["params"])
        block = Block(self.heads, self.temporal_tokens, self.layer_scale, self.dtype, self.propagation, parent=None)

        def apply(x, layer, keep=None):
            index, tokens = layer
            parameters = jax.tree.map(lambda p: p[index], stacked)
            return block.apply({"params": parameters}, x, (0.0, tokens), first, False, keep)

        x, tokens = jax.lax.scan(apply, x, (jnp.arange(self.depth - 1), carried[:-1]))
        x, last = apply(x, (self.depth - 1, carried[-1]), keep)
        return x, jnp.concatenate([tokens, last[None]])

    def __call__(self, templates, search, carried, first, train: bool = False, no_gradient: bool = False):
        """All frames of a clip, layer by layer.

        Args:
          templates: `[B, K * Nt, D]` of `encode_templates`.
          search: `[B, T, S, S, 3]`, as in `stem`.
          carried: `[L, B, n, D]`, the temporal tokens that entered each block in the frame before the first; with
            `propagation` "deep_to_shallow" `[1, B, n, D]`, those that left the last block.
          first: `[B]` bool: the clip starts here, `carried` is not looked at.
          train: whether drop path is active.
          no_gradient: nobody asks for one; the last block then computes no more than the heads read.

        Returns:
          features `[B, T, N, D]` of the search tokens, and `[L, B, T, n, D]`: the temporal tokens that entered each
          block, or `[1, B, T, n, D]` that left the last.
        """
        x = self.stem(search, train) + (self.pos_embed[: self.search_count] + self.search_token).astype(self.dtype)
        batch, frames = x.shape[:2]
        repeat = lambda y: jnp.broadcast_to(y.astype(self.dtype), (batch, frames, *y.shape[-2:]))
        temporal = repeat(self.ttokens + self.pos_embed_ttoken)
        lean = no_gradient and not train and not self.is_initializing()
        if self.propagation == "deep_to_shallow":
            x, tokens = self._one_by_one(x, repeat(templates[:, None]), temporal, carried, first, train, lean)
        else:
            x = jnp.concatenate([x, repeat(templates[:, None]), temporal], axis=2)
            x, tokens = self._through_blocks(x, carried, first, train, self.search_count if lean else None)
        # The norm acts on each token by itself, and the heads read the search tokens only.
        return self.fc_norm(x[:, :, : self.search_count]), tokens

    def _through_blocks(self, x, carried, first, train, keep):
        if keep is not None:
            return self._blocks_for_heads(x, carried, first, keep)
        return self.blocks(x, (jnp.asarray(self.main_rates), carried), first, train)

    def _one_by_one(self, search, templates, temporal, carried, first, train, lean):
        """As "deep_to_shallow" asks: a frame begins with what the last one ended with, so a scan goes over frames.

        Args:
          search, templates, temporal: `[B, T, _, D]`, the tokens that enter the first block.
          carried, first, train: as in `__call__`.
          lean: of the last block no more is wanted than what is returned.

        Returns:
          `[B, T, N + n, D]`, search and temporal tokens that left the last block; the latter again, `[1, B, T, n, D]`.
        """
        wanted, nothing = self.search_count + self.temporal_tokens, jnp.zeros((self.depth, 0))

        def frame(module, memory, tokens):
            previous, first = memory
            search, templates, temporal = tokens
            # In a first frame a copy of T, gradient included.
            previous = jnp.where(first[:, None, None], temporal, previous.astype(temporal.dtype))
            x = jnp.concatenate([search, temporal, templates, previous], axis=1)[:, None]
            x, _ = module._through_blocks(x, nothing, first, train, wanted if lean else None)
            x = x[:, 0, :wanted]
            return (jax.lax.stop_gradient(x[:, self.search_count :]), jnp.zeros_like(first)), x

        memory, tokens = (carried[0].astype(self.dtype), first), (search, templates, temporal)
        if search.shape[1] == 1:
            _, x = frame(self, memory, tuple(y[:, 0] for y in tokens))
            x = x[:, None]
        else:
            over_frames = nn.scan(
                frame,
                variable_broadcast="params",
                split_rngs={"params": False, "drop_path": True},
                in_axes=1,
                out_axes=1,
            )
            _, x = over_frames(self, memory, tokens)
        return x, x[None, :, :, self.search_count :]


def normalise(images):
    """uint8 RGB to ImageNet-normalised float32; floats are taken as normalised already. `[..., 3]` -> `[..., 3]`."""
    if images.dtype != jnp.uint8:
        return images
    mean = jnp.asarray([0.485, 0.456, 0.406], jnp.float32)
    std = jnp.asarray([0.229, 0.224, 0.225], jnp.float32)
    return (images.astype(jnp.float32) / 255.0 - mean) / std


def foreground_share(boxes_xywh_norm, size):
    """Share of each token's 16 x 16 pixels that the template box covers.

    A pixel i is inside when `x0 <= i < x0 + w`, both in pixels.

    Args:
      boxes_xywh_norm: `[..., 4]`, relative to the crop's side.
      size: side of the crop in pixels.

    Returns:
      `[..., (size/16)^2]` in [0, 1], row-major.
    """
    x, y, w, h = jnp.moveaxis(boxes_xywh_norm * size, -1, 0)
    pixels = jnp.arange(size, dtype=boxes_xywh_norm.dtype)

    def share(start, extent):
        start, end = start[..., None], (start + extent)[..., None]
        inside = (pixels >= start) & (pixels < end)
        return inside.reshape(*inside.shape[:-1], -1, STRIDE).mean(-1)

    mask = share(y, h)[..., :, None] * share(x, w)[..., None, :]
    return mask.reshape(*mask.shape[:-2], -1)
