"""The optimiser: clipped gradients, and learning rates by module, batch size and schedule."""

import numpy as np
import pytest

from relo_jax import config as config_lib
from relo_jax.train.state import learning_rate_schedule, optimizer
from tests.config.configs import change


@pytest.mark.parametrize("stage", ["warmup", "rl"])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_gradients_are_clipped_and_each_module_has_its_rate(stage, clip_norm):
    """Adam divides by its first gradient. Those of 1e-12 are small against its epsilon, so clipping shows."""
    fields = dict(optimizer__weight_decay=0.0, optimizer__learning_rate=1e-2, optimizer__encoder_learning_rate=1e-3)
    values = change(stage=stage, optimizer__clip_norm=clip_norm, **fields)
    tx = optimizer(config_lib.from_dict(values))
    params = {name: np.float32([3.0, 4.0]) for name in ("encoder", "regression", "policy")}
    grads = {name: np.float32([3e-12, 4e-12]) for name in params} | {"policy": np.float32([3.0, 4.0])}
    updates, _ = tx.update(grads, tx.init(params), params)
    rates = {"encoder": 1e-3, "policy": 1e-2, "regression": 1e-3 if stage == "rl" else 1e-2}
    for name, rate in rates.items():
        given = grads[name] / (5.0 if clip_norm else 1.0)
        np.testing.assert_allclose(updates[name], -rate * given / (given + 1e-8), rtol=1e-4)


@pytest.mark.parametrize(("scaling", "factor"), [("none", 1.0), ("sqrt", 2.0), ("linear", 4.0)])
def test_learning_rates_are_for_the_reference_batch(scaling, factor):
    values = change(batch_size=256, optimizer__reference_batch=64, optimizer__scaling=scaling, total_steps=10)
    assert learning_rate_schedule(config_lib.from_dict(values), 1e-4)(0) == pytest.approx(factor * 1e-4)
    values["batch_size"] = 64
    assert learning_rate_schedule(config_lib.from_dict(values), 1e-4)(0) == pytest.approx(1e-4)


def test_the_step_schedule_drops_once_and_the_cosine_ends_at_zero():
    config = config_lib.base()
    config.total_steps, config.optimizer.warmup_steps = 100, 4
    rate = learning_rate_schedule(config, 1.0)
    np.testing.assert_allclose([rate(0), rate(3), rate(79), rate(80), rate(99)], [0.25, 1, 1, 0.1, 0.1], rtol=1e-6)
    config.optimizer.schedule = "cosine"
    rate = learning_rate_schedule(config, 1.0)
    np.testing.assert_allclose([rate(0), rate(4), rate(52), rate(100)], [0, 1, 0.5, 0], atol=1e-6)


def test_a_run_shorter_than_its_warm_up_of_the_learning_rate_takes_a_tenth():
    config = config_lib.base()
    config.total_steps, config.optimizer.warmup_steps = 20, 50
    config_lib.validate(config)
    rate = learning_rate_schedule(config, 1.0)
    np.testing.assert_allclose([rate(0), rate(1), rate(15)], [0.5, 1, 1])
    config.optimizer.schedule = "cosine"
    rate = learning_rate_schedule(config, 1.0)
    np.testing.assert_allclose([rate(0), rate(2), rate(20)], [0, 1, 0], atol=1e-6)
