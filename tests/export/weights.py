"""Random variables of any model, without compiling its initialisation, which takes minutes for the large variants."""

import functools

import jax
import numpy as np

from relo_jax.model import RELO, init_variables

CALIBRATION = dict(
    score_bias=-2.0, score_local_probability=0.3, score_value=0.5, score_appearance_similarity=2.0,
    score_center_proximity=1.0,
)  # fmt: skip


def random_variables(model, seed=0):
    """Variables of which every one matters: no scale is 1, no bias and no mean 0."""
    shapes = jax.eval_shape(functools.partial(init_variables, model), jax.random.key(0))
    rng = np.random.default_rng(seed)

    def fill(path, like):
        noise, name = rng.standard_normal(like.shape, np.float32), path[-1].key
        if name == "kernel":  # of convolutions all but the last axis are inputs; blocks are stacked along the first
            stacked = "blocks" in jax.tree_util.keystr(path)
            return noise / np.float32(np.sqrt(np.prod(like.shape[stacked:-1])))
        return 1 + 0.1 * noise if name == "scale" else 0.7 + 0.3 * np.abs(noise) if name == "var" else 0.2 * noise

    return jax.tree_util.tree_map_with_path(fill, shapes)


def small(**overrides):
    sizes = dict(width=32, heads=2, depth=2, head_width=16, search_size=64, template_size=32, layer_scale=0.5)
    return RELO.from_variant("tiny", **sizes | overrides)
