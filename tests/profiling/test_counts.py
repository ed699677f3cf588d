"""Parameters and multiply-adds: as counted on the release, by the paper's rule, and against the products traced."""

import dataclasses
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from relo_jax.config.published_tables import COST
from relo_jax.model import RELO, count_parameters
from relo_jax.profiling import counts
from relo_jax.profiling.flops import matmul_flops

# Millions of the release's checkpoints: encoder, regression, policy, value.
RELEASE = {
    "t256": (23.89, 3.82, 1.27, 1.27), "b256": (84.41, 4.70, 1.57, 1.57), "l256": (311.40, 6.47, 2.16, 2.16),
}  # fmt: skip
TRACKER = {"t256": 9.4, "b256": 41.7, "l256": 144.4}  # 10^9 multiply-adds


@pytest.fixture(scope="module", params=list(RELEASE))
def counted(request):
    model = RELO.from_variant(request.param)
    shapes = counts.variable_shapes(model)
    called = counts.called_parameters(shapes)
    return SimpleNamespace(variant=request.param, model=model, all=count_parameters(shapes), called=called)


def test_the_parameters_are_those_of_the_release(counted):
    parts = ("encoder", "regression", "policy", "value")
    assert tuple(round(counted.all[part] / 1e6, 2) for part in parts) == RELEASE[counted.variant]


def test_the_layers_that_the_release_calls_give_the_papers_counts(counted):
    products = counts.called_multiply_adds(counted.model.config)
    parameters = sum(counted.called[part] for part in ("encoder", "regression"))
    multiply_adds = sum(products[part] for part in ("encoder", "regression"))
    paper = COST[counted.variant]
    assert (round(parameters / 1e6), round(multiply_adds / 1e9)) == (paper.parameters, paper.flops)
    # Neither all parameters nor all arithmetic would.
    assert sum(counted.all[part] for part in ("encoder", "regression")) / 1e6 > paper.parameters + 5
    assert sum(counts.release_multiply_adds(counted.model.config).values()) / 1e9 > paper.flops + 2


def test_the_rule_gives_the_counts_of_a_later_tracker_too():
    """PATT (see published_tables.py): the same encoders with four templates and no temporal tokens, 39 and 131 G."""
    for variant, published in (("b256", 39), ("l256", 131)):
        config = RELO.from_variant(variant).config
        fields = {**dataclasses.asdict(config), "templates": 4, "temporal_tokens": 0, "grid": config.grid}
        products = counts.called_multiply_adds(SimpleNamespace(**fields))
        assert round((products["encoder"] + products["regression"]) / 1e9) == published


def test_the_trackers_arithmetic_is_counted_without_running_it(counted):
    assert round(counts.frame_flops(counted.model) / 2e9, 1) == TRACKER[counted.variant]


def test_the_formulas_count_every_product_of_the_network():
    model = RELO.from_variant("tiny", templates=2, stem_blocks=(1, 2))
    config, variables = model.config, counts.variable_shapes(model)
    templates = jnp.zeros((1, 2, config.template_size, config.template_size, 3), jnp.uint8)
    search = jnp.zeros((1, 1, config.search_size, config.search_size, 3), jnp.uint8)
    traced = matmul_flops(model.apply, variables, templates, jnp.zeros((1, 2, 4)), search) // 2
    context = config.grid**2 + 2 * (config.template_size // 16) ** 2 + 2 * config.temporal_tokens
    # Here the previous frame's tokens are attended to and not carried through the blocks.
    blocks = counts.block_multiply_adds(config, context - config.temporal_tokens, context)
    assert traced == sum((counts.release_multiply_adds(config) | blocks).values())
