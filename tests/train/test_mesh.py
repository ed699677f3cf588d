"""The mesh of a run does not change it: losses and parameters are the same, up to float rounding."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from relo_jax import config as config_lib
from relo_jax.errors import UserError
from relo_jax.model import RELO
from relo_jax.train import checkpoints, initialise, mesh, rl, state, warmup
from tests.train import tiny

CLIPS, FRAMES, STEPS = 8, 2, 20
STAGES = {"warmup": warmup, "rl": rl}
# Wide enough for arrays to be split. The masks of drop path must not depend on the devices either.
SIZES = dict(drop_path=0.1)


def batch(number):
    return tiny.batch(CLIPS, FRAMES, seed=number)


def config(stage, **fields):
    """A config of a run of this file, with `__` for the dots of a field."""
    made = config_lib.paper(stage)
    made.batch_size, made.total_steps, made.model.variant = CLIPS, STEPS, "tiny"
    made.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return made


def on(run, devices):
    return mesh.make_mesh(run, jax.devices()[:devices])


def begin(run, devices):
    """The first state of a run on its mesh."""
    where = on(run, devices)
    create = lambda variables: state.create_state(run, variables, jax.random.key(3))[0]
    shardings = mesh.shardings(jax.eval_shape(create, tiny.variables(**SIZES)), where, run.mesh.shard_params)
    with jax.set_mesh(where):
        return jax.jit(create, out_shardings=shardings)(tiny.variables(**SIZES)), where


def update(current, where, run, batches):
    """State and metrics, on the host, after one step a batch."""
    history = []
    with jax.set_mesh(where):
        step = STAGES[run.stage].make_step(tiny.model(**SIZES), run, state.optimizer(run))
        for one in batches:
            current, metrics = step(current, mesh.place(one, where))
            history.append(metrics)
    return current, jax.device_get(history)


@functools.cache
def trained(stage, devices, **fields):
    """State on its devices and metrics after twenty updates on as many batches."""
    run = config(stage, **fields)
    return update(*begin(run, devices), run, map(batch, range(STEPS)))


def assert_same_run(one, other, rtol=1e-5):
    """Losses and gradient norms of all steps, and each array of the model after them, are the same."""
    for name in ("loss", "grad_norm"):
        values = ([row[name] for row in run[1]] for run in (one, other))
        np.testing.assert_allclose(*values, rtol=rtol, err_msg=name)
    leaves = [jax.tree_util.tree_leaves_with_path(jax.device_get(state.variables_of(run[0]))) for run in (one, other)]
    for (path, a), (_, b) in zip(*leaves, strict=True):
        name = jax.tree_util.keystr(path)
        # A bias before a batch norm has no effect, nor has one on all logits: their gradients are rounding, which Adam
        # turns into steps. The running means contain them.
        if ("['conv" in name and "['bias']" in name) or name.endswith("['policy']['out']['bias']"):
            continue
        # A running mean moves with such a bias, by far less than twenty steps of the learning rate.
        tolerance, slack = (1e-3, 1e-4) if name.endswith("['mean']") else (rtol, 1e-7)
        assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(a) + slack, name


FSDP = {"mesh__shard_params": "fsdp", "mesh__frames": 2}
GROUPS = {"group_size": 4, "batch_norm": "frame"}  # two groups on four or eight devices
RELEASE = {"warmup__center_focal_weight": 1.0, "warmup__decode_at": "argmax"} | GROUPS
RL = {"rl__normalize_advantage": True}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Splits small arrays too."""
    monkeypatch.setattr(mesh, "SMALLEST", 512)


@pytest.mark.parametrize(
    ("stage", "fields", "devices", "spread"),
    [
        ("warmup", RELEASE, 8, FSDP),
        ("rl", RL, 8, {}),
        ("rl", RL, 2, {"mesh__shard_params": "fsdp", "rl__path": "frame", "accumulate_steps": 4}),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_twenty_steps_are_the_same_on_every_mesh(stage, fields, devices, spread):
    assert_same_run(trained(stage, devices, **fields, **spread), trained(stage, 1, **fields))


def test_fsdp_splits_every_large_array_over_the_devices():
    current, _ = trained("warmup", 8, **RELEASE, **FSDP)
    large = [x for x in jax.tree.leaves((current.params, current.opt_state)) if x.size >= mesh.SMALLEST]
    assert len(large) > 20
    for x in large:
        assert x.addressable_shards[0].data.size <= x.size / 4  # data x frames is 4 x 2; some divide only by the 4
    assert sum(x.addressable_shards[0].data.size * 8 == x.size for x in large) > len(large) / 2
    replicated, _ = trained("rl", 8, **RL)
    assert all(x.sharding.is_fully_replicated for x in jax.tree.leaves(replicated))


def test_a_checkpoint_continues_on_another_mesh(tmp_path):
    values = {}
    for devices, fields in ((8, FSDP), (2, {}), (1, {}), (8, FSDP)):
        run = config("rl", rl__train="last_blocks", **fields)  # trains parts of modules
        with checkpoints.opened(tmp_path, config_lib.to_dict(run), 1) as manager:
            where = on(run, devices)
            with jax.set_mesh(where):
                if not values:  # `first_state` would need a warm-up
                    current, _ = begin(run, devices)
                    current = current.replace(step=current.step + 7)
                    position = {"next_index": 7}
                else:
                    current, position = initialise.first_state(run, tiny.model(**SIZES), where, manager)
            wanted = mesh.shardings(current, where, run.mesh.shard_params)
            jax.tree.map(lambda x, sharding: x.sharding.is_equivalent_to(sharding, x.ndim) or 1 / 0, current, wanted)
            restored = jax.device_get((current.step, state.variables_of(current), current.opt_state, position))
            values = values or restored
            jax.tree.map(np.testing.assert_array_equal, values, restored)
            checkpoints.save(manager, tmp_path, 7 if devices == 8 else 7 + devices, current, position)


def test_the_mean_gradient_of_parts_equals_that_of_the_batch():
    def loss(params, current, clips, key):
        error = clips["x"] @ params["w"] - clips["y"]
        return jnp.square(error).mean(), ({"mean": 0.9 * current["mean"] + 0.1 * error.mean()}, {"error": error.mean()})

    assert_parts_equal_the_batch(loss, 4)


def test_parts_of_whole_groups_equal_the_batch_whatever_a_group_normalises():
    def loss(params, current, clips, key):
        error = (clips["x"] @ params["w"] - clips["y"]).reshape(-1, 2)
        normalized = error / jnp.std(error, axis=1, keepdims=True)
        mean = 0.9 * current["mean"] + 0.1 * error[0].mean()  # of the first group
        return (normalized**4).mean(), ({"mean": mean}, {"error": normalized.mean()})

    assert_parts_equal_the_batch(loss, 2, group=2)


def assert_parts_equal_the_batch(loss, parts, **options):
    rng = np.random.default_rng(0)
    clips = {"x": rng.normal(size=(8, 3)), "y": rng.normal(size=(8,))}
    params, current, key = {"w": rng.normal(size=3)}, {"mean": 0.5}, jax.random.key(0)
    grad_fn = jax.value_and_grad(loss, has_aux=True)
    whole, in_parts = (state.averaged(grad_fn, count, lambda tree: tree, **options) for count in (1, parts))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, whole(params, current, clips, key), in_parts(params, current, clips, key))


@pytest.mark.parametrize(("stage", "train"), [("warmup", "heads"), ("rl", "heads"), ("rl", "all")])
def test_the_encoder_gets_one_part_of_the_batch_at_a_time(stage, train, monkeypatch):
    seen, encode_clip = [], RELO.encode_clip

    def spy(self, templates, search, *options):
        seen.append(search.shape[0])
        return encode_clip(self, templates, search, *options)

    run = config(stage, accumulate_steps=4, rl__train=train)
    current, _ = begin(run, 1)
    monkeypatch.setattr(RELO, "encode_clip", spy)
    STAGES[stage].make_step(tiny.model(**SIZES), run, state.optimizer(run)).lower(current, batch(0))
    assert set(seen) == {CLIPS // 4}


def test_joined_parts_are_the_batch():
    whole = batch(0)
    parts = mesh.split_batch(whole, 4)
    assert all(x.shape[:2] == (4, 2) for x in jax.tree.leaves(parts))
    jax.tree.map(np.testing.assert_array_equal, whole, mesh.join_batch(parts))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 6}, "batch_size=6 does not divide over 8 devices: give a multiple of 4"),
        ({"batch_size": 6, "model__propagation": "deep_to_shallow"}, "over 8 devices: give a multiple of 8"),
        ({"accumulate_steps": 3}, "batch_size=8 does not divide over 8 devices times accumulate_steps=3"),
        ({"mesh__frames": 3}, "mesh.data=-1 times config.mesh.frames=3 is not 8"),
        ({"mesh__data": 3}, "mesh.data=3 times config.mesh.frames=-1 is not 8"),
        ({"mesh__data": 16}, "mesh.data=16 times config.mesh.frames=-1 is not 8"),
        ({"mesh__data": 4, "mesh__frames": 4}, "mesh.data=4 times config.mesh.frames=4 is not 8"),
        ({"mesh__data": 2}, "mesh.frames=4 does not divide config.warmup.search_frames=2.*give 1 or 2"),
        ({"stage": "rl", "mesh__frames": 2, "rl__path": "frame"}, "frames=2 splits.*rl.path=frame.*: set it to 1"),
        ({"stage": "rl", "mesh__frames": 2, "rl__rollout": "closed_loop"}, "frames=2 splits.*closed_loop.*set it to 1"),
    ],
)
def test_an_impossible_mesh_is_refused(fields, message):
    with pytest.raises(UserError, match=message) as error:
        on(config(**{"stage": "warmup"} | fields), 8)
    assert "\n" not in str(error.value)


def test_the_mesh_has_the_shape_of_the_config():
    shape = lambda devices=8, **fields: tuple(on(config("rl", **fields), devices).shape.values())
    assert shape() == shape(mesh__data=8) == shape(mesh__frames=1) == (8, 1)
    assert shape(mesh__frames=2) == shape(mesh__data=4) == (4, 2)
    assert shape(mesh__data=1) == (1, 8)


def test_devices_that_clips_leave_share_the_frames_of_clips():
    shape = lambda clips, **fields: tuple(on(config("rl", batch_size=clips, **fields), 8).shape.values())
    assert [shape(clips) for clips in (16, 4, 2, 6, 1)] == [(8, 1), (4, 2), (2, 4), (2, 4), (1, 8)]
    assert shape(8, accumulate_steps=4) == (2, 4)
    assert shape(8, rl__path="frame") == shape(8, rl__rollout="closed_loop") == (8, 1)
    assert shape(4, rl__path="frame", rl__train="all") == (4, 2)  # an encoder that learns takes the clip path


def hosts(count, of_each):
    """Devices of several hosts, as far as a mesh looks at them; every other one is on the first half of the hosts."""
    made = [SimpleNamespace(process_index=host, id=host * of_each + k) for host in range(count) for k in range(of_each)]
    return made[::2] + made[1::2]


def test_a_host_reads_the_clips_of_its_devices(monkeypatch):
    monkeypatch.setattr(mesh, "Mesh", lambda devices, *_, **__: SimpleNamespace(devices=devices))
    monkeypatch.setattr(jax, "process_index", lambda: 3)
    of_a_pod = mesh.make_mesh(config("rl", batch_size=16), hosts(32, 4))  # 16 clips of 8 frames on 128 devices
    assert of_a_pod.devices.shape == (16, 8)
    assert mesh.rows_of_host(of_a_pod, 16) == [1]  # with host 2, which has the other half of its frames
    assert mesh.rows_of_host(mesh.make_mesh(config("rl", batch_size=8), hosts(4, 4)), 8) == [6, 7]
    everything = SimpleNamespace(devices=np.array(hosts(4, 2)).reshape(8, 1))  # in the order of a network
    assert mesh.rows_of_host(everything, 16) == [6, 7, 14, 15]


def test_only_large_arrays_are_split_along_their_largest_axes():
    run = config("warmup", mesh__frames=2)
    where, by = on(run, 8), "fsdp"  # 4 x 2
    assert mesh.spec((6, 32, 96), where, by) == PartitionSpec(None, "frames", "data")
    assert mesh.spec((5, 7, 64), where, by) == PartitionSpec(None, None, "data")
    assert mesh.spec((6, 333), where, by) == PartitionSpec("frames", None)
    assert mesh.spec((511,), where, by) == PartitionSpec(None)
    assert mesh.spec((6, 32, 96), where, "none") == PartitionSpec(None, None, None)
    assert mesh.spec((), where, by) == PartitionSpec()


def test_constrain_places_every_array_by_its_spec():
    run = config("warmup", **FSDP)
    where = on(run, 8)
    with jax.set_mesh(where):
        made = jax.jit(lambda x: mesh.constrain({"large": x * 2, "small": x[0, 0]}, "fsdp"))(np.ones((32, 96)))
        assert made["large"].sharding.spec == PartitionSpec("frames", "data")
        assert made["small"].sharding.is_fully_replicated
    assert mesh.constrain(np.ones((32, 96)), "fsdp").shape == (32, 96)  # without a mesh it does nothing
