"""Layers: batch norm with PyTorch's running statistics, and drop path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from relo_jax.model.batch_norm import BatchNorm
from relo_jax.model.layers import Attention, drop_path, gelu
from relo_jax.model.platform import compiling_for


def test_batch_norm_keeps_pytorchs_unbiased_running_variance():
    x = jnp.asarray(np.random.default_rng(0).normal(3, 2, (4, 5, 6)), jnp.float32)
    norm = BatchNorm()
    values = jax.jit(norm.init, static_argnums=2)(jax.random.key(0), x, False)
    out, updated = norm.apply(values, x, True, mutable=["batch_stats"])
    np.testing.assert_allclose(out, (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.1 * x.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9 + 0.1 * x.var((0, 1), ddof=1), rtol=1e-5)


def test_drop_path_drops_whole_frames_and_keeps_the_mean():
    x = jnp.ones((100, 50, 3, 2))
    out = np.asarray(drop_path(x, 0.25, jax.random.key(0)))
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.75)}
    assert (out == out[:, :, :1, :1]).all()
    assert abs(out.mean() - 1) < 0.05


@pytest.mark.parametrize("name", ["cpu", "gpu", "tpu"])
def test_gelu_is_the_same_function_on_every_platform(name):
    x = np.linspace(-9, 9, 2001, dtype=np.float32)
    exact = x * scipy.stats.norm.cdf(x.astype(np.float64))
    with compiling_for(name):
        np.testing.assert_allclose(gelu(jnp.asarray(x)), exact, rtol=0, atol=2e-6)
        half = gelu(jnp.asarray(x, jnp.bfloat16))
    # bfloat16 has 8 bits, and JAX's way rounds the argument of erfc too.
    np.testing.assert_allclose(half.astype(np.float32), exact, rtol=2e-2, atol=2e-2)
    assert half.dtype == jnp.bfloat16


def test_on_a_gpu_gelu_is_one_erf_of_float32():
    x = jnp.ones(3, jnp.bfloat16)
    assert "erfc" in str(jax.make_jaxpr(gelu)(x))
    with compiling_for("gpu"):
        operations = str(jax.make_jaxpr(lambda x: gelu(x) + 0)(x))
    assert "erf " in operations and "erfc" not in operations and "f32" in operations


def test_on_a_gpu_keys_and_values_are_two_products_with_the_same_result():
    attention, x = Attention(heads=2), jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 8)), jnp.float32)
    variables = jax.jit(attention.init)(jax.random.key(0), x, x)
    apply = lambda: jax.jit(lambda x: attention.apply(variables, x, x)).trace(x)
    plain = apply()
    with compiling_for("gpu"):
        apart = apply()
    assert "optimization_barrier" in str(apart.jaxpr) and "optimization_barrier" not in str(plain.jaxpr)
    large = jnp.zeros((2**15, 32, 8))  # 64 MiB of input and result: XLA leaves such products apart
    with compiling_for("gpu"):
        assert "optimization_barrier" not in str(jax.make_jaxpr(lambda x: attention.apply(variables, x, x))(large))
    np.testing.assert_array_equal(*(traced.lower().compile()(x) for traced in (plain, apart)))
