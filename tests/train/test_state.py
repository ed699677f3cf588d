"""The optimiser: clipped gradients, and a learning rate for each module that scales with the batch."""

import numpy as np
import pytest

from relo_jax import config as relo_config
from relo_jax.train.state import learning_rate_schedule, optimizer
from tests.config.configs import change


@pytest.mark.parametrize("stage", ["warmup", "rl"])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_gradients_are_clipped_and_each_module_has_its_rate(stage, clip_norm):
    """Adam divides by what its first gradient was; the encoder's, 1e-12, is small beside its epsilon, and shows it."""
    fields = dict(optimizer__weight_decay=0.0, optimizer__learning_rate=1e-2, optimizer__encoder_learning_rate=1e-3)
    values = change(stage=stage, optimizer__clip_norm=clip_norm, **fields)
    tx = optimizer(relo_config.from_dict(values))
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
    assert learning_rate_schedule(relo_config.from_dict(values), 1e-4)(0) == pytest.approx(factor * 1e-4)
    values["batch_size"] = 64
    assert learning_rate_schedule(relo_config.from_dict(values), 1e-4)(0) == pytest.approx(1e-4)
