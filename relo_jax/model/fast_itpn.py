"""Fast-iTPN: convolutional stem and sub-LN Transformer blocks (Tian et al., 2024).

`relo_jax/checkpoints/pytorch/parameter_map.py` maps the names of the release's parameters onto those used here.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Real

from relo_jax.config.model_config import STRIDE, ModelConfig
from relo_jax.model import split
from relo_jax.model.layers import Attention, SwiGLU, drop_path, gelu, kernel_init, layer_norm
from relo_jax.model.linear import Conv, Dense, spread
from relo_jax.model.temporal import previous_tokens

IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of RGB in [0, 1]
# PyTorch's default for convolutions: Kaiming-uniform with a = sqrt(5), that is a variance of 1 / (3 fan_in).
conv_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# What of a block is stored for the backward pass: nothing, or products with weights; those of attention are too large.
REMAT_POLICIES = {
    "nothing": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class ConvBlock(nn.Module):
    """A stem block: `x + Conv1x1(LN(GELU(Conv1x1(LN(x)))))`; a 1x1 convolution is a linear layer on channels."""

    drop_rate: float
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "B T H W C"], train: bool) -> Float[Array, "B T H W C"]:
        """Applies the block, with drop path in training."""
        width = x.shape[-1]
        dense = lambda features, name: Dense(features, dtype=self.dtype, kernel_init=conv_init, name=name)
        y = layer_norm(self.dtype, "norm")(x)
        y = gelu(dense(3 * width, "fc1")(y))
        y = dense(width, "fc2")(layer_norm(self.dtype, "ffn_norm")(y))
        if train and self.drop_rate:
            y = drop_path(y, self.drop_rate, self.make_rng("drop_path"))
        return x + y


class PatchMerge(nn.Module):
    """LayerNorm over channels, then a 2x2 convolution of stride 2 that doubles them."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "B T H W C"]) -> Float[Array, "B T H//2 W//2 2*C"]:
        """Halves the map's sides and doubles its channels."""
        batch, x = len(x), split.flatten(layer_norm(self.dtype, "norm")(x))
        x = Conv(
            2 * x.shape[-1], (2, 2), (2, 2), padding="VALID", dtype=self.dtype, kernel_init=conv_init, name="reduction"
        )(x)
        return split.unflatten(x, batch)


class Block(nn.Module):
    """A main block, on all frames at once: attention over a frame's tokens and its predecessor's, then SwiGLU.

    Called under `nn.scan`: the carry is the tokens, the scanned inputs are this layer's drop rate and its temporal
    tokens of the frame before the clip. `config.propagation` decides what is read of the predecessor, see
    `temporal.py`; with "deep_to_shallow" its tokens are already among the frame's own.
    """

    config: ModelConfig

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B T M D"],
        layer: tuple[Float[Array, ""] | float, Float[Array, "..."]],
        first: Bool[Array | np.ndarray, " B"],
        train: bool,
        keep: int | None = None,
    ) -> tuple[Float[Array, "B T _ D"], Float[Array, "B T n D"]]:
        """Applies one block.

        Args:
          x: search, template and current temporal tokens.
          layer: `(drop_rate, carried [B, n, D])`, this layer's share of the scanned inputs; only "layer_aligned" reads
            carried.
          first: where frame 0 has no predecessor. train: whether drop path is active.
          keep: how many tokens to return, from the first on; the others are only attended to. None keeps all.

        Returns:
          The tokens, and the temporal tokens that entered the block.
        """
        drop_rate, carried = layer
        config, dtype = self.config, self.config.dtype
        current = memory = x[:, :, -config.temporal_tokens :]
        if config.propagation == "layer_aligned":
            memory = previous_tokens(current, carried.astype(x.dtype), first)

        norm1 = layer_norm(dtype, "norm1")
        own = context = norm1(split.flatten(x))
        if config.propagation != "deep_to_shallow":
            context = jnp.concatenate([own, norm1(split.flatten(memory))], axis=1)
        attended = Attention(config.heads, dtype, name="attn")(own[:, :keep], context)
        x = x[:, :, :keep]
        x = x + self._branch("gamma1", split.unflatten(attended, len(x)), drop_rate, train)
        hidden = SwiGLU(dtype, name="mlp")(layer_norm(dtype, "norm2")(x))
        x = x + self._branch("gamma2", hidden, drop_rate, train)
        return x, current

    def _branch(self, name, y, drop_rate, train):
        gamma = self.param(name, nn.initializers.constant(self.config.layer_scale), (y.shape[-1],))
        y = y * spread(gamma, y)
        return drop_path(y, drop_rate, self.make_rng("drop_path")) if train else y


class Encoder(nn.Module):
    """The one-stream encoder: template, search and temporal tokens through the same blocks."""

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        width, n, dtype = config.width, config.temporal_tokens, config.dtype
        self.search_count = (config.search_size // STRIDE) ** 2
        self.template_count = (config.template_size // STRIDE) ** 2
        # Concrete numbers, whatever is being traced: the stem's rates decide whether a block draws a mask at all.
        rates = [float(r) for r in np.linspace(0.0, config.drop_path, sum(config.stem_blocks) + config.depth)]
        self.main_rates = np.asarray(rates[sum(config.stem_blocks) :], np.float32)

        self.patch_embed = Conv(width // 4, (4, 4), (4, 4), padding="VALID", dtype=dtype, kernel_init=conv_init)
        first, second = config.stem_blocks
        self.stage1 = [ConvBlock(rates[i], dtype) for i in range(first)]
        self.merge1 = PatchMerge(dtype)
        self.stage2 = [ConvBlock(rates[first + i], dtype) for i in range(second)]
        self.merge2 = PatchMerge(dtype)

        rows = self.search_count + self.template_count
        self.pos_embed = self.param("pos_embed", kernel_init(), (rows, width))
        self.pos_embed_ttoken = self.param("pos_embed_ttoken", kernel_init(), (n, width))
        vector = lambda name, *shape: self.param(name, nn.initializers.zeros, (*shape, width))
        self.ttokens = vector("ttokens", n)
        self.search_token = vector("search_token")
        self.template_foreground_token = vector("template_foreground_token")
        self.template_background_token = vector("template_background_token")

        block = Block
        if config.remat:
            policy = REMAT_POLICIES[config.remat_policy]
            block = nn.remat(Block, static_argnums=(4,), prevent_cse=False, policy=policy)
        self.blocks = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True, "drop_path": True},
            in_axes=(0, nn.broadcast, nn.broadcast),
            length=config.depth,
        )(config)
        self.fc_norm = layer_norm(dtype, "fc_norm")

    def stem(self, images: Real[Array | np.ndarray, "B T S S 3"], train: bool = False) -> Float[Array, "B T N D"]:
        """Pixels to tokens, without position embedding.

        Args:
          images: uint8 RGB, or float already normalised by ImageNet's mean and deviation.
          train: whether drop path is active.

        Returns:
          N = (S / 16)^2 tokens, row-major.
        """
        x = split.unflatten(self.patch_embed(split.flatten(normalise(images).astype(self.config.dtype))), len(images))
        for block in self.stage1:
            x = block(x, train)
        x = self.merge1(x)
        for block in self.stage2:
            x = block(x, train)
        x = self.merge2(x)
        return x.reshape(*x.shape[:2], -1, self.config.width)

    def encode_templates(
        self,
        images: Real[Array | np.ndarray, "B K s s 3"],
        boxes_xywh_norm: Float[Array | np.ndarray, "B K 4"],
        train: bool = False,
    ) -> Float[Array, "B M D"]:
        """Template tokens, computed once a clip or a video.

        Args:
          images: template crops, as in `stem`.
          boxes_xywh_norm: the target in each template crop, relative to its side.
          train: whether drop path is active.

        Returns M = K (s / 16)^2 tokens.
        """
        x = self.stem(images, train)
        share = foreground_share(boxes_xywh_norm, self.config.template_size)[..., None].astype(x.dtype)
        kind = share * self.template_foreground_token + (1 - share) * self.template_background_token
        x = x + spread(self.pos_embed[self.search_count :], x) + kind.astype(x.dtype)
        return x.reshape(x.shape[0], -1, self.config.width)

    def __call__(
        self,
        templates: Float[Array | np.ndarray, "B M D"],
        search: Real[Array | np.ndarray, "B T S S 3"],
        carried: Float[Array | np.ndarray, "L B n D"],
        first: Bool[Array | np.ndarray, " B"],
        train: bool = False,
        no_gradient: bool = False,
    ) -> tuple[Float[Array, "B T N D"], Float[Array, "L B T n D"]]:
        """Encodes all frames of a clip, layer by layer.

        Args:
          templates: from `encode_templates`.
          search: search crops, as in `stem`.
          carried: the temporal tokens that entered each of the L blocks in the frame before the first; with
            "deep_to_shallow" L is 1, and they are those that left the last block.
          first: the clip starts here; `carried` is not read.
          train: whether drop path is active.
          no_gradient: no gradient is taken, so that the last block may compute only what the heads read.

        Returns:
          Features of the search tokens, and the temporal tokens of each frame as in `carried`.
        """
        x = self.stem(search, train)
        x = x + spread(self.pos_embed[: self.search_count] + self.search_token, x)
        shape = lambda y: jax.ShapeDtypeStruct((*x.shape[:2], *y.shape[-2:]), x.dtype)
        repeat = lambda y: jnp.broadcast_to(spread(y, shape(y)), shape(y).shape)
        temporal = repeat(self.ttokens + self.pos_embed_ttoken)
        lean = no_gradient and not train and not self.is_initializing()
        if self.config.propagation == "deep_to_shallow":
            x, tokens = self._frame_by_frame(x, repeat(templates[:, None]), temporal, carried, first, train, lean)
        else:
            x = jnp.concatenate([x, repeat(templates[:, None]), temporal], axis=2)
            x, tokens = self._through_blocks(x, carried, first, train, self.search_count if lean else None)
        # The norm acts on each token by itself, and the heads read only the search tokens.
        return self.fc_norm(x[:, :, : self.search_count]), tokens

    def _through_blocks(self, x, carried, first, train, keep):
        """Runs all blocks; the last returns the first `keep` tokens. A `keep` other than None has no gradient."""
        if keep is None:
            return self.blocks(x, (jnp.asarray(self.main_rates), carried), first, train)
        return self._blocks_for_heads(x, carried, first, keep)

    def _blocks_for_heads(self, x, carried, first, keep):
        """Runs all blocks; evaluates the last only for the first `keep` tokens, which the heads read.

        The blocks' parameters are indexed in place. A shorter scan would take them as operands, and copy them for each
        frame. Training uses the scan: here a gradient would be expensive.
        """
        stacked = jax.tree.map(jnp.asarray, self.blocks.variables["params"])
        block, last_layer = Block(self.config, parent=None), self.config.depth - 1

        def apply(x, layer, keep=None):
            index, tokens = layer
            parameters = jax.tree.map(lambda p: p[index], stacked)
            return block.apply({"params": parameters}, x, (0.0, tokens), first, False, keep)

        x, tokens = jax.lax.scan(apply, x, (jnp.arange(last_layer), carried[:-1]))
        x, last = apply(x, (last_layer, carried[-1]), keep)
        return x, jnp.concatenate([tokens, last[None]])

    def _frame_by_frame(self, search, templates, temporal, carried, first, train, lean):
        """A scan over frames, for "deep_to_shallow": a frame begins with the tokens that the last one ended with.

        Args:
          search, templates, temporal: `[B, T, _, D]`, the tokens that enter the first block.
          carried, first, train: as in `__call__`.
          lean: whether the last block computes only the tokens that are returned.

        Returns:
          `[B, T, N + n, D]`, search and temporal tokens that left the last block; the latter again, `[1, B, T, n, D]`.
        """
        count = self.search_count + self.config.temporal_tokens
        nothing = jnp.zeros((self.config.depth, 0))

        def frame(module, memory, tokens):
            previous, first = memory
            search, templates, temporal = tokens
            # In a first frame a copy of T, gradient included.
            previous = jnp.where(first[:, None, None], temporal, previous.astype(temporal.dtype))
            x = jnp.concatenate([search, temporal, templates, previous], axis=1)[:, None]
            x, _ = module._through_blocks(x, nothing, first, train, count if lean else None)
            x = x[:, 0, :count]
            return (jax.lax.stop_gradient(x[:, self.search_count :]), jnp.zeros_like(first)), x

        memory, tokens = (carried[0].astype(self.config.dtype), first), (search, templates, temporal)
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


def normalise(images: Real[Array | np.ndarray, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """uint8 RGB to ImageNet-normalised float32; floats are taken to be normalised already."""
    if images.dtype != jnp.uint8:
        return jnp.asarray(images)
    mean, std = jnp.asarray(IMAGE_MEAN, jnp.float32), jnp.asarray(IMAGE_STD, jnp.float32)
    return (jnp.asarray(images, jnp.float32) / 255.0 - mean) / std


def foreground_share(boxes_xywh_norm: Float[Array | np.ndarray, "*boxes 4"], size: int) -> Float[Array, "*boxes N"]:
    """Share of each token's 16 x 16 pixels that the template box covers.

    A pixel i is inside when `x0 <= i < x0 + w`, both in pixels.

    Args:
      boxes_xywh_norm: relative to the crop's side.
      size: side of the crop in pixels.

    Returns:
      Shares in [0, 1] of N = (size / 16)^2 tokens, row-major.
    """
    x, y, w, h = jnp.moveaxis(boxes_xywh_norm * size, -1, 0)
    pixels = jnp.arange(size, dtype=boxes_xywh_norm.dtype)

    def share(start, extent):
        start, end = start[..., None], (start + extent)[..., None]
        inside = (pixels >= start) & (pixels < end)
        return inside.reshape(*inside.shape[:-1], -1, STRIDE).mean(-1)

    mask = share(y, h)[..., :, None] * share(x, w)[..., None, :]
    return mask.reshape(*mask.shape[:-2], -1)
