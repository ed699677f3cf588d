"""Made-up weights in the files of other people: a Fast-iTPN trained on ImageNet, and a checkpoint of the release.

The numbers are random, of the scale of a fresh network. Names, shapes and containers are the real ones.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path

import numpy as np

from relo_jax.checkpoints.pytorch import writer
from relo_jax.checkpoints.pytorch.parameter_map import PREFIX, sources
from relo_jax.model import RELO

IMAGENET_FILE, RELEASE_FILE = "fast_itpn.pt", "relo.pth.tar"
CLASSIFIER = "head.*"  # the pattern of its tensors, which RELO has no place for
_OWN = ("*ttoken*", "template_*_token", "search_token")  # of RELO, not of Fast-iTPN
_POSITIONS = 14  # a side: pictures of 224 pixels
_CLASSES = 1_000


def write_imagenet(path: Path, model: RELO, seed: int = 0) -> None:
    """Writes an `imagenet` encoder as its authors do, below `model`."""
    writer.save(path, {"model": imagenet(model, seed)})


def imagenet(model: RELO, seed: int = 0) -> dict[str, np.ndarray]:
    """A Fast-iTPN: the encoder without RELO's tokens, one square table of positions, and a classifier."""
    rng, width = np.random.default_rng(seed), model.config.width
    encoder = {name.removeprefix(PREFIX): shape for name, shape in _shapes(model).items() if name.startswith(PREFIX)}
    encoder = {n: shape for n, shape in encoder.items() if not any(fnmatch.fnmatchcase(n, own) for own in _OWN)}
    encoder["pos_embed"] = (1, _POSITIONS**2, width)
    encoder |= {"head.weight": (_CLASSES, width), "head.bias": (_CLASSES,)}
    return {name: _values(rng, name, shape) for name, shape in encoder.items()}


def write_released(path: Path, model: RELO, seed: int = 1) -> None:
    """A checkpoint of the release: all parts, under `net`, with the counters of its BatchNorm layers."""
    rng = np.random.default_rng(seed)
    net = {name: _values(rng, name, shape) for name, shape in _shapes(model).items()}
    for name in [name for name in net if name.endswith(".running_var")]:
        net[name.replace("running_var", "num_batches_tracked")] = np.array(1_000, np.int64)
    writer.save(path, {"epoch": 90, "net_type": "RELO", "net": net})


def _shapes(model: RELO) -> dict[str, tuple[int, ...]]:
    return {name: source.release_shape for source in sources(model) for name in source.names}


def _values(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) > 1:
        return 0.02 * rng.standard_normal(shape, np.float32)
    if ".gamma_" in name:
        return np.full(shape, 0.1, np.float32)
    if name.endswith(".running_mean"):  # zero in a policy that was never trained, which evaluation refuses
        return 0.02 * rng.standard_normal(shape, np.float32)
    is_one = name.endswith((".running_var", ".weight"))  # of a norm
    return np.full(shape, float(is_one), np.float32)
