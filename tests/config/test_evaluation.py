"""The config of an evaluation: what each variant's has, and mistakes in it, named before anything is tracked."""

import json

import pytest
from ml_collections import ConfigDict

from relo_jax import config as relo_config
from relo_jax.config import published
from relo_jax.config.evaluation import given_options
from relo_jax.errors import UserError
from relo_jax.eval import benchmarks, metrics
from relo_jax.model import VARIANTS
from tests.config.configs import load


def change(**fields):
    """The config of an evaluation with dotted fields replaced (`__` for the dot)."""
    config = relo_config.evaluation()
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_each_variant_has_a_config_that_leaves_the_options_of_the_tracker_open(variant):
    config = load(variant).get_config("eval")
    relo_config.validate_evaluation(config)
    assert (config.stage, config.model.variant) == ("eval", variant)
    assert not any(given_options(config, dataset) for dataset in relo_config.BENCHMARKS)
    if variant in published.RESULTS:
        assert config.eval.datasets.split("+") == list(published.RESULTS[variant]) and not config.eval.checkpoint


def test_its_choices_are_those_of_the_evaluation():
    assert relo_config.RULES == tuple(metrics.RULES)
    for rules in relo_config.RULES:
        relo_config.validate_evaluation(change(eval__rules=rules))
    for name in benchmarks.NAMES:
        relo_config.validate_evaluation(change(eval__datasets=name))


def test_a_config_survives_json():
    config = change(model__stem_blocks=(1, 2), tracker__window_power=2.0, benchmarks__nfs__update_interval=3)
    back = relo_config.evaluation_from_dict(json.loads(json.dumps(relo_config.to_dict(config))))
    assert relo_config.flatten(back) == relo_config.flatten(config)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("eval__batch", 0, "config.eval.batch is 0: expected at least 1"),
        ("eval__batch", None, "config.eval.batch is None"),
        ("eval__rules", "otb", "config.eval.rules is 'otb'"),
        ("eval__count", 0, "config.eval.count is 0"),
        ("eval__datasets", "lasot+laost", r"no dataset is called 'laost' \(did you mean 'lasot'"),
        ("eval__datasets", "coco", "coco has photographs"),
        ("eval__datasets", "", "no dataset is called ''"),
        ("eval__datasets", "nfs+got10k/val+nfs", "nfs is there twice"),
        ("model__dtype", "float8", "config.model.dtype is 'float8'"),
        ("tracker__window_power", -1.0, "config.tracker.window_power is -1.0"),
        ("tracker__score_value", -2.0, "config.tracker.score_value is -2.0"),
        ("benchmarks__nfs__update_interval", -1, "config.benchmarks.nfs.update_interval is -1"),
        ("stage", "rl", "config.stage is 'rl'"),
    ],
)
def test_a_bad_value_is_named_with_its_field(field, value, message):
    values = relo_config.to_dict(relo_config.evaluation())
    *sections, last = field.split("__")
    node = values
    for section in sections:
        node = node[section]
    node[last] = value
    with pytest.raises(UserError, match=message) as error:
        relo_config.validate_evaluation(ConfigDict(values))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eval": {"btch": 8}}, "mine.json has no field 'eval.btch': did you mean 'eval.batch'"),
        ({"eval": {}, "batch_size": 8}, "mine.json has no field 'batch_size': it is one of training"),
        (
            {"eval": {}, "benchmarks": {"lasot_ex": {"window_power": 1.0}}},
            "did you mean 'benchmarks.lasot_ext.window_power'",
        ),
        ({"eval": {}, "tracker": {"window_powr": 1.0}}, "did you mean 'tracker.window_power'"),
        ({"eval": {}, "tracker": {"found_threshold": 0.5}}, "'tracker.found_threshold': it is one of training"),
    ],
)
def test_an_unknown_field_names_the_nearest_known_one(given, message):
    with pytest.raises(UserError, match=message):
        relo_config.evaluation_from_dict(given, "mine.json")


def test_an_option_has_one_value_on_a_dataset():
    both = {"tracker__window_power": 2.0, "benchmarks__nfs__window_power": 2.5}
    with pytest.raises(UserError, match=r"window_power is 2 and config.benchmarks.nfs.window_power is 2.5: leave one"):
        relo_config.validate_evaluation(change(**both, eval__datasets="lasot+nfs"))
    config = change(**both, benchmarks__nfs__update_interval=3, eval__datasets="lasot")  # nothing is evaluated on NFS
    relo_config.validate_evaluation(config)
    assert given_options(config, "lasot") == {"window_power": 2.0}
    assert given_options(config, "procedural") == {"window_power": 2.0}
    assert given_options(config, "nfs") == {"window_power": 2.5, "update_interval": 3}


def test_training_and_evaluation_refuse_the_config_of_the_other():
    with pytest.raises(UserError, match="config.stage is 'eval', for relo eval"):
        relo_config.validate(relo_config.evaluation())
    with pytest.raises(UserError, match="config of stage 'rl', for relo train"):
        relo_config.validate_evaluation(relo_config.paper("rl"))
    with pytest.raises(UserError, match="relo_jax.config.evaluation"):
        relo_config.paper("eval")
