"""Statistics that devices exchange once are those of two passes over all frames, and so are their gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.model.batch_norm import BatchNorm, is_trained


def test_one_exchange_gives_the_statistics_and_gradients_of_two_passes():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(16, 3, 3, 5)) * [0.1, 1, 2, 3, 1] + [100, 0, -7, 1, 0]).astype(np.float32)
    x += np.arange(16, dtype=np.float32)[:, None, None, None]  # devices do not have the same means
    weights = rng.normal(size=x.shape).astype(np.float32)
    norm = BatchNorm()
    variables = jax.tree.map(lambda v: v + 0.3, norm.init(jax.random.key(0), x, False))

    def loss(variables, x):
        out, updated = norm.apply(variables, x, True, mutable=["batch_stats"])
        return jnp.sum(weights * out**2), (out, updated)

    both = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    expected = both(variables, x)
    where = jax.make_mesh((2, 4), ("data", "frames"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    with jax.set_mesh(where):
        frames = jax.sharding.NamedSharding(where, jax.sharding.PartitionSpec(("data", "frames")))
        compiled = both.lower(variables, jax.device_put(x, frames)).compile()
        ours = compiled(variables, jax.device_put(x, frames))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), ours, expected)
    assert compiled.as_text().count(" all-gather(") == 1
    assert compiled.as_text().count(" all-reduce(") == 1


def test_a_layer_is_trained_when_its_running_statistics_have_moved():
    norm, x = BatchNorm(), jnp.ones((2, 5))
    variables = norm.init(jax.random.key(0), x, True)
    assert not is_trained({"norm": variables["batch_stats"]})
    _, moved = norm.apply(variables, x, True, mutable=["batch_stats"])
    assert is_trained({"first": variables["batch_stats"], "norm": moved["batch_stats"]})
