"""A tiny model with its variables, and random clips for it, shared by the tests of training."""

import functools

import jax
import numpy as np

from relo_jax.model import RELO, init_variables


@functools.cache
def model(**fields):
    """The variant `tiny` with other fields."""
    sizes = dict(width=32, heads=2, depth=2, head_width=16, search_size=32, template_size=32)
    return RELO.from_variant("tiny", **sizes | fields)


@functools.cache
def variables(**fields):
    return jax.device_get(init_variables(model(**fields), jax.random.key(0)))


@functools.cache
def batch(clips, frames, search_size=32, seed=0, boxes=(0.2, 0.5)):
    """A batch of teacher-forced clips with one template; the ground truth is uniform between two boxes."""
    rng = np.random.default_rng(seed)
    images = lambda count, size: rng.integers(0, 256, (clips, count, size, size, 3), dtype=np.uint8)
    return {
        "template_images": images(1, 32),
        "template_boxes_xywh": np.tile(np.float32([0.25, 0.25, 0.5, 0.5]), (clips, 1, 1)),
        "search_images": images(frames, search_size),
        "search_boxes_xywh": rng.uniform(*boxes, (clips, frames, 4)).astype(np.float32),
    }
