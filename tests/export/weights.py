"""Checkpoints of any model with random weights, without compiling its initialisation, which takes minutes for some."""

import functools

import jax
import numpy as np

from relo_jax.checkpoints.load import Loaded
from relo_jax.export.source import Source, digest
from relo_jax.model import init_variables
from relo_jax.tracking.options import checked_options

SMALL = dict(width=32, heads=2, depth=2, head_width=16, search_size=64, template_size=32)
CALIBRATION = dict(
    score_bias=-2.0, score_local_probability=0.3, score_value=0.5, score_appearance_similarity=2.0,
    score_center_proximity=1.0,
)  # fmt: skip


def random_source(model, calibration, seed=0):
    """A checkpoint of a model."""
    options = checked_options({"window_power": 1.5, "update_interval": 0, **calibration}, model)
    variables = random_variables(model, seed)
    return Source({"name": "random", "sha256": digest(variables)}, Loaded(model, variables, {}), options, None)


def random_variables(model, seed=0):
    """Variables of which every one matters: no scale is 1, no bias and no mean 0."""
    shapes = jax.eval_shape(functools.partial(init_variables, model), jax.random.key(0))
    rng = np.random.default_rng(seed)

    def fill(path, like):
        noise, name = rng.standard_normal(like.shape, np.float32), path[-1].key
        if name == "kernel":  # all but the last axis are inputs; blocks are stacked along the first
            stacked = "blocks" in jax.tree_util.keystr(path)
            return noise / np.float32(np.sqrt(np.prod(like.shape[stacked:-1])))
        return 1 + 0.1 * noise if name == "scale" else 0.7 + 0.3 * np.abs(noise) if name == "var" else 0.2 * noise

    return jax.tree_util.tree_map_with_path(fill, shapes)


def write_unchecked(source, folder, batch=1, precisions=("float32",)):
    """What a driver needs of the folder of `relo export`, without the comparison with relo_jax, which takes longest."""
    from relo_jax.export import onnx_files  # needs onnx
    from relo_jax.export.folder import description, write_description

    template = onnx_files.write_template(source, folder / "template.onnx")
    described = description(source, batch)
    for name in precisions:
        path = folder / f"step{'' if name == 'float32' else f'.{name}'}.onnx"
        step = onnx_files.write_step(source, name, batch, path)
        described["graphs"][name] = {"step": step, "template": template}
    write_description(folder, described)
