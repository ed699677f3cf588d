"""Parameters and multiply-adds of a variant, counted in three ways; shapes only, nothing is computed.

- All of the release: what its network has and does in a frame. It encodes the templates again with every frame, and
  carries the previous frame's tokens through each block, only to drop them.
- By called modules: what a counter sees that attaches hooks to modules. `thop`, which the profile scripts of this
  family of trackers use, is one. It adds up the parameters and the multiply-adds of the linear, convolutional and norm
  layers that are *called*. The release's attention does not call the layers of its queries, keys and values: it
  multiplies by their weights (`F.linear`). The counter misses these, the two products of attention, and parameters that
  belong to no layer (position embeddings, tokens, layer scale, biases of queries and values).
- This tracker: the products in its program for one frame, see `flops.py`.

The paper does not say how it counted. By called modules, encoder and regression head have 22.3, 70.0 and 246.7 M
parameters and 7.6, 33.6 and 114.1 G multiply-adds: its 22, 70, 247 and 8, 34, 114.
"""

import functools
from typing import Any

import jax
import numpy as np

from relo_jax.config.model_config import STRIDE, ModelConfig
from relo_jax.model import RELO, count_parameters, init_variables
from relo_jax.profiling.flops import matmul_flops
from relo_jax.tracking import programs

BOX = np.array([100.0, 80.0, 60.0, 45.0])
HEADS = {"regression": (1, 2, 2), "policy": (1,), "value": ()}  # maps of each tower's last convolution
_NORM_OPERATIONS = 4  # that thop counts for a number that a norm with scale and bias reads


def variable_shapes(model: RELO) -> dict:
    """The shapes of `init_variables`."""
    return jax.eval_shape(functools.partial(init_variables, model), jax.random.key(0))


def called_parameters(variables: dict) -> dict[str, int]:
    """`count_parameters` of the layers that the release calls."""
    encoder = variables["params"]["encoder"]
    blocks, attention = encoder["blocks"], encoder["blocks"]["attn"]
    unseen = [attention[name] for name in ("q_proj", "k_proj", "v_proj", "q_bias", "v_bias")]
    unseen += [blocks["gamma1"], blocks["gamma2"]]
    unseen += [leaf for leaf in encoder.values() if not isinstance(leaf, dict)]
    counts = count_parameters(variables)
    return counts | {"encoder": counts["encoder"] - sum(leaf.size for leaf in jax.tree.leaves(unseen))}


def release_multiply_adds(config: ModelConfig) -> dict[str, int]:
    """Multiply-adds of the release in one frame, by part: stem, layers (of the blocks), projections (to queries, keys
    and values), attention (its two products), regression, policy, value."""
    tokens = _tokens(config)
    parts = {"stem": _stem(config), **block_multiply_adds(config, tokens, tokens)}
    return parts | {head: _head(config, maps) for head, maps in HEADS.items()}


def block_multiply_adds(config: ModelConfig, own: int, context: int) -> dict[str, int]:
    """Those of the main blocks, for `own` tokens that attend to `context` tokens."""
    square = config.depth * config.width**2
    return {
        "layers": 10 * square * own,  # attention's last, and three of width 3 D in SwiGLU
        "projections": square * (own + 2 * context),
        "attention": 2 * config.depth * config.width * own * context,
    }


def called_multiply_adds(config: ModelConfig) -> dict[str, int]:
    """Multiply-adds of the layers that the release calls, norms included, by part: encoder, regression, policy,
    value."""
    counts = release_multiply_adds(config)
    width, tokens, (first, second) = config.width, _tokens(config), config.stem_blocks
    normed = (4 * first + 1) * width // 4 * _cells(config, 4) + (4 * second + 1) * width // 2 * _cells(config, 8)
    normed += (5 * config.depth + 1) * width * tokens
    tower = config.grid**2 * sum(_tower_widths(config))
    norms = {"regression": 3 * tower, "policy": tower, "value": tower}
    encoder = counts["stem"] + counts["layers"] + _NORM_OPERATIONS * normed
    return {"encoder": encoder, **{head: counts[head] + _NORM_OPERATIONS * norms[head] for head in HEADS}}


def frame_flops(model: RELO) -> int:
    """FLOPs (two for a multiply-add) of the tracker in one frame whose crop is cut, as `matmul_flops` counts them."""
    return matmul_flops(functools.partial(programs._crop_step, model), *frame_arguments(model, variable_shapes(model)))


def frame_arguments(model: RELO, variables: dict) -> tuple[Any, ...]:
    """What `programs.track_crop` takes for one target after the model: the target as shapes, and black crops."""
    size = model.config.search_size
    black = lambda box, factor, size: (np.zeros((size, size, 3), np.uint8), 1.0)
    view = programs.first_view(BOX, model.config.template_size, black)
    target = jax.eval_shape(functools.partial(programs.begin, model, window_power=1.0), variables, *view)
    sides = np.full(1, size, np.int32), np.full((1, 2), size, np.int32)
    return variables, target, np.zeros((1, size, size, 3), np.uint8), *sides


def _cells(config: ModelConfig, stride: int) -> int:
    """Cells of the maps of search region and templates at a stride."""
    return (config.search_size // stride) ** 2 + config.templates * (config.template_size // stride) ** 2


def _tokens(config: ModelConfig) -> int:
    return _cells(config, STRIDE) + 2 * config.temporal_tokens


def _stem(config: ModelConfig) -> int:
    width, (first, second) = config.width, config.stem_blocks
    at_4, at_8, at_16 = (_cells(config, stride) for stride in (4, 8, STRIDE))
    quarter, half = width // 4, width // 2
    blocks = 6 * (first * quarter**2 * at_4 + second * half**2 * at_8)
    return 4 * 4 * 3 * quarter * at_4 + blocks + 4 * quarter * half * at_8 + 4 * half * width * at_16


def _tower_widths(config: ModelConfig) -> list[int]:
    return [config.head_width >> i for i in range(4)]


def _head(config: ModelConfig, maps: tuple[int, ...]) -> int:
    widths = [config.width, *_tower_widths(config)]
    tower = 9 * sum(a * b for a, b in zip(widths, widths[1:], strict=False)) * config.grid**2
    # The value head, which has no map, has a linear layer to one number behind its average pool.
    return max(len(maps), 1) * tower + (sum(maps) * config.grid**2 or 1) * widths[-1]
