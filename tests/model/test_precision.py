"""Kernels that are rounded once: the same numbers as rounded at every use, in half the memory."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints.pytorch.parameter_map import abstract_variables
from relo_jax.eval.lockstep import Lockstep
from relo_jax.integrations import vot
from relo_jax.model import RELO
from relo_jax.model.inference import FOLDED
from relo_jax.model.precision import cast_kernels
from relo_jax.tracking import programs, tracker
from relo_jax.tracking.confidence import EVIDENCE
from relo_jax.tracking.step import step


@pytest.fixture(scope="module")
def network():
    """A small model that computes in bfloat16, with weights of which next to none is a bfloat16 number."""
    fields = dict(width=32, depth=2, heads=2, head_width=16, search_size=64, template_size=32)
    model, rng = RELO.from_variant("tiny", dtype="bfloat16", **fields), np.random.default_rng(0)

    def draw(leaf):
        around = 0.0 if leaf.ndim > 1 else 1.0  # of vectors some are scales
        return np.float32(rng.normal(around, 0.1 if leaf.ndim == 1 else np.prod(leaf.shape[:-1]) ** -0.5, leaf.shape))

    return model, jax.tree.map(draw, abstract_variables(model))


def size(variables):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(variables))


def test_a_step_with_rounded_kernels_gives_the_same_numbers(network):
    """Tokens, box, response, score, and the evidence of a calibrated score with the value."""
    model, variables = network
    held = cast_kernels(model, variables)
    rng = np.random.default_rng(1)
    crops = rng.integers(0, 256, (2, model.config.search_size, model.config.search_size, 3), np.uint8)
    view = crops[:, :32, :32], np.float32([[0.25, 0.25, 0.5, 0.5]] * 2), np.ones((2, 4)), np.ones((2, 3), np.int32)
    weights = {f"score_{name}": np.float32(1) for name in ("bias", *EVIDENCE)}
    jitted = jax.jit(step, static_argnames="model")
    outputs = []
    for values in (variables, held):
        target = programs.begin(model, values, *view, window_power=1.0)
        outputs.append(jitted(model, {**values, "score": weights}, target.state, crops))
    jax.tree.map(np.testing.assert_array_equal, *outputs)
    assert outputs[0][1].evidence.shape == (2, 4) and np.ptp(outputs[0][1].box_cxcywh_norm, axis=0).all()


def test_kernels_of_layers_in_float32_are_not_rounded(network):
    model, variables = network
    before, after = (flatten_dict(v["params"], sep="/") for v in (variables, cast_kernels(model, variables)))
    assert before.keys() == after.keys()
    whole = {name for name, x in after.items() if x.dtype == jnp.float32}
    assert {name for name in whole if "kernel" in name} == {
        "policy/out/kernel", "value/out/kernel",
        *(f"regression/{name}/out/kernel" for name in ("center", "offset", "size")),
    }  # fmt: skip
    assert all(after[name] is before[name] for name in whole)
    assert all(name.endswith("/kernel") and after[name].dtype == jnp.bfloat16 for name in after.keys() - whole)


@pytest.mark.parametrize("variant", ["t256", "b256", "l256"])
def test_a_released_model_takes_half_the_memory(variant):
    model = RELO.from_variant(variant, dtype="bfloat16")
    whole = abstract_variables(model)
    half = jax.eval_shape(lambda variables: cast_kernels(model, variables), whole)
    bytes_of = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
    assert 0.5 < bytes_of(half) / bytes_of(whole) < 0.51


def test_every_tracker_holds_rounded_kernels(network, monkeypatch):
    model, variables = network
    assert size(cast_kernels(model, variables)) < 0.55 * size(variables)
    for made in (tracker.Tracker(model, variables), Lockstep(model, variables, batch=1)):
        held = made._engine.variables[FOLDED]
        assert {leaf.dtype for leaf in jax.tree.leaves((held.stem, held.blocks))} == {jnp.dtype(jnp.bfloat16)}
    loaded = checkpoint.Loaded(model, variables, {})
    monkeypatch.setattr(checkpoint, "load_tracker", lambda path, dtype: loaded)
    objects = vot.Objects()
    objects.step(np.zeros((99, 99, 3), np.uint8), [(10, 10, 20, 20)] * 2)
    kernels = [made._engine.variables[FOLDED].blocks[0].project.kernel for made in objects._trackers]
    assert len(kernels) == 2 and len({kernel.unsafe_buffer_pointer() for kernel in kernels}) == 1


def test_in_float32_nothing_is_copied(network):
    model, variables = network
    assert cast_kernels(RELO(dataclasses.replace(model.config, dtype="float32")), variables) is variables
    held = cast_kernels(model, variables)
    assert cast_kernels(model, held) is held
