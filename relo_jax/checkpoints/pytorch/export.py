"""Writes variables under the release's names, so that PyTorch loads them: the inverse of `convert`.

    relo convert runs/b256 b256.safetensors

A file has the state dict of the release's network, in float32; `safetensors.torch.load_file` reads it. Its header says
`format: pt` and holds the config's sections that belong to the weights, so that relo_jax reads the file as it reads a
run directory. Policy and value head of a warm-up are untrained and are not written, as in a warm-up of the release.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from relo_jax import __version__
from relo_jax.checkpoints.pytorch import safetensors_file
from relo_jax.checkpoints.pytorch.parameter_map import sources
from relo_jax.errors import UserError
from relo_jax.model import RELO

_CONFIG = "relo_jax_config"  # in the header
_SECTIONS = ("stage", "model", "tracker")  # of a config
_HEADS = ("policy", "value")


def state_dict(variables: Mapping[str, Any], model: RELO, with_policy: bool = True) -> dict[str, np.ndarray]:
    """The release's names and layouts, float32.

    Args:
      variables: `{"params", "batch_stats"}` of `model`.
      with_policy: False leaves out policy and value head.
    """
    tensors: dict[str, np.ndarray] = {}
    for source in sources(model):
        if source.part in _HEADS and not with_policy:
            continue
        array: Any = variables
        for key in source.path:
            array = array[key]
        tensors |= dict(zip(source.names, source.take_apart(np.asarray(array, np.float32)), strict=True))
        if source.path[-1] == "var":  # PyTorch's BatchNorm has a counter too; with its momentum it is not read
            tensors[source.names[0].replace("running_var", "num_batches_tracked")] = np.zeros((), np.int64)
    return tensors


def write(
    path: Path | str, model: RELO, variables: Mapping[str, Any], config: Mapping[str, Any], with_policy: bool = True
) -> int:
    """Writes a safetensors file, atomically.

    Args:
      path: an existing file is replaced.
      model: of the variables.
      variables: `{"params", "batch_stats"}`.
      config: of the checkpoint; its section "tracker" and its stage are written.
      with_policy: as in `state_dict`.

    Returns:
      Number of tensors.

    Raises:
      UserError: the file cannot be written.
    """
    tensors = state_dict(jax.device_get(variables), model, with_policy)
    kept = {name: config[name] for name in _SECTIONS if name in config} | {"model": model.config.to_dict()}
    texts = {
        "format": "pt",  # the layout of the tensors, as others name it
        "network": "RELO",
        "variant": model.config.variant,
        "relo_jax": __version__,
        _CONFIG: json.dumps(kept),
    }
    safetensors_file.save(path, tensors, texts)
    return len(tensors)


def config_of(path: Path | str) -> dict[str, Any]:
    """The config that `write` put into a file; {} for any other file.

    Raises:
      UserError: the file cannot be read, or its config is damaged.
    """
    if not safetensors_file.is_safetensors(path):
        return {}
    text = safetensors_file.metadata(path).get(_CONFIG)
    if text is None:
        return {}
    try:
        config = json.loads(text)
    except ValueError:
        config = None
    sections = isinstance(config, dict) and all(isinstance(config.get(name), dict) for name in ("model", "tracker"))
    if not (sections and isinstance(config["model"].get("variant"), str)):
        raise UserError(f"{path} has a damaged config in its header ({_CONFIG}): write it again with relo convert")
    return config
