"""The network of the golden numbers: the variant `tiny` with these fields; its weights: fixtures/relo_tiny.pth.tar."""

import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.checkpoints.pytorch import convert
from relo_jax.model import RELO

FIELDS = dict(
    width=96, heads=3, stem_blocks=(1, 1), depth=3, temporal_tokens=2, search_size=128, template_size=64,
    head_width=64, templates=2,
)  # fmt: skip


def release_arrays(file):
    """Arrays that the release computed: clips before frames, channels last, where the file has `[T, B, C, H, W]`."""
    order = lambda x: np.moveaxis(np.swapaxes(x, 0, 1), 2, -1) if x.ndim == 5 else np.swapaxes(x, 0, 1)
    return {name: jnp.asarray(order(x) if x.ndim > 1 else x) for name, x in np.load(file).items()}


@pytest.fixture(scope="session")
def model():
    return RELO.from_variant("tiny", **FIELDS)


@pytest.fixture(scope="session")
def variables(model, fixtures):
    return convert.from_torch(fixtures / "relo_tiny.pth.tar", model)
