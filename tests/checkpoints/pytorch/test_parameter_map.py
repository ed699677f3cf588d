"""The tables cover every parameter of the released variants."""

import math

import pytest

from relo_jax.checkpoints.pytorch import parameter_map
from relo_jax.model import RELO


@pytest.mark.parametrize(
    ("variant", "millions"),
    [
        ("t256", (23.89, 3.82, 1.27, 1.27)),
        ("b256", (84.41, 4.70, 1.57, 1.57)),
        ("l256", (311.40, 6.47, 2.16, 2.16)),
    ],
)
def test_released_variants_have_the_released_parameters(variant, millions):
    model = RELO.from_variant(variant)
    counts = dict.fromkeys(("encoder", "regression", "policy", "value"), 0)
    for source in parameter_map.sources(model):
        if source.path[0] == "params":
            counts[source.part] += math.prod(source.shape)
    assert tuple(round(count / 1e6, 2) for count in counts.values()) == millions
