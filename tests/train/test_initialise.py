"""The first variables of a run: the parts that `init_fresh` names are fresh, the others from the checkpoint."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from relo_jax import config as relo_config
from relo_jax.checkpoints.load import load
from relo_jax.checkpoints.pytorch import convert, safetensors_file
from relo_jax.errors import UserError
from relo_jax.study.rehearsal import weights
from relo_jax.train import initialise, state


def test_split_and_merge_are_inverse():
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
    """Replaces fresh variables, which need compiling, by others than the starter's."""
    variables = jax.tree.map(lambda x: np.asarray(x) + 1, starter.variables)
    pick = lambda parts: {
        name: {part: tree[part] for part in tree if part in parts} for name, tree in variables.items()
    }
    monkeypatch.setattr(
        initialise, "init_variables", lambda model, key, parts=None: pick(parts) if parts else variables
    )
    return variables


@pytest.mark.parametrize("stage", ["warmup", "rl"])
def test_named_parts_are_fresh(stage, starter, fresh):
    config = relo_config.starter(stage)
    config.init_from, config.init_fresh = "starter-tiny", ("regression/center", "encoder/ttokens")
    ours = initialise.initial_variables(config, starter.model, None)
    for collection, count in (("params", 12 + 6 + 1), ("batch_stats", 8)):
        new, old, other = (flatten_dict(x[collection], sep="/") for x in (ours, starter.variables, fresh))
        named = [name for name in old if name.startswith(("regression/center/", "encoder/ttokens"))]
        for name in old:
            np.testing.assert_array_equal(new[name], (other if name in named else old)[name], err_msg=name)
        assert len(named) == count


def test_the_rl_stage_compiles_fresh_heads_and_no_encoder(starter, fresh, monkeypatch):
    asked, all_of = [], initialise.init_variables
    monkeypatch.setattr(
        initialise, "init_variables", lambda model, key, parts: asked.append(parts) or all_of(model, key, parts)
    )
    config = relo_config.starter("rl")
    config.init_from = "starter-warmup"
    ours = initialise.initial_variables(config, starter.model, None)
    assert asked == [{"policy", "value"}]
    warmup = load("starter-warmup").variables["params"]
    for part, expected in {"encoder": warmup, "regression": warmup, "policy": fresh["params"]}.items():
        jax.tree.map(np.testing.assert_array_equal, ours["params"][part], expected[part])


@pytest.mark.parametrize(
    ("path", "hint"),
    [("regression/centre", "did you mean 'regression/center'"), (3, "known: encoder, "), ("", "known: encoder")],
)
def test_an_unknown_part_is_one_line(path, hint, starter):
    config = relo_config.starter("warmup")
    config.init_from, config.init_fresh = "starter-tiny", (path,)
    with pytest.raises(UserError, match=hint) as error:
        initialise.initial_variables(config, starter.model, None)
    assert "\n" not in str(error.value) and repr(path) in str(error.value)


@pytest.mark.parametrize(
    ("train", "box_weight", "is_allowed"),
    [("heads", 1.0, False), ("last_blocks", 1.0, False), ("all", 0.0, False), ("all", 1.0, True)],
)
def test_the_rl_stage_needs_a_warm_up_unless_it_trains_everything(train, box_weight, is_allowed, starter, fresh):
    config = relo_config.starter("rl")
    config.rl.train, config.rl.box_weight = train, box_weight
    if is_allowed:
        assert initialise.initial_variables(config, starter.model, None) is fresh
    else:
        with pytest.raises(UserError, match="needs a warm-up to start from"):
            initialise.initial_variables(config, starter.model, None)


def test_tensors_of_others_are_left_out_where_the_config_names_them(starter, fresh, tmp_path, monkeypatch, capsys):
    pick = lambda model, key, without: {p: x for p, x in flatten_dict(fresh).items() if p not in without}
    monkeypatch.setattr(convert, "_initialise", pick)
    config = relo_config.starter("warmup")
    config.init_from = str(tmp_path / "fast_itpn.safetensors")
    safetensors_file.save(config.init_from, weights.imagenet(starter.model), {})
    with pytest.raises(UserError, match=r"leave them out with --config\.init_ignore='head\.\*'$"):
        initialise.initial_variables(config, starter.model, None)
    config.init_ignore = ("head.*",)
    ours = flatten_dict(initialise.initial_variables(config, starter.model, None)["params"], sep="/")
    assert not ours["encoder/fc_norm/bias"].any()  # of the file
    np.testing.assert_array_equal(ours["policy/out/bias"], fresh["params"]["policy"]["out"]["bias"])
    assert "fast_itpn.safetensors: pretrained Fast-iTPN, variant tiny" in capsys.readouterr().out
    config.init_from = "starter-tiny"
    with pytest.raises(UserError, match="but starter-tiny is a checkpoint of relo_jax, of which nothing is left out"):
        initialise.initial_variables(config, starter.model, None)
