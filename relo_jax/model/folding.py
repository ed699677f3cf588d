"""A model's variables multiplied out for tracking: what does not depend on a frame is computed once.

`fold` turns the variables into a flat tree of arrays, in float32, before kernels are rounded to the compute dtype:

  - pixels: ImageNet's mean and deviation go into the patch embedding, which then takes `pixel - GREY`;
  - norms: scale and bias of a LayerNorm go into the linear layer behind it, those of a BatchNorm into the convolution
    before it;
  - means, which a LayerNorm subtracts: what adds to tokens leaves theirs at zero, and a layer behind the norm of hidden
    features takes their mean out by its kernel. Such a norm has nothing to subtract any more, and only divides;
  - layer scale goes into the output projections, the attention's `d^-0.5` into the query;
  - position, type and temporal embeddings become constants.

q, k, v are one product, and so are w1, w2. `inference.Network` computes with these arrays.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from relo_jax.config.model_config import ModelConfig
from relo_jax.model.batch_norm import BatchNorm
from relo_jax.model.fast_itpn import IMAGE_MEAN, IMAGE_STD

GREY = 128  # subtracted from pixels: what is left is exact in bfloat16


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
    """G towers on one input, float32: 3 x 3 convolutions as products, and the layer that closes each."""

    convolutions: tuple[Linear, ...]  # the first shares its input: [9 D, G c]; the others [G, 9 c_in, c_out]
    out: Linear  # [G, c / 8, channels]


class Folded(NamedTuple):
    """Everything that `Network` reads, as arrays. Tokens have a mean of zero over their width."""

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
        search_rows=_centered(rows[:count] + encoder["search_token"]),
        template_rows=_centered(rows[count:] + encoder["template_background_token"]),
        foreground=_centered(encoder["template_foreground_token"] - encoder["template_background_token"]),
        temporal_rows=_centered(encoder["ttokens"] + encoder["pos_embed_ttoken"]),
        blocks=tuple(
            _fold_block(jax.tree.map(lambda x, layer=layer: x[layer], encoder["blocks"]), config)
            for layer in range(config.depth)
        ),
        last_norm=(encoder["fc_norm"]["scale"], encoder["fc_norm"]["bias"]),
        **towers,
    )
    return _rounded(folded, config.dtype)


def _rounded(folded: Folded, dtype: str) -> Folded:
    """Linear layers of the encoder in the compute dtype; tables, norms and heads stay float32.

    Rounded kernels of the heads make all boxes larger or smaller by the same 0.1 %. The next search region follows the
    box, so that it would add up from frame to frame.
    """
    cast = lambda tree: jax.tree.map(lambda x: x.astype(jnp.dtype(dtype)), tree)
    return folded._replace(stem=cast(folded.stem), blocks=cast(folded.blocks))


def _centered(x: Array | np.ndarray) -> Array | np.ndarray:
    """Without its mean over the last axis."""
    return x - x.mean(-1, keepdims=True)


def _onto_tokens(layer: Linear) -> Linear:
    """A layer whose output has a mean of zero."""
    return Linear(_centered(layer.kernel), _centered(layer.bias))


def _behind_hidden_norm(norm: dict, kernel: np.ndarray, bias: np.ndarray) -> Linear:
    """As `_behind_norm`; the kernel takes the mean out of its input besides."""
    layer = _behind_norm(norm, kernel, bias)
    return layer._replace(kernel=layer.kernel - layer.kernel.mean(0))


def _behind_norm(norm: dict, kernel: np.ndarray, bias: np.ndarray | float) -> Linear:
    """A linear layer `[I, O]` that takes over scale and bias of the LayerNorm before it."""
    return Linear(norm["scale"][:, None] * kernel, norm["bias"] @ kernel + bias)


def _fold_stem(encoder: dict, config: ModelConfig) -> tuple[Stem, Array | np.ndarray]:
    """The stem, and the bias of its last layer."""
    embed = encoder["patch_embed"]
    std, mean = np.asarray(IMAGE_STD, np.float32), np.asarray(IMAGE_MEAN, np.float32)
    kernel = embed["kernel"] / (255 * std)[:, None]
    shift = np.einsum("hwio,i->o", kernel, GREY - 255 * mean)
    patches = _onto_tokens(Linear(kernel.reshape(-1, kernel.shape[-1]), embed["bias"] + shift))

    def block(tree: dict) -> StemBlock:
        up, down = tree["fc1"], tree["fc2"]
        return StemBlock(
            _behind_norm(tree["norm"], up["kernel"], up["bias"]),
            _onto_tokens(_behind_hidden_norm(tree["ffn_norm"], down["kernel"], down["bias"])),
        )

    def merge(tree: dict) -> Linear:
        kernel = tree["reduction"]["kernel"]
        norm = {name: np.tile(value, 4) for name, value in tree["norm"].items()}
        return _onto_tokens(_behind_norm(norm, kernel.reshape(-1, kernel.shape[-1]), tree["reduction"]["bias"]))

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
    branch = lambda gamma, kernel, bias: _onto_tokens(Linear(kernel * gamma, bias * gamma))
    return MainBlock(
        query_key_value=np.concatenate([query, key, value], axis=-1),
        query_bias=query_bias,
        project=branch(block["gamma1"], project, value_bias @ project + attention["proj"]["bias"]),
        gate_up=join(*(_behind_norm(norm2, mlp[name]["kernel"], mlp[name]["bias"]) for name in ("w1", "w2"))),
        down=branch(block["gamma2"], *_behind_hidden_norm(mlp["norm"], mlp["w3"]["kernel"], mlp["w3"]["bias"])),
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
