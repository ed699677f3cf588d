"""Configs as a notebook shows them."""

import copy
import pickle

import pytest
from ml_collections import ConfigDict

import relo_jax
from relo_jax import config as relo_config
from relo_jax.config.command_line import read_config
from relo_jax.errors import UserError


def rows(text):
    return {line.split()[0]: line.split()[1:] for line in str(text).splitlines()}


def test_a_config_by_name_has_the_fields_that_were_replaced():
    config = relo_jax.get_config(
        "tiny:rl", total_steps=200, optimizer={"warmup_steps": 5}, **{"optimizer.learning_rate": 1}
    )
    expected = read_config("relo train", "tiny:rl")
    expected.total_steps, expected.optimizer.warmup_steps, expected.optimizer.learning_rate = 200, 5, 1.0
    assert isinstance(config, ConfigDict) and config.to_dict() == expected.to_dict()
    relo_config.validate(config)


def test_it_prints_as_a_short_table_of_what_differs():
    config = relo_jax.get_config("tiny:rl", total_steps=200)
    config.data.flip = 0.125  # later changes count too
    table = rows(config)
    assert len(table) < 30 < len(relo_config.flatten(config))
    assert table["tiny:rl"] == ["value", "in", "the", "file", "default"]
    assert table["total_steps"] == ["200", "300", "14063"] and table["data.flip"][:2] == ["0.125", "0.5"]
    assert table["model.variant"] == ["tiny", "b256"] and table["optimizer.schedule"] == ["cosine", "step"]
    assert "warmup.center_focal_weight" not in table  # of the other stage
    assert repr(config) == str(config) and '<td style="text-align: left">14063</td>' in config._repr_html_()


def test_a_config_as_it_is_in_its_file_has_no_column_for_changes():
    assert "in the file" not in str(relo_jax.get_config("tiny:rl"))
    assert rows(relo_jax.get_config("b256:eval"))["eval.batch"] == ["8"]


def test_copies_print_the_same_and_sections_print_all_their_fields():
    config = relo_jax.get_config("tiny:rl", batch_size=4)
    for made in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert made == config and str(made) == str(config)
    assert "clip_norm: 1.0" in str(config.optimizer)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"total_step": 3}, "config has no field 'total_step': did you mean 'total_steps'?"),
        ({"learning_rate": 3.0}, "did you mean 'optimizer.learning_rate'?"),
        ({"total_steps": "many"}, "config.total_steps is 'many': expected a value of type int"),
        ({"batch_size": 0}, "config.batch_size is 0: expected at least 1"),
        ({"seed": None}, "seed is None: leave it out, and it stays as tiny:rl has it"),
    ],
)
def test_a_mistake_is_one_line(fields, message):
    with pytest.raises(UserError) as error:
        relo_jax.get_config("tiny:rl", **fields)
    assert message in str(error.value) and "\n" not in str(error.value)
