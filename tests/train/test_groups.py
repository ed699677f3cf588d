"""Heads in groups of clips: twenty updates are the release's, and so are statistics of single frames."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax import config as config_lib
from relo_jax.checkpoints.pytorch.parameter_map import abstract_variables, sources
from relo_jax.train import rl, state
from relo_jax.train.features import ClipFeatures
from relo_jax.train.groups import apply_heads
from tests.train import tiny

MODEL = tiny.model(search_size=64)  # 4 x 4 cells, width 32 and heads of width 16, as in the trajectory
INPUTS = ("features", "size", "offset", "box_xywh", "action")


def heads_of(data, when):
    """Variables with the release's policy and value head; the other parts are zeros."""
    variables = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract_variables(MODEL))
    for source in sources(MODEL):
        if source.part in ("policy", "value"):
            *path, leaf = source.path
            functools.reduce(dict.__getitem__, path, variables)[leaf] = source.assemble(
                [data[f"{when}/{source.names[0]}"]]
            )
    return variables


@functools.cache
def release_step(clips):
    """The release's recipe, and an update with given features and actions."""
    run = config_lib.release("rl")
    run.batch_size, run.total_steps = clips, 20
    run.optimizer.learning_rate, run.optimizer.drop_at = 1e-3, 16 / 20
    config_lib.validate(run)

    def loss(params, current, batch, key):
        return rl.heads_loss(MODEL, run, params, current.batch_stats, ClipFeatures(**batch), key, current.step)

    return run, jax.jit(state.make_update(run, state.optimizer(run), loss))


def train(data):
    """Variables and metrics after the updates of a trajectory."""
    run, step = release_step(data["action"].shape[1])
    current, _ = state.create_state(run, jax.tree.map(jnp.asarray, heads_of(data, "first")), jax.random.key(0))
    history = []
    for number in range(len(data["action"])):
        batch = {name: jnp.asarray(data[name][number]) for name in INPUTS}
        current, metrics = step(current, batch | {"features": batch["features"].astype(jnp.float32)})
        history.append(metrics)
    return jax.device_get(state.variables_of(current)), jax.device_get(history)


@pytest.mark.parametrize("count", [1, 2])
def test_twenty_updates_in_one_and_two_groups_are_the_releases(fixtures, count):
    prefix = f"groups{count}_"
    with np.load(fixtures / "rl_trajectory.npz") as file:
        data = {name.removeprefix(prefix): file[name] for name in file if name.startswith(prefix)}
    after, history = train(data)
    assert len(history) == 20
    # The release's loss is that of a GPU, ours the mean of them all.
    np.testing.assert_allclose([row["loss"] for row in history], data["loss"].mean(1), atol=1e-6)
    np.testing.assert_allclose([row["grad_norm"] for row in history], data["grad_norm"], rtol=1e-5)
    leaves = (jax.tree_util.tree_leaves_with_path(tree) for tree in (after, heads_of(data, "last")))
    for (path, ours), (_, theirs) in zip(*leaves, strict=True):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        # A bias before a batch norm has no effect, nor has one on all logits: their gradients are rounding, which Adam
        # makes large. The running means contain those biases.
        rounding = "/conv" in name and name.endswith("/bias") or name.endswith("policy/out/bias")
        bound = 8e-3 if rounding else 1e-3 if name.endswith("/mean") else 1e-5
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=bound, err_msg=name)


@pytest.mark.parametrize("batch_norm", ["frame", "batch"])
def test_a_group_is_normalised_by_itself_and_the_first_moves_the_running_statistics(batch_norm):
    run = config_lib.base()
    run.group_size, run.batch_norm = 2, batch_norm
    rng = np.random.default_rng(7)
    variables = jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(x.dtype), abstract_variables(MODEL))
    features = rng.normal(size=(4, 3, 16, 32)).astype(np.float32)
    center = lambda module, features: module.center(features, True)
    of_all = jax.jit(lambda variables, x: apply_heads(MODEL, run, variables, center, x, ["regression/center"]))
    ours, after = of_all(variables, features)

    one = jax.jit(lambda variables, x: MODEL.apply(variables, x, True, method="center", mutable=["batch_stats"]))
    statistics = variables["batch_stats"]
    for clips in (slice(0, 2), slice(2, 4)):
        for frames in [0, 1, 2] if batch_norm == "frame" else [slice(None)]:
            theirs, moved = one(variables | {"batch_stats": statistics}, features[clips, frames])
            np.testing.assert_allclose(ours[clips, frames].reshape(theirs.shape), theirs, atol=1e-5)
            statistics = moved["batch_stats"] if clips.start == 0 else statistics
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), after, statistics)
    assert np.abs(after["regression"]["center"]["bn0"]["mean"]).max() > 1e-3
    untouched = lambda stats: (stats["policy"], stats["regression"]["size"])
    jax.tree.map(np.testing.assert_array_equal, untouched(after), untouched(variables["batch_stats"]))
