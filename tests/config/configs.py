"""The files of `configs/` as modules, and the base config with fields replaced."""

import importlib.util
from pathlib import Path

from relo_jax import config as relo_config

CONFIGS = Path(__file__).parents[2] / "configs"
TINY = str(CONFIGS / "relo_tiny.py")


def load(name):
    """A config file as a module."""
    spec = importlib.util.spec_from_file_location(f"config_{name}", CONFIGS / f"relo_{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def change(**fields):
    """The base config as a nested dict with dotted fields replaced (`__` for the dot)."""
    values = relo_config.to_dict(relo_config.base())
    for name, value in fields.items():
        node = values
        *sections, last = name.split("__")
        for section in sections:
            node = node[section]
        node[last] = value
    return values
