"""A checkpoint of another size is described in words."""

import pytest

from relo_jax.checkpoints import network_size
from relo_jax.model import RELO, VARIANTS

T256 = {"width": 384, "stem_blocks": (1, 1), "depth": 12, "temporal_tokens": 4, "head_width": 256}


@pytest.mark.parametrize(
    ("found", "variant", "words"),
    [
        ({}, "b256", "has 12 main blocks of width 384, 1 + 1 stem blocks (t256), the model has 24 main blocks of width "
                     "512, 3 + 3 stem blocks (b256)"),
        ({"depth": 11}, "t256", "has 11 main blocks of width 384 (no known variant), the model has 12 main blocks of "
                                "width 384 (t256)"),
        ({"head_width": 64}, "t256", "has 12 main blocks of width 384, heads of width 64 (t256), the model has 12 main "
                                     "blocks of width 384, heads of width 256 (t256)"),
        ({}, "t256", None),
    ],
)  # fmt: skip
def test_the_difference_names_both_sizes(found, variant, words):
    assert network_size.difference(T256 | found, RELO.from_variant(variant).config) == words


def test_a_checkpoint_that_shows_no_depth_is_not_compared():
    assert network_size.difference({"width": 1}, RELO.from_variant("t256").config) is None


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_every_variant_is_told_by_its_body(variant):
    assert network_size.variant_of(VARIANTS[variant]) == variant
