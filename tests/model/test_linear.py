"""Layers in bfloat16 compute what Flax's do, and sum the gradients of their parameters in float32."""

import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.model.linear import Conv, Dense, spread

LAYERS = {  # arguments of a layer, and the shape of its input
    "dense": (Dense, nn.Dense, (5,), (64, 6)),
    "same": (Conv, nn.Conv, (5, (3, 3), 1, "SAME"), (4, 7, 6, 3)),
    "patches": (Conv, nn.Conv, (5, (2, 2), (2, 2), "VALID"), (4, 7, 6, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_are_flaxs_and_gradients_are_summed_in_float32(name):
    *layers, arguments, shape = LAYERS[name]
    ours, flaxs = (functools.partial(layer, *arguments) for layer in layers)
    x = jax.random.normal(jax.random.key(0), shape)
    variables = ours(dtype="bfloat16").init(jax.random.key(1), x)
    jax.tree.map(np.testing.assert_array_equal, variables, flaxs(dtype="bfloat16").init(jax.random.key(1), x))

    def gradients(layer, dtype):
        def loss(variables, x):
            out = layer(dtype=dtype).apply(variables, x)
            weights = jnp.linspace(-1, 1, out.size).reshape(out.shape).astype(jnp.bfloat16).astype(out.dtype)
            return jnp.sum((out * weights).astype(jnp.float32)), out

        return jax.grad(loss, (0, 1), has_aux=True)

    exactly = lambda tree: jax.tree.map(lambda y: y.astype(jnp.bfloat16).astype(jnp.float32), tree)
    run = gradients(ours, "bfloat16")
    (parameters, inputs), out = jax.jit(run)(variables, x)
    (_, inputs_of_flax), out_of_flax = jax.jit(gradients(flaxs, "bfloat16"))(variables, x)
    np.testing.assert_array_equal(out.astype(jnp.float32), out_of_flax.astype(jnp.float32))
    np.testing.assert_array_equal(inputs, inputs_of_flax)
    # The products of rounded inputs are exact in float32, and only their sums are rounded.
    program = str(jax.make_jaxpr(run)(variables, x))
    (expected, _), _ = jax.jit(gradients(flaxs, "float32"))(exactly(variables), exactly(x))
    for kind, value in expected["params"].items():
        np.testing.assert_allclose(parameters["params"][kind], value, rtol=1e-5, atol=1e-5, err_msg=kind)
        # As compiled for a CPU, sums in bfloat16 may be float32: the program says what is asked for.
        shape = ",".join(map(str, value.shape))
        sums = rf":(\w+)\[{shape}\] = (?:dot_general|conv_general_dilated|reduce_sum)"
        assert set(re.findall(sums, program)) == {"f32"}, kind


def test_the_gradient_of_what_is_spread_is_summed_in_float32():
    small = np.float32(2.0**-9)  # half a unit in the last place of 1 in bfloat16: lost in a sum of that dtype
    weights = jnp.full((2, 3, 4), small, jnp.bfloat16).at[0, 0].set(1)
    for shape in ((4,), (3, 4), (2, 1, 4)):
        x = jnp.zeros(shape)
        gradient = jax.grad(lambda x: (weights * spread(x, weights)).astype(jnp.float32).sum())(x)
        expected = jax.vjp(lambda x: jnp.broadcast_to(x, weights.shape), x)[1](weights.astype(jnp.float32))[0]
        np.testing.assert_array_equal(gradient, expected)
        assert gradient.dtype == jnp.float32 and spread(x, weights).dtype == jnp.bfloat16
