"""FLOPs of products, convolutions, loops and gradients, against those counted by hand."""

import jax
import jax.numpy as jnp
import pytest

from relo_jax.model import RELO, init_variables
from relo_jax.profiling.flops import matmul_flops


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


A, B = shape(5, 7), shape(7, 3)


def test_a_product_and_its_gradient():
    product = lambda a, b: (a @ b).sum()
    assert matmul_flops(product, A, B) == 2 * 5 * 7 * 3
    assert matmul_flops(jax.grad(product, (0, 1)), A, B) >= 2 * 2 * 5 * 7 * 3
    assert matmul_flops(jax.jit(lambda a: jnp.tanh(a) + 1), A) == 0


def test_a_loop_counts_each_run_and_a_condition_its_most_expensive_branch():
    square = shape(4, 4)
    loop = lambda x: jax.lax.scan(lambda c, _: (c @ c, None), x, length=6)[0]
    assert matmul_flops(loop, square) == 6 * 2 * 4**3
    assert matmul_flops(jax.jit(jax.remat(loop)), square) == 6 * 2 * 4**3
    branch = lambda x: jax.lax.cond(x[0, 0] > 0, lambda y: y @ y @ y, lambda y: y, x)
    assert matmul_flops(branch, square) == 2 * 2 * 4**3


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution(groups):
    image, kernel = shape(2, 8, 8, 6), shape(3, 3, 6 // groups, 4)
    conv = lambda x, k: jax.lax.conv_general_dilated(
        x, k, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
    )
    assert matmul_flops(conv, image, kernel) == 2 * (2 * 4 * 4 * 4) * 3 * 3 * (6 // groups)


def test_each_block_adds_the_same_flops():
    def of(depth):
        model = RELO.from_variant("tiny", depth=depth)
        variables = jax.eval_shape(lambda: init_variables(model, jax.random.key(0)))
        images = shape(1, model.config.search_size, model.config.search_size, 3)
        templates = shape(1, model.config.templates * (model.config.template_size // 16) ** 2, model.config.width)
        tokens = jax.eval_shape(lambda: model.initial_tokens(1))
        frame = lambda v, t, i, k: model.apply(v, t, i, k, jnp.ones(1, bool), method="frame")
        return matmul_flops(frame, variables, templates, images, tokens)

    assert of(4) - of(3) == of(3) - of(2) > 0.1 * of(2)
