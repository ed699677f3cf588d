"""The paper's schedule, and a valid config for each variant."""

import dataclasses

import pytest

from relo_jax import config as relo_config
from relo_jax.model import RELO, VARIANTS
from tests.config.configs import load


@pytest.mark.parametrize("stage", ["warmup", "rl"])
@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_each_variant_has_a_config_that_is_valid_and_builds_its_model(variant, stage):
    config = load(variant).get_config(stage)
    relo_config.validate(config)
    assert (config.stage, config.model.variant) == (stage, variant)
    model = RELO.from_config(config.model)
    assert RELO(dataclasses.replace(model.config, remat=False)) == RELO.from_variant(variant)


@pytest.mark.parametrize("variant", ["t256", "b256", "l256"])
def test_the_papers_schedule(variant):
    warmup, rl = load(variant).get_config("warmup"), load(variant).get_config("rl")
    assert (warmup.batch_size, warmup.total_steps) == (64, 90 * 100_000 / 64)
    assert rl.batch_size == 16 and 0 <= rl.total_steps * 16 - 90 * 2_500 < 16
    assert all(c.optimizer.reference_batch == c.batch_size and c.optimizer.scaling == "none" for c in (warmup, rl))
    for config in (warmup, rl):
        assert config.optimizer.learning_rate == 1e-4 and config.optimizer.encoder_learning_rate == 1e-5
        assert config.optimizer.weight_decay == 1e-4 and config.optimizer.clip_norm == 0.1
        assert config.optimizer.schedule == "step" and config.optimizer.drop_at == 72 / 90
    assert (warmup.warmup.giou_weight, warmup.warmup.l1_weight, warmup.warmup.center_focal_weight) == (2, 5, 0)
    assert warmup.warmup.search_frames == 2 and rl.rl.clip_length == 8
    assert not rl.rl.normalize_advantage and relo_config.starter("rl").rl.normalize_advantage
    assert {"t256": 2.0, "b256": 3.0, "l256": 2.7}[variant] == rl.tracker.window_power
