"""A straightforward port of our own model, to compare the tracker with: the same weights and the same boxes.

It is what a line-by-line translation of the release gives: a loop over blocks, the template encoded again in each
frame, the previous frame's tokens passed through every layer like all others, every head computed, and the crop and all
geometry on the host.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.geometry.boxes import clip_box_xywh
from relo_jax.geometry.crop import SEARCH_FACTOR, box_from_crop, crop_host
from relo_jax.mdp.action import decode_boxes
from relo_jax.model import RELO
from relo_jax.profiling.flops import matmul_flops
from relo_jax.tracking.programs import template_view
from relo_jax.tracking.step import hann_window


class Port:
    """A tracker with `init` and `update` like `Tracker`; `update` returns the box alone."""

    def __init__(self, model: RELO, variables: dict, window_power: float = 1.0):
        self.model, self._variables = model, jax.device_put(variables)
        blocks = variables["params"]["encoder"]["blocks"]
        self._layers = [jax.tree.map(lambda p, k=k: jnp.array(p[k]), blocks) for k in range(model.config.depth)]
        self._window = hann_window(model.config.grid, window_power)
        self._frame = jax.jit(functools.partial(frame, model))

    def init(self, image: np.ndarray, box_xywh: tuple[float, float, float, float]) -> None:
        """Starts with the target's box in the first frame, uint8 `[H, W, 3]`."""
        self._box, self._tokens = np.array(box_xywh, np.float64), None
        template = template_view(self._box, self.model.config.template_size, functools.partial(crop_host, image))
        self._template = [np.repeat(x[:, None], self.model.config.templates, 1) for x in template]

    def update(self, image: np.ndarray) -> np.ndarray:
        """The target's box_xywh in the next frame."""
        size = self.model.config.search_size
        crop, resize_factor = crop_host(image, self._box, SEARCH_FACTOR, size)
        out = self._frame(self._variables, self._layers, *self._template, crop[None], self._tokens)
        self._tokens = out["tokens"]
        action = (self._window * np.asarray(out["logits"])[0]).argmax()
        box = decode_boxes(out["size"], out["offset"], jnp.array([action]))[0]
        box = box_from_crop(np.asarray(box, np.float64), self._box, resize_factor, size)
        self._box = clip_box_xywh(box, *image.shape[:2])
        return self._box

    def flops(self) -> float:
        """Of a frame like the last one that `update` had."""
        size = self.model.config.search_size
        crop = jax.ShapeDtypeStruct((1, size, size, 3), np.uint8)
        return matmul_flops(self._frame, self._variables, self._layers, *self._template, crop, self._tokens)


def frame(
    model: RELO,
    variables: dict,
    layers: list[dict],
    templates: jax.Array,
    template_boxes: jax.Array,
    crop: jax.Array,
    tokens: jax.Array | None,
) -> dict[str, jax.Array]:
    """One frame with every head: maps, value, and the frame's tokens `[L, 1, n, D]` for the next one."""
    encoder, count = variables["params"]["encoder"], model.config.temporal_tokens
    dtype = jnp.dtype(model.config.dtype)
    x = model.apply(variables, method=lambda m: m.encoder.stem(crop[:, None]))[:, 0]
    x = x + (encoder["pos_embed"][: x.shape[1]] + encoder["search_token"]).astype(dtype)
    encoded = model.apply(variables, templates, template_boxes, method="encode_templates")
    own = (encoder["ttokens"] + encoder["pos_embed_ttoken"]).astype(dtype)[None]
    x, kept = jnp.concatenate([x, encoded, own, own], axis=1), []
    for k, layer in enumerate(layers):
        kept.append(x[:, -2 * count : -count])
        if tokens is not None:
            x = jnp.concatenate([x[:, :-count], tokens[k]], axis=1)
        x = block(layer, x, model.config.heads)
    features = norm(encoder["fc_norm"], x)[:, : model.config.grid**2]
    read = lambda name: model.apply(variables, features, method=name)
    size, offset = read("boxes")
    maps = {"logits": read("policy_logits"), "size": size, "offset": offset, "value": read("value")}
    return {**maps, "center": read("center"), "tokens": jnp.stack(kept)}


def block(p: dict, x: jax.Array, heads: int) -> jax.Array:
    """A main block as in the release, the same for all tokens. `[B, M, D]` -> the same shape."""
    batch, count, width = x.shape
    linear = lambda y, q: y @ q["kernel"].astype(y.dtype) + (q["bias"].astype(y.dtype) if "bias" in q else 0)
    y, a, m = norm(p["norm1"], x), p["attn"], p["mlp"]
    split = lambda z: z.reshape(batch, count, heads, -1).transpose(0, 2, 1, 3)
    q = split(linear(y, a["q_proj"]) + a["q_bias"].astype(y.dtype)) * math.sqrt(heads / width)
    k, v = split(linear(y, a["k_proj"])), split(linear(y, a["v_proj"]) + a["v_bias"].astype(y.dtype))
    weights = jax.nn.softmax((q @ k.swapaxes(-1, -2)).astype(jnp.float32), axis=-1).astype(v.dtype)
    y = linear((weights @ v).transpose(0, 2, 1, 3).reshape(x.shape), a["proj"])
    x = x + p["gamma1"].astype(x.dtype) * y
    y = norm(p["norm2"], x)
    y = norm(m["norm"], jax.nn.silu(linear(y, m["w1"])) * linear(y, m["w2"]))
    return x + p["gamma2"].astype(x.dtype) * linear(y, m["w3"])


def norm(p: dict, x: jax.Array) -> jax.Array:
    """LayerNorm with eps 1e-6, in float32."""
    y = x.astype(jnp.float32)
    y = (y - y.mean(-1, keepdims=True)) * jax.lax.rsqrt(y.var(-1, keepdims=True) + 1e-6)
    return (y * p["scale"] + p["bias"]).astype(x.dtype)
