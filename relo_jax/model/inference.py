"""The network as the tracker runs it: the same function, in as few kernels as possible.

It computes with the arrays of `folding.fold`. Layers are not stacked: a loop over them would be launched from the host
iteration by iteration on a GPU, and its weights copied. Convolutions are products on gathered neighbours.

`Network` has the methods of `RELO` that tracking needs, and `tracking/step.py` runs either. The stacked model stays the
reference: tests compare both.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from relo_jax.config.model_config import ModelConfig
from relo_jax.model import platform
from relo_jax.model.fast_itpn import foreground_share
from relo_jax.model.folding import GREY, Folded, Linear, MainBlock, Stem, StemBlock, Tower, fold
from relo_jax.model.heads import clamped_sigmoid, neighbourhood
from relo_jax.model.layers import LN_EPS, dot_product_attention, gelu
from relo_jax.model.precision import cast_kernels
from relo_jax.model.relo import RELO

FOLDED = "folded"  # the key of variables that hold `Folded` instead of the model's own


class Network:
    """`RELO` on folded variables: the methods that tracking calls, with the same arguments and results.

    Args:
      config: of the model.
      folded: of `fold`; may be traced.
    """

    def __init__(self, config: ModelConfig, folded: Folded):
        self.config = config
        self._folded = folded

    def encode_templates(
        self, template_images: UInt8[Array | np.ndarray, "B K s s 3"],
        template_boxes_xywh_norm: Float[Array | np.ndarray, "B K 4"],
    ) -> Float[Array, "B M D"]:  # fmt: skip
        """The tokens of all templates; see `RELO.encode_templates`."""
        config, folded = self.config, self._folded
        share = foreground_share(template_boxes_xywh_norm, config.template_size)[..., None]
        rows = folded.template_rows + share * folded.foreground
        tokens = _stem(folded.stem, template_images, config) + rows.astype(config.dtype)
        return tokens.reshape(tokens.shape[0], -1, config.width)

    def frame(
        self, templates: Float[Array | np.ndarray, "B M D"], search: UInt8[Array | np.ndarray, "B S S 3"],
        tokens: Float[Array | np.ndarray, "L B n D"], first: Bool[Array | np.ndarray, " B"],
    ) -> tuple[Float[Array, "B N D"], Float[Array, "L B n D"]]:  # fmt: skip
        """One frame, given the last one's tokens; see `RELO.frame`."""
        config, folded, dtype = self.config, self._folded, self.config.dtype
        count, n, batch = config.grid**2, config.temporal_tokens, search.shape[0]
        x = _stem(folded.stem, search[:, None], config)[:, 0] + folded.search_rows.astype(dtype)
        temporal = jnp.broadcast_to(folded.temporal_rows.astype(dtype), (batch, n, config.width))
        templates, carried, start = templates.astype(dtype), tokens.astype(dtype), first[:, None, None]
        if config.propagation == "deep_to_shallow":
            x = jnp.concatenate([x, temporal, templates, jnp.where(start, temporal, carried[0])], axis=1)
        else:
            x = jnp.concatenate([x, templates, temporal], axis=1)
        entered = []
        for index, block in enumerate(folded.blocks):
            memory = None
            if config.propagation != "deep_to_shallow":
                memory = x[:, -n:]
                entered.append(memory)
                if config.propagation == "layer_aligned":
                    memory = jnp.where(start, memory, carried[index])
            last = index == config.depth - 1
            kept = count + n * (config.propagation == "deep_to_shallow") if last else x.shape[1]
            x = _main_block(block, x, memory, kept, config)
        scale, bias = folded.last_norm
        features = _normalised(x[:, :count]) * scale + bias  # float32, as the heads are
        return features, x[None, :, count:] if config.propagation == "deep_to_shallow" else jnp.stack(entered)

    def policy_logits(self, features: Float[Array, "B N D"]) -> Float[Array, "B N"]:
        """Logits of the categorical policy over the cells."""
        return _tower(self._folded.policy, self._map(features))[0].reshape(features.shape[:2])

    def value(self, features: Float[Array, "B N D"]) -> Float[Array, " B"]:
        """The expected reward of each frame."""
        # The release pools before the last layer. Both are linear, so the order does not matter.
        return _tower(self._folded.value, self._map(features))[0].mean((1, 2, 3))

    def center(self, features: Float[Array, "B N D"]) -> Float[Array, "B H W"]:
        """The release's centre map, in (0, 1)."""
        return clamped_sigmoid(_tower(self._folded.center, self._map(features))[0, ..., 0])

    def box_at(
        self, features: Float[Array, "B N D"], action: Int[Array, " B"]
    ) -> tuple[Float[Array, "B 2"], Float[Array, "B 2"]]:
        """(size relative to the crop, offset in cells) of the box at one cell of each frame."""
        cells, inside = neighbourhood(self._map(features), action)
        size, offset = _tower(self._folded.boxes, cells, inside)[:, :, 0, 0]
        return clamped_sigmoid(size), offset

    def _map(self, features: Array) -> Array:
        return features.reshape(-1, self.config.grid, self.config.grid, self.config.width)


def for_tracking(model: RELO, variables: dict) -> dict:
    """A model's variables in the form that the tracker runs on this platform (`platform.BY_PLATFORM`).

    Args:
      model: the network.
      variables: its variables; they stay as they are. Those that have the form already come back.

    Returns:
      `{FOLDED: ...}` on the device, or the variables with kernels in the model's dtype.
    """
    if FOLDED in variables:
        return variables
    if not platform.choices().folded:
        return cast_kernels(model, variables)
    return {FOLDED: jax.device_put(fold(model.config, variables), jax.local_devices()[0])}


def _linear(layer: Linear, x: Array) -> Array:
    return x @ layer.kernel + layer.bias


def _behind_norm(layer: Linear, x: Array, dtype: str, hidden: bool = False) -> Array:
    """A linear layer on the LayerNorm of `x`; `hidden` as in `_norm`."""
    inputs, scale = _norm(x, hidden)
    return ((inputs.astype(dtype) @ layer.kernel) * scale + layer.bias).astype(dtype)


def _normalised(x: Array) -> Array:
    """LayerNorm of tokens without scale and bias, float32."""
    inputs, scale = _norm(x)
    return inputs * scale


def _norm(x: Array, hidden: bool = False) -> tuple[Array, Array]:
    """LayerNorm without scale and bias as two factors, float32: the input of a product, and the scale of its rows.

    With statistics in two passes (`platform.Choices`) the input is normalised: exact, and one kernel on a GPU.
    Otherwise it is `x`, which saves a CPU two passes over it. The mean stays in: that of tokens is zero, and that of
    `hidden` features is taken out by the kernel behind the norm (`folding`).
    """
    x = x.astype(jnp.float32)
    if not platform.choices().one_pass_variance:
        centered = x - x.mean(-1, keepdims=True)
        scale = jax.lax.rsqrt(jnp.square(centered).mean(-1, keepdims=True) + LN_EPS)
        return centered * scale, jnp.ones_like(scale)
    variance = jnp.square(x).mean(-1, keepdims=True)
    if hidden:
        variance -= jnp.square(x.mean(-1, keepdims=True))
    return x, jax.lax.rsqrt(variance + LN_EPS)


def _stem(stem: Stem, images: Array | np.ndarray, config: ModelConfig) -> Array:
    """uint8 `[B, K, S, S, 3]` to tokens `[B, K, N, D]`, without the bias of the last layer."""
    norm = lambda x: _normalised(x).astype(config.dtype)

    def blocks(x: Array, stage: tuple[StemBlock, ...]) -> Array:
        for block in stage:
            hidden = gelu(_behind_norm(block.up, x, config.dtype).astype(jnp.float32), "erf")
            x = x + _behind_norm(block.down, hidden, config.dtype, hidden=True)
        return x

    pixels = _patches(jnp.asarray(images), 4).astype(jnp.float32) - GREY
    x = blocks(_linear(stem.patches, pixels.astype(config.dtype)), stem.stage1)
    x = blocks(_linear(stem.merge1, _patches(norm(x), 2)), stem.stage2)
    x = _patches(norm(x), 2) @ stem.merge2.kernel
    return x.reshape(*x.shape[:2], -1, config.width)


def _patches(x: Array, side: int) -> Array:
    """`[..., H, W, C]` to `[..., H / side, W / side, side^2 C]`: what a convolution of stride `side` multiplies."""
    *lead, height, width, channels = x.shape
    x = x.reshape(*lead, height // side, side, width // side, side, channels)
    return jnp.moveaxis(x, -4, -3).reshape(*lead, height // side, width // side, -1)


def _main_block(block: MainBlock, x: Array, memory: Array | None, kept: int, config: ModelConfig) -> Array:
    """One block; returns the first `kept` tokens. `memory`: tokens that are only attended to."""
    batch, width = x.shape[0], config.width
    # The barrier keeps the tokens in one array, where XLA would write x a second time.
    context = x if memory is None else jax.lax.optimization_barrier(jnp.concatenate([x, memory], axis=1))
    inputs, scale = _norm(context)
    # Rows of the memory are dropped after the products: cutting them out before would be a copy.
    rows = kept if kept < x.shape[1] else context.shape[1]
    x = context[:, :kept]
    heads = (batch, -1, config.heads, width // config.heads)
    if batch == 1:
        # Few tokens: one product and one transposition. The barrier keeps XLA from making three of it.
        products = inputs.astype(config.dtype) @ block.query_key_value
        products = products.reshape(*heads[:2], 3, *heads[2:]).transpose(2, 0, 3, 1, 4)
        products = jnp.swapaxes(jax.lax.optimization_barrier(products), 2, 3)
        query, key, value = (products * scale[..., None]).astype(config.dtype)
        query = query[:, :rows]
    else:
        # Many tokens: it is cheaper to cut the kernel than the products. The barrier keeps XLA from joining them.
        normalised = (inputs * scale).astype(config.dtype)
        three = normalised[:, :rows], normalised, jax.lax.optimization_barrier(normalised)
        kernels = jnp.split(block.query_key_value, 3, axis=-1)
        query, key, value = ((y @ kernel).reshape(heads) for y, kernel in zip(three, kernels, strict=True))
    attended = _attention(query + block.query_bias.reshape(heads[2:]), key, value)
    x = x + _linear(block.project, attended.reshape(batch, rows, width))[:, :kept]
    gate, up = jnp.split(_behind_norm(block.gate_up, x, config.dtype), 2, axis=-1)
    return x + _behind_norm(block.down, jax.nn.silu(gate) * up, config.dtype, hidden=True)


def _attention(query: Array, key: Array, value: Array) -> Array:
    """`dot_product_attention` of `[B, Q, h, d]`, where the platform says so head by head."""
    logits = query.shape[1] * key.shape[1]
    if logits < platform.choices().by_head:
        return dot_product_attention(query, key, value)
    of = lambda x, head: x[:, :, head : head + 1]
    heads = range(query.shape[2])
    return jnp.concatenate([dot_product_attention(of(query, h), of(key, h), of(value, h)) for h in heads], axis=2)


def _tower(tower: Tower, x: Array, inside: Array | None = None) -> Array:
    """The maps of G towers, float32 `[G, F, h, w, channels]`.

    Args:
      tower: the towers.
      x: `[F, H, W, D]`.
      inside: bool `[F, H, W, 1]`, for the cells of `neighbourhood`: which of them lie on the map. None: x is the map.
    """
    groups = tower.out.kernel.shape[0]
    x = x[None]
    for index, layer in enumerate(tower.convolutions):
        if inside is None:
            x = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
        height, width = x.shape[2] - 2, x.shape[3] - 2
        near = [x[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        x = jnp.concatenate(near, axis=-1)
        if index == 0:
            x = jax.nn.relu(_linear(layer, x[0]))
            x = jnp.moveaxis(x.reshape(*x.shape[:-1], groups, -1), -2, 0)
        else:
            x = jnp.einsum("gfhwi,gio->gfhwo", x, layer.kernel) + layer.bias[:, None, None, None]
            x = jax.nn.relu(x)
        if inside is not None:
            inside = inside[:, 1:-1, 1:-1]
            x = jnp.where(inside, x, 0)  # as the padding of the whole map would be
    return jnp.einsum("gfhwi,gio->gfhwo", x, tower.out.kernel) + tower.out.bias[:, None, None, None]
