"""Clips whose frames are split over devices: losses, parameters and tokens are those of whole clips."""

import functools
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax import config as config_lib
from relo_jax.model import temporal
from relo_jax.train import groups, mesh, rl, state
from relo_jax.train.feed import Feed
from tests.train import tiny

CLIPS, FRAMES, STEPS = 2, 8, 5
SIZES = dict(drop_path=0.1)


def config(stage, data):
    made = config_lib.paper(stage)
    made.batch_size, made.total_steps, made.model.variant = CLIPS, STEPS, "tiny"
    made.warmup.search_frames = made.rl.clip_length = FRAMES
    made.rl.normalize_advantage = True
    made.mesh.data = data
    return made


def meshed(data, frames):
    return mesh.make_mesh(config("rl", data), jax.devices()[: data * frames])


@functools.cache
def trained(data, frames):
    """Variables and metrics after five updates, and the text of the compiled program."""
    run = config("rl", data)
    where = mesh.make_mesh(run, jax.devices()[: data * frames])
    create = lambda variables: state.create_state(run, variables, jax.random.key(3))[0]
    with jax.set_mesh(where):
        placement = mesh.shardings(jax.eval_shape(create, tiny.variables(**SIZES)), where, "none")
        current = jax.jit(create, out_shardings=placement)(tiny.variables(**SIZES))
        batches = [mesh.place(tiny.batch(CLIPS, FRAMES, seed=number), where) for number in range(STEPS)]
        step = rl.make_step(tiny.model(**SIZES), run, state.optimizer(run)).lower(current, batches[0])
        step, history = step.compile(), []
        for batch in batches:
            current, metrics = step(current, batch)
            history.append(metrics)
    return jax.device_get(state.variables_of(current)), jax.device_get(history), step.as_text()


def test_updates_of_the_rl_stage_are_the_same_where_the_frames_of_clips_are_split():
    """Those of the warm-up are among the meshes of tests/train/test_mesh.py."""
    (split, ours, _), (whole, theirs, _) = trained(2, 4), trained(1, 1)
    for name in theirs[0]:
        values = ([row[name] for row in history] for history in (ours, theirs))
        rtol = 1e-5 if name in ("loss", "grad_norm") else 1e-4
        np.testing.assert_allclose(*values, rtol=rtol, atol=1e-5, err_msg=name)
    leaves = [jax.tree_util.tree_leaves_with_path(tree) for tree in (split, whole)]
    for (path, a), (_, b) in zip(*leaves, strict=True):
        name = jax.tree_util.keystr(path)
        # Biases without an effect are only rounding: see test_mesh.
        if ("['conv" in name and "['bias']" in name) or name.endswith("['policy']['out']['bias']"):
            continue
        tolerance, slack = (1e-3, 1e-4) if name.endswith("['mean']") else (1e-5, 1e-7)
        assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b) + slack, name


@pytest.mark.parametrize(("data", "frames"), [(1, 8), (2, 4)])
def test_a_clip_in_several_parts_has_the_tokens_of_its_neighbour(data, frames):
    rng = np.random.default_rng(0)
    current = rng.normal(size=(CLIPS, FRAMES, 2, 3)).astype(np.float32)
    carried = jnp.asarray(rng.normal(size=(CLIPS, 2, 3)), jnp.float32)
    first = np.array([True, False])
    weights = rng.normal(size=current.shape).astype(np.float32)
    loss = lambda current: jnp.sum(weights * temporal.previous_tokens(current, carried, first))
    both = lambda current: (temporal.previous_tokens(current, carried, first), jax.grad(loss)(current))
    expected = jax.jit(both)(current)
    where = meshed(data, frames)
    with jax.set_mesh(where):
        tokens, gradient = jax.jit(both)(jax.device_put(current, mesh.batch_sharding("search_images", where)))
    np.testing.assert_array_equal(tokens[:, 1:], current[:, :-1])
    np.testing.assert_array_equal(tokens[:, 0], np.stack([current[0, 0], carried[1]]))
    jax.tree.map(np.testing.assert_array_equal, (tokens, gradient), expected)


def test_devices_exchange_tokens_and_statistics_and_no_features():
    text = re.sub(r"/\*.*?\*/", "", trained(2, 4)[2])
    found = re.findall(r"= (.*?) (all-gather|all-to-all|collective-permute|all-reduce)(?:-start)?\(", text)
    count = lambda dims: int(np.prod([int(n) for n in dims.split(",") if n]))
    elements = lambda shape: [count(dims) for dims in re.findall(r"\[(.*?)\]", shape)]
    sizes = {kind: [elements(shape) for shape, other in found if other == kind] for _, kind in found}
    assert set(sizes) == {"collective-permute", "all-gather", "all-reduce"}
    one_frame = 2 * 32  # temporal tokens
    assert all(sum(size) == one_frame for size in sizes["collective-permute"])
    statistics = sorted(2 * 8 * width for width in (16, 8, 4, 2) for _ in range(2))  # mean and variance a device
    assert sorted(sum(size) for size in sizes["all-gather"]) == statistics
    heads = sum(x.size for name in ("policy", "value") for x in jax.tree.leaves(tiny.variables()["params"][name]))
    assert sum(map(sum, sizes["all-reduce"])) < heads + 400


@pytest.mark.parametrize(("group", "batch_norm"), [(1, "frame"), (2, "frame"), (2, "batch")])
def test_groups_are_normalised_by_themselves_where_their_frames_are_split(group, batch_norm):
    run = config("rl", 2)
    run.group_size, run.batch_norm = group, batch_norm
    features = np.random.default_rng(7).normal(size=(CLIPS, FRAMES, 4, 32)).astype(np.float32)
    policy = lambda module, features: module.policy_logits(features, True)
    variables = tiny.variables()
    apply = lambda x: groups.apply_heads(tiny.model(), run, variables, policy, x, ["policy"])
    expected = jax.jit(apply)(features)
    where = meshed(2, 4)
    with jax.set_mesh(where):
        ours = jax.jit(apply)(jax.device_put(features, mesh.batch_sharding("search_images", where)))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), ours, expected)


def test_a_feed_splits_clips_and_frames():
    clips = tiny.batch(CLIPS, FRAMES)
    log = {name: np.zeros(CLIPS, np.int32) for name in ("index", "dataset", "failed")}
    log["note"] = np.zeros((CLIPS, 512), np.uint8)
    source = SimpleNamespace(fingerprint=lambda: "", parts=[SimpleNamespace(name="clips")])
    batches = SimpleNamespace(source=source, batch_size=CLIPS, starting_at=lambda *_: iter([clips | log]))
    where = meshed(2, 4)
    arrays = next(Feed(batches, where)).arrays
    jax.tree.map(np.testing.assert_array_equal, arrays, clips)
    assert {x.addressable_shards[0].data.shape[:2] for n, x in arrays.items() if "search" in n} == {(1, 2)}
    assert {len(x.addressable_shards[0].data) for n, x in arrays.items() if "template" in n} == {1}
