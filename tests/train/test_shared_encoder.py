"""Runs that train as one program: each ends as if it had trained alone, and what cannot be joined is not."""

import os
import signal

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import model_card, run_directory
from relo_jax.errors import UserError
from relo_jax.model import RELO, init_variables
from relo_jax.train import loop, shared_encoder
from relo_jax.train.shared_encoder import Member, seeds, shared
from relo_jax.train.state import create_state, optimizer, variables_of
from tests.train import tiny
from tests.train.runs import caching_in, everything, make_config, one_device, rows

SIZES = dict(width=16, depth=1, head_width=16)
MAP = {"data__epoch": 2_500, "warmup__search_frames": 2, "warmup__train": "center", "warmup__center_focal_weight": 1.0}


def of_seed(seed, stage="rl", init_from="start", **fields):
    return make_config(stage, seed=seed, data__seed=seed, init_from=str(init_from), **fields)


def assert_close(one, other):
    """Equal up to rounding. Heads have biases that change nothing (before a BatchNorm, and of all logits): their
    gradients are rounding, by which Adam divides."""
    one, other = (flatten_dict(jax.device_get(tree), sep="/") for tree in (one, other))
    assert one.keys() == other.keys()
    for name, value in one.items():
        atol = 5e-4 if name.endswith("bias") and "encoder" not in name else 1e-6
        np.testing.assert_allclose(value, other[name], rtol=1e-5, atol=atol, err_msg=name)


def first_state(member):
    variables = jax.tree.map(jax.numpy.array, tiny.variables(**SIZES))
    return create_state(member.config, variables, jax.random.key(7 + member.config.seed))[0]


def test_an_update_and_an_evaluation_of_a_policy_and_a_heat_map_are_those_of_each_alone():
    members = [Member(config, tiny.model(**SIZES)) for config in (of_seed(1), of_seed(0, "warmup", **MAP))]
    clips = {(seed, seed): tiny.batch(8, 2, seed=seed) for seed in (0, 1)}
    states, metrics = shared_encoder.make_step(members)([first_state(member) for member in members], clips)
    variables, held_out = [variables_of(state) for state in states], tiny.batch(8, 2, seed=2)
    evaluated = shared_encoder.make_eval(members)(variables, held_out)
    for (config, model), *joined in zip(members, states, metrics, evaluated, strict=True):
        stage, state = shared_encoder.STAGES[config.stage], first_state(Member(config, model))
        state, of_step = stage.make_step(model, config, optimizer(config))(state, clips[seeds(config)])
        assert_close(variables_of(joined[0]), variables_of(state))
        assert_close(joined[1], of_step)
        assert_close(joined[2], stage.make_eval(model, config)(variables_of(state), held_out))


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Trains on one device; a checkpoint to start from."""
    monkeypatch.setattr(loop, "make_mesh", one_device)
    model = RELO.from_config(make_config().model)
    rng, like = np.random.default_rng(0), jax.eval_shape(lambda: init_variables(model, jax.random.key(0)))
    variables = jax.tree.map(lambda leaf: rng.uniform(0.01, 0.1, leaf.shape).astype(np.float32), like)
    checkpoint.save_variables(tmp_path / "start", model, variables)
    with caching_in(tmp_path / "cache"):
        yield tmp_path / "start"


def test_runs_that_train_together_and_are_stopped_continue_and_leave_what_each_leaves_alone(
    start, tmp_path, monkeypatch, capfd
):
    fields = dict(init_from=start, total_steps=3, log_every=1, eval_every=2, checkpoint_every=2, keep_checkpoints=1)
    configs = {"a": of_seed(0, **fields), "b": of_seed(0, rl__entropy_weight=0.5, **fields)}
    trainings = [(config, tmp_path / "joined" / name) for name, config in configs.items()]
    with monkeypatch.context() as patch:
        stop = lambda training, pending: os.kill(os.getpid(), signal.SIGTERM) if pending[-1].step == 2 else None
        patch.setattr(loop, "wait_for_old_steps", stop)
        with pytest.raises(UserError, match="stopped before the end; the same command continues the run in .*joined/a"):
            loop.train_to_end(*trainings)
    assert [run_directory.steps_of(where) for _, where in trainings] == [[2], [2]]
    assert rows(tmp_path / "joined/b", "eval") == []
    loop.train_to_end(*trainings)
    assert "b, step 3, held-out: greedy_auc" in capfd.readouterr().err
    loop.train_and_evaluate(configs["b"], tmp_path / "b")
    joined, alone = tmp_path / "joined/b", tmp_path / "b"
    assert [row["first_step"] for row in model_card.read(joined)["sessions"]] == [0, 2]
    assert run_directory.read_config(joined) == run_directory.read_config(alone)
    for split in ("train", "eval"):
        for one, other in zip(rows(joined, split), rows(alone, split), strict=True):
            numbers = {name for name in one if name != "split"}
            assert_close({name: one[name] for name in numbers}, {name: other[name] for name in numbers})
    (arrays, position), (expected, expected_position) = everything(joined), everything(alone)
    assert position == expected_position and run_directory.steps_of(joined) == [3]
    variables = {name for name in expected if name.startswith("['variables']")}
    pick = lambda found: {name.replace("']['", "/").removesuffix("']"): found[name] for name in variables}
    assert_close(pick(arrays), pick(expected))
    losses = [[row["loss"] for row in rows(tmp_path / "joined" / name)] for name in configs]
    assert losses[0] != losses[1]


def test_other_steps_and_another_encoder_are_refused(tmp_path):
    state = first_state(Member(of_seed(0), None))
    shared_encoder.check([tmp_path / "a", tmp_path / "b"], [state, state])
    later = state.replace(step=state.step + 1)
    with pytest.raises(UserError, match="a begins after step 0, .*b after step 1: train them one by one"):
        shared_encoder.check([tmp_path / "a", tmp_path / "b"], [state, later])
    other = state.replace(frozen_params=jax.tree.map(lambda x: x + 1, state.frozen_params))
    with pytest.raises(UserError, match="b has another encoder than .*a: train them one by one"):
        shared_encoder.check([tmp_path / "a", tmp_path / "b"], [state, other])


@pytest.mark.parametrize(
    ("fields", "joined"),
    [
        ({"seed": 1}, True),
        ({"stage": "warmup", **MAP}, True),
        ({"rl__estimator": "expected", "optimizer__learning_rate": 0.1, "init_fresh": ("regression/center",)}, True),
        ({"stage": "warmup", **MAP, "warmup__search_frames": 4}, False),
        ({"init_from": "elsewhere"}, False),
        ({"data__max_gap": 12}, False),
        ({"batch_size": 16}, False),
        ({"total_steps": 13}, False),
        ({"model__propagation": "none"}, False),
        ({"rl__path": "frame"}, False),
        ({"init_fresh": ("encoder",)}, None),
        ({"rl__train": "all"}, None),
        ({"rl__rollout": "closed_loop"}, None),
        ({"stage": "warmup"}, None),
    ],
    ids=str,
)
def test_only_runs_whose_frozen_encoder_sees_the_same_train_together(fields, joined):
    found = shared(of_seed(**{"seed": 0, **fields}))
    assert found is None if joined is None else (found == shared(of_seed(0))) == joined


def test_drop_path_whose_key_differs_between_the_stages_keeps_them_apart():
    configs = [of_seed(0, stage, rl__drop_path=True, **MAP) for stage in ("rl", "warmup")]
    assert shared(configs[0]) != shared(configs[1])
