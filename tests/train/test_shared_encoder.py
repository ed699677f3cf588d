"""Runs that train as one program: each ends as if it had trained alone, and what cannot be joined is not."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from relo_jax import config as config_lib
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import model_card, run_directory
from relo_jax.errors import UserError
from relo_jax.model import RELO, init_variables
from relo_jax.train import loop, shared_encoder
from relo_jax.train.shared_encoder import shared
from relo_jax.train.state import TrainState
from tests.train.runs import caching_in, everything, make_config, one_device, rows

MAP = {"data__epoch": 2_500, "warmup__search_frames": 2, "warmup__train": "center", "warmup__center_focal_weight": 1.0}


def of_seed(seed, stage="rl", init_from="start", **fields):
    return make_config(stage, seed=seed, data__seed=seed, init_from=str(init_from), **fields)


def assert_close(one, other):
    """Equal up to rounding. Heads have biases that change nothing but a BatchNorm's mean, if that: their gradients are
    rounding, by which Adam divides."""
    one, other = (flatten_dict(jax.device_get(tree), sep="/") for tree in (one, other))
    assert one.keys() == other.keys()
    for name, value in one.items():
        atol = 5e-4 if name.endswith(("bias", "mean")) and "encoder" not in name else 1e-5
        np.testing.assert_allclose(value, other[name], rtol=1e-5, atol=atol, err_msg=name)


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


def metrics_of(workdir):
    """All logged numbers, by split, step and name."""
    of_split = lambda split: {str(row.pop("step")): row | {"split": 0.0} for row in rows(workdir, split)}
    return {split: of_split(split) for split in ("train", "eval")}


def variables_of_last(workdir):
    """Variables of the last checkpoint, and its position in the data."""
    arrays, position = everything(workdir)
    return {name.replace("']['", "/").strip("[']"): x for name, x in arrays.items() if "variables" in name}, position


def test_runs_that_are_stopped_together_continue_and_leave_what_each_leaves_alone(start, tmp_path, monkeypatch, capfd):
    fields = dict(init_from=start, total_steps=3, log_every=1, eval_every=2, checkpoint_every=2, keep_checkpoints=1)
    configs = {
        "policy": of_seed(1, **fields),
        "bonus": of_seed(1, rl__entropy_weight=0.5, **fields),
        "heatmap": of_seed(0, "warmup", **fields, **MAP),
    }
    trainings = [(config, tmp_path / "joined" / name) for name, config in configs.items()]
    with monkeypatch.context() as patch:
        stop = lambda training, pending: training.stop.request() if pending[-1].step == 2 else None
        patch.setattr(loop, "wait_for_old_steps", stop)
        with pytest.raises(UserError, match="stopped before the end; the same command continues the run in .*policy"):
            loop.train_to_end(*trainings)
    assert [run_directory.steps_of(where) for _, where in trainings] == [[2]] * 3
    assert all(rows(where, "eval") == [] for _, where in trainings)
    loop.train_to_end(*trainings)
    lines = capfd.readouterr().err
    assert "bonus, step 3, held-out: greedy_auc" in lines and "heatmap, step 3, held-out: argmax_auc" in lines
    for name in ("bonus", "heatmap"):
        joined, alone = tmp_path / "joined" / name, tmp_path / name
        loop.train_and_evaluate(configs[name], alone)
        assert [row["first_step"] for row in model_card.read(joined)["sessions"]] == [0, 2]
        assert run_directory.read_config(joined) == run_directory.read_config(alone)
        assert run_directory.steps_of(joined) == [3]
        assert_close(metrics_of(joined), metrics_of(alone))
        (variables, position), (expected, expected_position) = (variables_of_last(where) for where in (joined, alone))
        assert position == expected_position
        assert_close(variables, expected)
    assert metrics_of(tmp_path / "joined/policy")["train"] != metrics_of(tmp_path / "joined/bonus")["train"]


def test_other_steps_and_another_encoder_are_refused(tmp_path):
    encoder = {"encoder": {"scale": np.ones(2)}}
    state = TrainState(np.int32(0), {"policy": {"bias": np.zeros(1)}}, encoder, {}, (), None, np.bool_(False))
    check = lambda other: shared_encoder.check([tmp_path / "a", tmp_path / "b"], [state, other])
    check(state.replace(params={"policy": {"bias": np.ones(1)}}))
    with pytest.raises(UserError, match="a begins after step 0, .*b after step 1: train them one by one"):
        check(state.replace(step=np.int32(1)))
    with pytest.raises(UserError, match="b has another encoder than .*a: train them one by one"):
        check(state.replace(frozen_params={"encoder": {"scale": np.array([1, 2])}}))


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


def test_the_fields_in_which_runs_may_differ_exist():
    assert shared_encoder._OF_HEADS <= set(config_lib.flatten(config_lib.base()))


def test_drop_path_whose_key_differs_between_the_stages_keeps_them_apart():
    configs = [of_seed(0, stage, rl__drop_path=True, **MAP) for stage in ("rl", "warmup")]
    assert shared(configs[0]) != shared(configs[1])
