"""A straightforward port of our own model, to measure the tracker against: what one writes who carries the release over
line by line, with the same weights and the same boxes.

A loop over blocks; the template is encoded anew each frame, the previous frame's tokens go through every layer as all
others do, every head is computed, and the crop and all geometry are the host's.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.geometry.boxes import clip_box_xywh
from relo_jax.geometry.crop import SEARCH_FACTOR, box_from_crop, crop_host
from relo_jax.mdp.action import decode_boxes
from relo_jax.profiling.flops import matmul_flops
from relo_jax.tracking.programs import template_view
from relo_jax.tracking.step import hann_window


class Port:
    """`Tracker` without the cleverness; `init` and `update` as there, and `update` returns the box alone."""

    def __init__(self, model, variables, window_power=1.0):
        self.model, self._variables = model, jax.device_put(variables)
        encoder = variables["params"]["encoder"]
        self._layers = [jax.tree.map(lambda p, k=k: jnp.array(p[k]), encoder["blocks"]) for k in range(model.depth)]
        self._window = hann_window(model.grid, window_power)
        self._frame = jax.jit(functools.partial(frame, model))

    def init(self, image, box_xywh):
        self._box, self._tokens = np.array(box_xywh, np.float64), None
        template = template_view(self._box, self.model.template_size, functools.partial(crop_host, image))
        self._template = [np.repeat(x[:, None], self.model.templates, 1) for x in template]

    def update(self, image):
        crop, resize_factor = crop_host(image, self._box, SEARCH_FACTOR, self.model.search_size)
        out = self._frame(self._variables, self._layers, *self._template, crop[None], self._tokens)
        self._tokens = out["tokens"]
        response = self._window * np.asarray(out["logits"])[0]
        size, offset = np.asarray(out["size"]), np.asarray(out["offset"])
        box = decode_boxes(size, offset, response.argmax()[None])[0]
        box = box_from_crop(np.asarray(box, np.float64), self._box, resize_factor, self.model.search_size)
        self._box = clip_box_xywh(box, *image.shape[:2])
        return self._box

    def flops(self):
        """Of a frame like the last one that was given to `update`."""
        crop = jax.ShapeDtypeStruct((1, self.model.search_size, self.model.search_size, 3), np.uint8)
        return matmul_flops(self._frame, self._variables, self._layers, *self._template, crop, self._tokens)


def frame(model, variables, layers, templates, template_boxes, crop, tokens):
    """One frame, everything there is: a dict of maps, value and tokens `[L, 1, n, D]`."""
    encoder, count, dtype = variables["params"]["encoder"], model.temporal_tokens, jnp.dtype(model.dtype)
    x = model.apply(variables, method=lambda m: m.encoder.stem(crop[:, None]))[:, 0]
    x = x + (encoder["pos_embed"][: x.shape[1]] + encoder["search_token"]).astype(dtype)
    encoded = model.apply(variables, templates, template_boxes, method="encode_templates")
    own = (encoder["ttokens"] + encoder["pos_embed_ttoken"]).astype(dtype)[None]
    x, kept = jnp.concatenate([x, encoded, own, own], axis=1), []
    for k, layer in enumerate(layers):
        kept.append(x[:, -2 * count : -count])
        if tokens is not None:
            x = jnp.concatenate([x[:, :-count], tokens[k]], axis=1)
        x = block(layer, x, model.heads)
    features = norm(encoder["fc_norm"], x)[:, : model.grid**2]
    read = lambda name: model.apply(variables, features, method=name)
    size, offset = read("boxes")
    maps = {"logits": read("policy_logits"), "size": size, "offset": offset, "value": read("value")}
    return {**maps, "center": read("center"), "tokens": jnp.stack(kept)}


def block(p, x, heads):
    """A main block as the release has it: all tokens alike. `[B, M, D]` -> the same shape."""
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


def norm(p, x):
    """LayerNorm, eps 1e-6, in float32."""
    y = x.astype(jnp.float32)
    y = (y - y.mean(-1, keepdims=True)) * jax.lax.rsqrt(y.var(-1, keepdims=True) + 1e-6)
    return (y * p["scale"] + p["bias"]).astype(x.dtype)
