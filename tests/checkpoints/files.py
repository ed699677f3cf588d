"""Made-up checkpoints of other people: a Fast-iTPN as pre-training leaves it, and broken safetensors files."""

import json
import struct

import ml_dtypes
import numpy as np

from relo_jax.checkpoints.pytorch import parameter_map

OWN = ("ttokens", "pos_embed_ttoken", "search_token", "template_foreground_token", "template_background_token")


def fast_itpn(model, side=14, seed=0):
    """A pretrained encoder that fits `model`: small numbers, without RELO's own tokens, one table of side x side."""
    rng = np.random.default_rng(seed)
    prefix = parameter_map.PREFIX
    names = {name: source for source in parameter_map.sources(model) for name in source.names}
    shapes = {n.removeprefix(prefix): s.release_shape for n, s in names.items() if n.startswith(prefix)}
    shapes = {name: shape for name, shape in shapes.items() if name not in (*OWN, "pos_embed")}
    shapes["pos_embed"] = (1, side * side, model.config.width)
    return {name: rng.normal(0, 0.02, shape).astype(np.float32) for name, shape in shapes.items()}


# What pre-training and fine-tuning of Fast-iTPN add, by their names, with other shapes.
CLASSIFIER = {"head.weight": np.zeros((10, 8), np.float32), "head.bias": np.zeros(10, np.float32)}
PRETRAINING = {
    "mask_token": np.zeros((1, 1, 8), np.float32),
    "lm_head.weight": np.zeros((8, 8), np.float32),
    "lm_head.bias": np.zeros(8, np.float32),
    "norm.weight": np.ones(8, np.float32),
    "norm.bias": np.zeros(8, np.float32),
    "align_dim_16tofpn.weight": np.zeros((8, 8), np.float32),
    "fpn_modules.0.mlp.fc1.weight": np.zeros((8, 8), np.float32),
    "fpn_modules.1.mlp.fc1.weight": np.zeros((8, 8), np.float32),
    "decoder_embed.0.1.weight": np.zeros((8, 8), np.float32),
}


def prefixed(tensors, prefix):
    return {prefix + name: tensor for name, tensor in tensors.items()}


def safetensors_bytes(header, data=b"", length=None):
    """A safetensors file made by hand, since the library would not write a broken one.

    Args:
      header: dict or bytes.
      data: the numbers.
      length: what the file says about its header; None is the truth.
    """
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def half(tensors, dtype=ml_dtypes.bfloat16):
    return {name: tensor.astype(dtype) for name, tensor in tensors.items()}
