"""The network as the tracker runs it on an accelerator: the same function, in as few kernels as possible.

`fold` turns a model's variables into a flat tree of arrays, once. What does not depend on a frame is multiplied out
there, in float32, before kernels are rounded to the compute dtype:

  - pixels: ImageNet's mean and deviation go into the patch embedding, which then takes `pixel - 128`;
  - norms: scale and bias of a LayerNorm go into the linear layer behind it, those of a BatchNorm into the convolution
    before it;
  - layer scale goes into the output projections, the attention's `d^-0.5` into the query;
  - position, type and temporal embeddings become constants.

q, k, v are one product, and so are w1, w2. Layers are not stacked: a loop over them would be launched from the host
iteration by iteration on a GPU, and its weights copied. Convolutions are products on gathered neighbours.

`Network` has the methods of `RELO` that tracking needs, and `tracking/step.py` runs either. The stacked model stays the
reference: tests compare both.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from relo_jax.config.model_config import ModelConfig
from relo_jax.model import platform
from relo_jax.model.fast_itpn import IMAGE_MEAN, IMAGE_STD, foreground_share
from relo_jax.model.heads import clamped_sigmoid, neighbourhood
from relo_jax.model.layers import LN_EPS, BatchNorm, dot_product_attention, gelu
from relo_jax.model.precision import cast_kernels
from relo_jax.model.relo import RELO

FOLDED = "folded"  # the key of variables that hold `Folded` instead of the model's own
_GREY = 128  # subtracted from pixels: what is left is exact in bfloat16


class Linear(NamedTuple):
    """`x @ kernel + bias`."""

    kernel: Float[Array | np.ndarray, "*group I O"]
    bias: Float[Array | np.ndarray, "*group O"]


class StemBlock(NamedTuple):
    """A `ConvBlock`."""

    up: Linear
    down: Linear


class Stem(NamedTuple):
    """Pixels to tokens."""

    patches: Linear
    stage1: tuple[StemBlock, ...]
    merge1: Linear
    stage2: tuple[StemBlock, ...]
    merge2: Linear  # without its bias, which is part of the position tables


class MainBlock(NamedTuple):
    """A `Block`."""

    query_key_value: Float[Array | np.ndarray, "D 3*D"]
    query_bias: Float[Array | np.ndarray, " D"]  # a bias of the keys would change nothing; the values' is in `project`
    project: Linear
    gate_up: Linear  # w1 | w2
    down: Linear  # w3


class Tower(NamedTuple):
    """G towers on one input: 3 x 3 convolutions as products, and the layer that closes each."""

    convolutions: tuple[Linear, ...]  # the first shares its input: [9 D, G c]; the others [G, 9 c_in, c_out]
    out: Linear  # float32, [G, c / 8, channels]


class Folded(NamedTuple):
    """Everything that `Network` reads, as arrays."""

    stem: Stem
    search_rows: Float[Array | np.ndarray, "N D"]  # added to the search tokens
    template_rows: Float[Array | np.ndarray, "M D"]
    foreground: Float[Array | np.ndarray, " D"]  # template_foreground_token - template_background_token
    temporal_rows: Float[Array | np.ndarray, "n D"]
    blocks: tuple[MainBlock, ...]
    last_norm: tuple[Float[Array | np.ndarray, " D"], Float[Array | np.ndarray, " D"]]  # scale and bias of fc_norm
    policy: Tower  # policy
    boxes: Tower  # size, offset
    value: Tower
    center: Tower


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
        return tokens.reshape(len(tokens), -1, config.width)

    def frame(
        self, templates: Float[Array | np.ndarray, "B M D"], search: UInt8[Array | np.ndarray, "B S S 3"],
        tokens: Float[Array | np.ndarray, "L B n D"], first: Bool[Array | np.ndarray, " B"],
    ) -> tuple[Float[Array, "B N D"], Float[Array, "L B n D"]]:  # fmt: skip
        """One frame, given the last one's tokens; see `RELO.frame`."""
        config, folded, dtype = self.config, self._folded, self.config.dtype
        count, n, batch = config.grid**2, config.temporal_tokens, len(search)
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
        features = (_normalised(x[:, :count]) * scale + bias).astype(dtype)
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


def fold(config: ModelConfig, variables: dict) -> Folded:
    """The arrays of `Network`, from a model's variables; on the host, in NumPy.

    Args:
      config: of the model.
      variables: `{"params", "batch_stats"}`.
    """
    params, stats = (jax.tree.map(lambda x: np.asarray(x, np.float32), variables[k]) for k in ("params", "batch_stats"))
    encoder, count = params["encoder"], config.grid**2
    stem, bias = _fold_stem(encoder, config)
    rows = encoder["pos_embed"] + bias
    heads = {"policy": ["policy"], "value": ["value"], "boxes": ["size", "offset"], "center": ["center"]}
    find = lambda tree, name: tree[name] if name in tree else tree["regression"][name]
    towers = {
        head: _fold_tower([(find(params, name), find(stats, name)) for name in names]) for head, names in heads.items()
    }
    folded = Folded(
        stem=stem,
        search_rows=rows[:count] + encoder["search_token"],
        template_rows=rows[count:] + encoder["template_background_token"],
        foreground=encoder["template_foreground_token"] - encoder["template_background_token"],
        temporal_rows=encoder["ttokens"] + encoder["pos_embed_ttoken"],
        blocks=tuple(
            _fold_block(jax.tree.map(lambda x, layer=layer: x[layer], encoder["blocks"]), config)
            for layer in range(config.depth)
        ),
        last_norm=(encoder["fc_norm"]["scale"], encoder["fc_norm"]["bias"]),
        **towers,
    )
    return _rounded(folded, config.dtype)


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


def _rounded(folded: Folded, dtype: str) -> Folded:
    """Linear layers in the compute dtype; tables, norms and the last layer of each tower stay float32."""
    cast = lambda tree: jax.tree.map(lambda x: x.astype(jnp.dtype(dtype)), tree)
    tower = lambda t: Tower(cast(t.convolutions), t.out)
    return folded._replace(
        stem=cast(folded.stem), blocks=cast(folded.blocks), policy=tower(folded.policy), boxes=tower(folded.boxes),
        value=tower(folded.value), center=tower(folded.center),
    )  # fmt: skip


def _behind_norm(norm: dict, kernel: np.ndarray, bias: np.ndarray | float) -> Linear:
    """A linear layer `[I, O]` that takes over scale and bias of the LayerNorm before it."""
    return Linear(norm["scale"][:, None] * kernel, norm["bias"] @ kernel + bias)


def _fold_stem(encoder: dict, config: ModelConfig) -> tuple[Stem, np.ndarray]:
    """The stem, and the bias of its last layer."""
    embed = encoder["patch_embed"]
    std, mean = np.asarray(IMAGE_STD, np.float32), np.asarray(IMAGE_MEAN, np.float32)
    kernel = embed["kernel"] / (255 * std)[:, None]
    shift = np.einsum("hwio,i->o", kernel, _GREY - 255 * mean)
    patches = Linear(kernel.reshape(-1, kernel.shape[-1]), embed["bias"] + shift)

    def block(tree: dict) -> StemBlock:
        up, down = tree["fc1"], tree["fc2"]
        return StemBlock(
            _behind_norm(tree["norm"], up["kernel"], up["bias"]),
            _behind_norm(tree["ffn_norm"], down["kernel"], down["bias"]),
        )

    def merge(tree: dict) -> Linear:
        kernel = tree["reduction"]["kernel"]
        norm = {name: np.tile(value, 4) for name, value in tree["norm"].items()}
        return _behind_norm(norm, kernel.reshape(-1, kernel.shape[-1]), tree["reduction"]["bias"])

    stages = [tuple(block(encoder[f"stage{k + 1}_{i}"]) for i in range(config.stem_blocks[k])) for k in (0, 1)]
    last = merge(encoder["merge2"])
    stem = Stem(patches, stages[0], merge(encoder["merge1"]), stages[1], last._replace(bias=np.zeros_like(last.bias)))
    return stem, last.bias


def _fold_block(block: dict, config: ModelConfig) -> MainBlock:
    attention, mlp, norm1, norm2 = block["attn"], block["mlp"], block["norm1"], block["norm2"]
    scale = np.float32((config.width // config.heads) ** -0.5)
    query, key, value = (attention[f"{name}_proj"]["kernel"] for name in "qkv")
    query, query_bias = _behind_norm(norm1, query * scale, attention["q_bias"] * scale)
    key, _ = _behind_norm(norm1, key, 0.0)  # adds the same to all logits of a query: the softmax does not see it
    value, value_bias = _behind_norm(norm1, value, attention["v_bias"])  # weights sum to 1: passes through
    project = attention["proj"]["kernel"]
    join = lambda *parts: Linear(*(np.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True)))
    scaled = lambda gamma, layer: Linear(layer[0] * gamma, layer[1] * gamma)
    return MainBlock(
        query_key_value=np.concatenate([query, key, value], axis=-1),
        query_bias=query_bias,
        project=scaled(block["gamma1"], (project, value_bias @ project + attention["proj"]["bias"])),
        gate_up=join(*(_behind_norm(norm2, mlp[name]["kernel"], mlp[name]["bias"]) for name in ("w1", "w2"))),
        down=scaled(block["gamma2"], _behind_norm(mlp["norm"], mlp["w3"]["kernel"], mlp["w3"]["bias"])),
    )


def _fold_tower(towers: list[tuple[dict, dict]]) -> Tower:
    """Towers with one input, each as its parameters and statistics."""

    def convolution(params: dict, stats: dict, index: int) -> Linear:
        norm, running, conv = params[f"bn{index}"], stats[f"bn{index}"], params[f"conv{index}"]
        gain = norm["scale"] / np.sqrt(running["var"] + BatchNorm.epsilon)
        kernel = conv["kernel"].reshape(-1, conv["kernel"].shape[-1]) * gain
        return Linear(kernel, (conv["bias"] - running["mean"]) * gain + norm["bias"])

    layers = [[convolution(params, stats, index) for params, stats in towers] for index in range(4)]
    first = Linear(*(np.concatenate(arrays, axis=-1) for arrays in zip(*layers[0], strict=True)))
    stack = lambda linears: Linear(*(np.stack(arrays) for arrays in zip(*linears, strict=True)))
    out = [Linear(p["out"]["kernel"].reshape(-1, p["out"]["kernel"].shape[-1]), p["out"]["bias"]) for p, _ in towers]
    return Tower((first, *map(stack, layers[1:])), stack(out))


def _linear(layer: Linear, x: Array) -> Array:
    return x @ layer.kernel + layer.bias


def _normalised(x: Array) -> Array:
    """LayerNorm without scale and bias, float32, with the variance in a second pass: exact, and one kernel on a GPU."""
    x = x.astype(jnp.float32)
    centered = x - x.mean(-1, keepdims=True)
    return centered * jax.lax.rsqrt(jnp.square(centered).mean(-1, keepdims=True) + LN_EPS)


def _stem(stem: Stem, images: Array, config: ModelConfig) -> Array:
    """uint8 `[B, K, S, S, 3]` to tokens `[B, K, N, D]`, without the bias of the last layer."""
    norm = lambda x: _normalised(x).astype(config.dtype)

    def blocks(x: Array, stage: tuple[StemBlock, ...]) -> Array:
        for block in stage:
            hidden = gelu(_linear(block.up, norm(x)).astype(jnp.float32))
            x = x + _linear(block.down, norm(hidden))
        return x

    pixels = _patches(jnp.asarray(images), 4).astype(jnp.float32) - _GREY
    x = blocks(_linear(stem.patches, pixels.astype(config.dtype)), stem.stage1)
    x = blocks(_linear(stem.merge1, _patches(norm(x), 2)), stem.stage2)
    x = _patches(norm(x), 2) @ stem.merge2.kernel
    return x.reshape(*x.shape[:2], -1, config.width)


def _patches(x: Array, side: int) -> Array:
    """`[..., H, W, C]` to `[..., H / side, W / side, side * side * C]`: what a convolution of stride `side` multiplies."""
    *lead, height, width, channels = x.shape
    x = x.reshape(*lead, height // side, side, width // side, side, channels)
    return jnp.moveaxis(x, -4, -3).reshape(*lead, height // side, width // side, -1)


def _main_block(block: MainBlock, x: Array, memory: Array | None, kept: int, config: ModelConfig) -> Array:
    """One block; returns the first `kept` tokens. `memory`: tokens that are only attended to."""
    batch, width = len(x), config.width
    # The barrier keeps the tokens in one array, where XLA would write x a second time.
    context = x if memory is None else jax.lax.optimization_barrier(jnp.concatenate([x, memory], axis=1))
    normalised = _normalised(context).astype(config.dtype)
    # Rows of the memory are dropped after the products: cutting them out before would be a copy.
    rows = kept if kept < x.shape[1] else context.shape[1]
    x = context[:, :kept]
    heads = (batch, -1, config.heads, width // config.heads)
    if batch == 1:
        # Few tokens: one product and one transposition. The barrier keeps XLA from making three of it.
        products = (normalised @ block.query_key_value).reshape(*heads[:2], 3, *heads[2:]).transpose(2, 0, 3, 1, 4)
        query, key, value = jnp.swapaxes(jax.lax.optimization_barrier(products), 2, 3)
        query = query[:, :rows]
    else:
        # Many tokens: it is cheaper to cut the kernel than the products. The barrier keeps XLA from joining them.
        inputs = normalised[:, :rows], normalised, jax.lax.optimization_barrier(normalised)
        kernels = jnp.split(block.query_key_value, 3, axis=-1)
        query, key, value = ((y @ kernel).reshape(heads) for y, kernel in zip(inputs, kernels, strict=True))
    attended = dot_product_attention(query + block.query_bias.reshape(heads[2:]), key, value)
    x = x + _linear(block.project, attended.reshape(batch, rows, width))[:, :kept]
    gate, up = jnp.split(_linear(block.gate_up, _normalised(x).astype(config.dtype)), 2, axis=-1)
    hidden = _normalised(jax.nn.silu(gate) * up).astype(config.dtype)
    return x + _linear(block.down, hidden)


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
    x = x.astype(jnp.float32)
    return jnp.einsum("gfhwi,gio->gfhwo", x, tower.out.kernel) + tower.out.bias[:, None, None, None]
