"""A small model with shaken weights, clips for it, and what it computes on them, once a process."""

import functools

import jax
import numpy as np

from relo_jax.model import RELO, init_variables

SMALL = dict(width=32, heads=2, depth=3, head_width=16, templates=2, search_size=64, template_size=32)
CLIPS, FRAMES = 2, 3


@functools.cache
def small(**overrides):
    return RELO.from_variant("tiny", **SMALL, **overrides)


@functools.cache
def variables():
    """Weights of the small model, shaken so that nothing is symmetric or zero."""
    rng = np.random.default_rng(0)
    fresh = jax.device_get(fresh_variables())
    return jax.tree.map(lambda x: np.asarray(x + 0.03 * np.abs(rng.normal(size=x.shape)), np.float32), fresh)


@functools.cache
def fresh_variables():
    return init_variables(small(), jax.random.key(0))


@functools.cache
def compiled(method, **overrides):
    """A method of the small model, jitted: otherwise every operation would be compiled by itself."""
    return jax.jit(functools.partial(small(**overrides).apply, method=method))


def encode_templates():
    images, boxes, _ = clips()
    return compiled("encode_templates")(variables(), images, boxes)


@functools.cache
def clips():
    rng = np.random.default_rng(0)
    return (
        rng.integers(0, 256, (CLIPS, 2, 32, 32, 3), dtype=np.uint8),
        np.asarray([[[0.2, 0.3, 0.5, 0.4], [0.25, 0.25, 0.5, 0.5]]] * CLIPS, np.float32),
        rng.integers(0, 256, (CLIPS, FRAMES, 64, 64, 3), dtype=np.uint8),
    )


def run_clip(model, values, train=False, **kwargs):
    def forward(values, images, boxes, search):
        templates = model.apply(values, images, boxes, method="encode_templates")
        return templates, model.apply(values, templates, search, train=train, method="clip", **kwargs)

    return jax.jit(forward)(values, *clips())


@functools.cache
def reference():
    return run_clip(small(), variables(), with_center=True)


@functools.cache
def encoded(propagation):
    """Features and tokens of the clips."""
    return compiled("encode_clip", propagation=propagation)(variables(), encode_templates(), clips()[2])
