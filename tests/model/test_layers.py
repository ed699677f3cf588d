"""Layers: batch norm with PyTorch's running statistics, and drop path."""

import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.model.batch_norm import BatchNorm
from relo_jax.model.layers import drop_path


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
