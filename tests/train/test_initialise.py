"""What a run starts from, part by part: what is named begins from nothing, and the rest as it was."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from relo_jax import config as relo_config
from relo_jax.checkpoints.load import load
from relo_jax.errors import UserError
from relo_jax.train import initialise, state


def test_two_parts_put_together_are_the_whole():
    params = {"encoder": {"blocks": {"w": 1}, "blocks2": {"w": 2}}, "policy": {"w": 3}, "value": {"w": 4}}
    named, rest = state.split(params, ("encoder/blocks", "value"))
    assert named == {"encoder": {"blocks": {"w": 1}}, "value": {"w": 4}}
    assert rest == {"encoder": {"blocks2": {"w": 2}}, "policy": {"w": 3}}
    assert state.merge(rest, named) == params
    assert state.split(params, ()) == ({}, params)


@pytest.fixture(scope="module")
def starter():
    return load("starter-tiny")


@pytest.fixture(autouse=True)
def fresh(starter, monkeypatch):
    """Variables that are none of the starter's in place of fresh ones, which would have to be compiled."""
    variables = jax.tree.map(lambda x: np.asarray(x) + 1, starter.variables)
    monkeypatch.setattr(initialise, "init_variables", lambda model, key: variables)
    return variables


@pytest.mark.parametrize("stage", ["warmup", "rl"])
def test_a_part_begins_from_nothing_whatever_the_checkpoint_has(stage, starter, fresh):
    config = relo_config.starter(stage)
    config.init_from, config.init_fresh = "starter-tiny", ("regression/center", "encoder/ttokens")
    begun = initialise.initial_variables(config, starter.model, None)
    for collection, wanted in (("params", 12 + 6 + 1), ("batch_stats", 8)):
        new, old, nothing = (flatten_dict(x[collection], sep="/") for x in (begun, starter.variables, fresh))
        named = [name for name in old if name.startswith(("regression/center/", "encoder/ttokens"))]
        for name in old:
            np.testing.assert_array_equal(new[name], (nothing if name in named else old)[name], err_msg=name)
        assert len(named) == wanted


@pytest.mark.parametrize(
    ("path", "hint"),
    [("regression/centre", "did you mean 'regression/center'"), (3, "known: encoder, "), ("", "known: encoder")],
)
def test_a_part_that_does_not_exist_is_one_line(path, hint, starter):
    config = relo_config.starter("warmup")
    config.init_from, config.init_fresh = "starter-tiny", (path,)
    with pytest.raises(UserError, match=hint) as error:
        initialise.initial_variables(config, starter.model, None)
    assert "\n" not in str(error.value) and repr(path) in str(error.value)


def test_only_what_is_trained_as_a_whole_may_begin_from_nothing(starter, fresh):
    config = relo_config.starter("rl")
    for train in ("heads", "last_blocks"):
        config.rl.train = train
        with pytest.raises(UserError, match="needs a warm-up to start from"):
            initialise.initial_variables(config, starter.model, None)
    config.rl.train = "all"
    assert initialise.initial_variables(config, starter.model, None) is fresh


@pytest.mark.parametrize(
    ("train", "box_weight", "is_allowed"), [("heads", 1.0, False), ("all", 0.0, False), ("all", 1.0, True)]
)
def test_rl_begins_from_nothing_only_where_it_trains_everything(train, box_weight, is_allowed, starter, fresh):
    config = relo_config.starter("rl")
    config.rl.train, config.rl.box_weight = train, box_weight
    if is_allowed:
        assert initialise.initial_variables(config, starter.model, None) is fresh
    else:
        with pytest.raises(UserError, match="needs a warm-up"):
            initialise.initial_variables(config, starter.model, None)
