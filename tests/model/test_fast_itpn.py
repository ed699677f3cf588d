"""The encoder: what it recomputes, what it skips, where it drops branches, and the share of foreground."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.config.model_config import CHOICES
from relo_jax.model.fast_itpn import REMAT_POLICIES, foreground_share
from relo_jax.profiling.flops import matmul_flops
from tests.model.small import clips, encode_templates, encoded, run_clip, small, variables


@pytest.mark.parametrize("propagation", CHOICES["propagation"])
def test_a_clip_without_gradients_has_the_same_features_and_tokens(propagation):
    encode = functools.partial(small(propagation=propagation).apply, no_gradient=True, method="encode_clip")
    outputs = jax.jit(encode)(variables(), encode_templates(), clips()[2])
    for lean, whole in zip(outputs, encoded(propagation), strict=True):
        np.testing.assert_allclose(lean, whole, rtol=1e-5, atol=1e-5)


def test_remat_changes_memory_not_numbers():
    """The less of a block is stored, the more is computed twice: all of it, all but linear layers, nothing."""
    numbers, memory, flops = {}, {}, {}
    for policy in ("nothing", "dots", None):
        model = small(remat=True, remat_policy=policy) if policy else small()

        def loss(values, images, boxes, search, model=model):
            templates = model.apply(values, images, boxes, method="encode_templates")
            return jnp.square(model.apply(values, templates, search, method="encode_clip")[0]).sum()

        step = jax.jit(jax.value_and_grad(loss))
        compiled_step = step.lower(variables(), *clips()).compile()
        numbers[policy] = compiled_step(variables(), *clips())
        memory[policy] = compiled_step.memory_analysis().temp_size_in_bytes
        flops[policy] = matmul_flops(step, variables(), *clips())
    close = functools.partial(np.testing.assert_allclose, rtol=2e-3, atol=2e-3)
    for policy in ("nothing", "dots"):
        jax.tree.map(close, numbers[policy], numbers[None])
    assert memory["nothing"] < 0.95 * memory["dots"] and memory["dots"] < 0.9 * memory[None]
    assert flops["nothing"] > flops["dots"] > flops[None]


def test_every_remat_policy_is_a_choice_of_the_config():
    assert tuple(REMAT_POLICIES) == CHOICES["remat_policy"]


def test_drop_path_is_active_in_training_only_and_different_in_every_layer():
    model = small(drop_path=0.9)
    plain, again = (run_clip(model, variables())[1].features for _ in range(2))
    np.testing.assert_array_equal(plain, again)
    draw = lambda seed: run_clip(model, variables(), train=True, rngs={"drop_path": jax.random.key(seed)})[1]
    first, second = draw(0), draw(1)
    assert np.abs(first.features - second.features).max() > 1e-2
    # A frame keeps its tokens at a layer that drops all of its branches; layers differ in which frames those are.
    kept = np.asarray((first.tokens[1:] == first.tokens[:-1]).all((-1, -2)))
    assert kept.any() and not kept.all() and (kept[0] != kept[1]).any()


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0.0, 0.0, 1.0, 1.0), [1, 1, 1, 1]),
        ((0.0, 0.0, 0.5, 0.5), [1, 0, 0, 0]),
        ((0.25, 0.0, 0.5, 1.0), [0.5, 0.5, 0.5, 0.5]),
        ((0.5, 0.75, 0.25, 0.25), [0, 0, 0, 0.25]),
        # 0.1 * 32 = 3.2: the first pixel inside is 4, the last below 3.2 + 3.2 = 6.4 is 6.
        ((0.1, 0.0, 0.1, 1.0), [3 / 16, 0, 3 / 16, 0]),
    ],
)
def test_the_foreground_share_counts_pixels(box, expected):
    np.testing.assert_allclose(foreground_share(jnp.asarray(box, jnp.float32), 32), expected, atol=1e-6)
