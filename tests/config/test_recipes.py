"""The schedules of the paper and the release, and a valid config for each variant."""

import dataclasses

import pytest

from relo_jax import config as relo_config
from relo_jax.errors import UserError
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


# What the release's files experiments/*.yaml, its defaults of config.py, its actors and its loader say, by our fields.
CLIPS, GPUS, EPOCHS = {"warmup": (8, 100_000), "rl": (2, 2_500)}, 8, 90
OF_RELEASE = {
    "batch_norm": "frame",
    "data.brightness": 0.2,
    "data.coco_smallest_side": 0,
    "data.flip": 0.5,
    "data.frame_flip": 0.5,
    "data.grey": 0.05,
    "data.max_gap": 400,
    "data.reduced_decode": False,
    "data.scale_jitter": 0.5,
    "data.shift_jitter": 3.5,
    "data.weights": (),
    "model.dtype": None,
    "optimizer.clip_norm": 0.1,
    "optimizer.drop_at": 72 / EPOCHS,
    "optimizer.encoder_learning_rate": 1e-4 * 0.1,
    "optimizer.learning_rate": 1e-4,
    "optimizer.scaling": "none",
    "optimizer.schedule": "step",
    "optimizer.warmup_steps": 0,
    "optimizer.weight_decay": 1e-4,
}
OF_STAGE = {
    "warmup": {
        "warmup.search_frames": 2, "warmup.giou_weight": 2.0, "warmup.l1_weight": 5.0, "warmup.train": "all",
        "warmup.center_focal_weight": 1.0, "warmup.decode_at": "argmax", "warmup.heatmap_peak": "rounded",
    },
    "rl": {
        "rl.clip_length": 8, "rl.iou_weight": 1.0, "rl.auc_weight": 1.0, "rl.auc": "thresholds", "rl.train": "heads",
        "rl.estimator": "reinforce", "rl.rollout": "teacher_forced", "rl.entropy_weight": 0.0,
        "rl.entropy_weight_end": 0.0, "rl.value_weight": 0.5, "rl.normalize_advantage": True, "rl.drop_path": True,
    },
}  # fmt: skip
# Variant: template frames, temporal tokens, window power elsewhere.
OF_VARIANT = {"t256": (1, 4, 2.0), "b256": (2, 32, 3.0), "l256": (2, 32, 2.7)}
DIFFERENT = {"batch_norm", "group_size", "total_steps", "data.coco_smallest_side", "data.name", "data.reduced_decode"}
DIFFERENT_IN_STAGE = {
    "warmup": {"warmup.center_focal_weight", "warmup.decode_at"},
    "rl": {"rl.normalize_advantage", "rl.drop_path"},
}


@pytest.mark.parametrize("stage", ["warmup", "rl"])
@pytest.mark.parametrize("variant", ["t256", "s256", "b256", "l256"])
def test_the_releases_recipe_has_its_constants_and_differs_from_the_papers_only_by_them(variant, stage):
    config, paper = (relo_config.flatten(load(variant).get_config(f"{stage}{end}")) for end in ("_release", ""))
    assert {name for name in config if config[name] != paper[name]} == DIFFERENT | DIFFERENT_IN_STAGE[stage]
    relo_config.validate(load(variant).get_config(f"{stage}_release"))
    expected = OF_RELEASE | OF_STAGE[stage]
    assert {name: config[name] for name in expected} == expected

    clips, of_epoch = CLIPS[stage]
    assert config["group_size"] == clips and config["batch_size"] == config["optimizer.reference_batch"] == clips * GPUS
    # Each GPU gets an eighth of the clips, rounded up, and drops what is left of them after whole batches.
    of_gpu = -(-of_epoch // GPUS) // clips
    assert config["total_steps"] == EPOCHS * of_gpu
    assert int(config["total_steps"] * config["optimizer.drop_at"]) == 72 * of_gpu
    names = set(config["data.name"].split("+"))
    assert names == {"coco", "got10k", "lasot", "trackingnet", "vasttrack/train_release"}
    if variant in OF_VARIANT:
        templates, tokens, power = OF_VARIANT[variant]
        model = RELO.from_variant(variant).config
        assert (model.templates, model.temporal_tokens, config["tracker.window_power"]) == (templates, tokens, power)
        assert (model.search_size, model.template_size, model.drop_path) == (256, 128, 0.1)
        assert (model.dtype, model.head_width) == ("float32", 256)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("rl_relase", "'rl_release'"), ("evl", "'eval'"), ("finetune", "known: warmup, rl, warmup_release")],
)
def test_an_unknown_recipe_names_the_nearest(name, hint):
    with pytest.raises(UserError, match=hint):
        load("b256").get_config(name)
