"""The paper's rows: equal in the table and in the configs; and which options win when several places have them."""

import re

import pytest

from relo_jax import config
from relo_jax.config import published
from relo_jax.data.datasets import layouts
from relo_jax.errors import UserError
from tests.config.configs import load

VARIANTS = ("t256", "b256", "l256")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_docstrings_of_configs_agree_with_the_table(variant):
    text = " ".join(load(variant).__doc__.split())
    results = re.search(r"Paper row \(AUC; GOT-10k: AO\): (.*?); (\d+) frames/s", text)
    rows = dict(part.rsplit(" ", 1) for part in results[1].split(", "))
    assert {title: float(value) for title, value in rows.items()} == {
        layouts.dataset_layout(name).title: value for name, value in published.RESULTS[variant].items()
    }
    assert int(results[2]) == published.FRAMES_PER_SECOND[variant]
    powers, names = {}, []
    for part in re.search(r"Window power: (.*?), elsewhere", text)[1].split(", "):
        title, number = re.fullmatch(r"(.*?)(?: ([\d.]+))?", part).groups()
        names.append(title)
        if number:
            powers |= dict.fromkeys(names, float(number))
            names = []
    assert powers == {
        layouts.dataset_layout(name).title: power for name, power in published.WINDOW_POWER[variant].items()
    }
    updates = {
        layouts.dataset_layout(name).title: f"every {interval} {'frames ' * (name == 'trackingnet')}above {threshold:g}"
        for name, (interval, threshold) in published.UPDATES.get(variant, {}).items()
    }
    assert all(f"{title} {rule}" in text for title, rule in updates.items())
    assert bool(updates) == ("Template updates" in text)


def test_a_row_is_a_dataset_that_can_be_read():
    for table in (published.WINDOW_POWER, published.UPDATES, published.RESULTS):
        for rows in table.values():
            assert set(rows) <= set(layouts.NAMES)
    assert set(config.BENCHMARKS) == set(layouts.NAMES) - {"coco"}


def test_options_of_a_row():
    assert published.options("b256", "got10k") == {
        "window_power": 2.1, "update_interval": 3, "update_threshold": 25.0,
    }  # fmt: skip
    assert published.options("b256", "lasot") == {"window_power": 3.0, "update_interval": 0}
    assert published.options("t256", "uav123") == published.options("tiny", "lasot") == {}


def test_given_options_come_before_the_config_then_the_published_row_then_the_checkpoint():
    run = config.base()
    run.tracker.window_power, run.tracker.update_interval = 9.0, 7
    run.benchmarks.got10k.window_power = 5.0
    saved = config.to_dict(run)
    chosen = lambda dataset, given=None, **rest: published.tracker_options(saved, "b256", dataset, given, **rest)
    values, source = chosen("lasot")
    assert (values["window_power"], values["update_interval"], values["update_threshold"]) == (3.0, 0, 25.0)
    assert source["window_power"] == "published for b256 on lasot" and source["update_threshold"] == "checkpoint"
    values, source = chosen("got10k")
    assert (values["window_power"], values["update_interval"]) == (5.0, 3)
    assert source["window_power"] == "config.benchmarks.got10k"
    assert published.describe(values, source) == (
        "window_power 5 (config.benchmarks.got10k); update_interval 3, update_threshold 25 "
        "(published for b256 on got10k)"
    )
    values, source = chosen("got10k", {"window_power": 0.0})
    assert values["window_power"] == 0.0 and source["window_power"] == "given"
    for unpublished in (chosen("otb100"), chosen(None)):
        assert unpublished[0]["window_power"] == 9.0 and unpublished[0]["update_interval"] == 7
    assert chosen("got10k", templates=1)[0]["update_interval"] == 0  # updates need a second template slot
    assert published.tracker_options({}, "tiny", "lasot") == ({}, {})


def test_a_config_that_was_edited_by_hand_is_one_line():
    with pytest.raises(UserError, match="section 'benchmarks'"):
        published.tracker_options({"benchmarks": {"lasot": 3.0}}, "b256", "lasot")


def test_an_option_of_a_benchmark_is_a_field_of_the_config():
    run = config.base()
    run.benchmarks.lasot.update_interval = 25
    assert config.from_dict(config.to_dict(run)).benchmarks.lasot.update_interval == 25
    config.check_same_run(config.to_dict(config.base()), config.to_dict(run), "config.json", 10)
    run.benchmarks.lasot.window_power = -1.0
    with pytest.raises(UserError, match="config.benchmarks.lasot.window_power is -1.0"):
        config.validate(run)
