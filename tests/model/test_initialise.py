"""Fresh variables: how attention starts, and parts that need no encoder."""

import jax
import numpy as np

from relo_jax.model import count_parameters, init_variables
from relo_jax.model.initialise import quick_jit
from tests.model.small import fresh_variables, small, variables


def test_comparing_initialisation_ties_query_and_key_at_the_start_only():
    attention = fresh_variables()["params"]["encoder"]["blocks"]["attn"]
    np.testing.assert_array_equal(attention["q_proj"]["kernel"], attention["k_proj"]["kernel"])
    released = init_variables(small(init_scheme="release"), jax.random.key(0), ["encoder"])["params"]["encoder"]
    attention = released["blocks"]["attn"]
    assert (attention["q_proj"]["kernel"] != attention["k_proj"]["kernel"]).any()
    assert not released["search_token"].any()


def test_parameters_are_counted_by_part():
    counts = count_parameters(variables())
    assert set(counts) == {"encoder", "regression", "policy", "value"}
    assert sum(counts.values()) == sum(np.size(leaf) for leaf in jax.tree.leaves(variables()["params"]))
    assert counts["policy"] == counts["value"] < counts["regression"]


def test_heads_alone_have_the_numbers_that_they_have_in_the_whole():
    alone = init_variables(small(), jax.random.key(0), ("policy", "regression"))
    assert alone["params"].keys() == alone["batch_stats"].keys() == {"policy", "regression"}
    for name, tree in alone.items():
        expected = {part: fresh_variables()[name][part] for part in tree}
        jax.tree.map(np.testing.assert_array_equal, tree, expected)


def test_only_programs_of_their_own_are_compiled_quickly(monkeypatch):
    jit, options = jax.jit, []
    monkeypatch.setattr(jax, "jit", lambda f, compiler_options: options.append(compiler_options) or jit(f))
    draw = lambda: quick_jit(lambda key: jax.random.normal(key, 3))(jax.random.key(0))
    draw()  # the tests turn most optimisation off
    monkeypatch.setattr(jax.config, "read", lambda name: False)
    draw()
    jax.eval_shape(draw)
    assert [bool(given) for given in options] == [False, True, False]
