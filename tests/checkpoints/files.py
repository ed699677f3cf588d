"""Tensors and files of other people: what pre-training leaves beside an encoder, and broken safetensors files."""

import json
import struct

import ml_dtypes
import numpy as np

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
