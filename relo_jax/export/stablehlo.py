"""The graphs of an exported folder as StableHLO, for those who stay in XLA: `jax.export`, with any batch.

The network is that of `model/inference.py`, on folded variables, which are constants of the program. It is lowered for
all of PLATFORMS, and runs where JAX does, without relo_jax:

    step = jax.export.deserialize(bytearray(open("step.stablehlo", "rb").read()))
    outputs = step.call({"search": ..., "templates": ..., "first": ..., "tokens": ..., "reference": ...})
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.export.folder import entry
from relo_jax.export.parity import Run
from relo_jax.export.source import Source
from relo_jax.model import RELO
from relo_jax.model.folding import fold
from relo_jax.model.inference import FOLDED, Network
from relo_jax.tracking import confidence
from relo_jax.tracking.step import ModelState, hann_window, policy_of, step

PRECISIONS = ("float32", "bfloat16")
SUFFIX = ".stablehlo"
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
Arrays = Mapping[str, jax.Array]


def write_template(source: Source, path: Path) -> dict[str, Any]:
    """Writes the program of a template, float32. Returns its entry in tracker.json."""
    config = source.config
    network = Network(config, fold(config, source.loaded.variables))

    def template(inputs: Arrays) -> Arrays:
        return {"template": network.encode_templates(inputs["image"][:, None], inputs["box"][:, None])}

    side = config.template_size
    return _save(template, {"image": (jnp.uint8, ("b", side, side, 3)), "box": (jnp.float32, ("b", 4))}, path)


def write_step(source: Source, precision: str, batch: None, path: Path) -> dict[str, Any]:
    """Writes the program of a step in one of PRECISIONS. Returns its entry in tracker.json."""
    model = RELO(dataclasses.replace(source.config, dtype=precision))
    config = model.config
    folded = fold(config, source.loaded.variables)
    variables = confidence.with_weights({FOLDED: folded}, source.options)
    window = hann_window(config.grid, source.options["window_power"])

    def one_step(inputs: Arrays) -> Arrays:
        search = inputs["search"]
        batch = search.shape[0]
        state = ModelState(
            templates=inputs["templates"], tokens=inputs["tokens"], first=inputs["first"],
            window=jnp.broadcast_to(window, (batch, config.grid**2)),
            reference=inputs.get("reference", jnp.zeros((batch, config.width))),
        )  # fmt: skip
        after, result = step(model, variables, state, search)
        outputs = {
            "box": result.box_cxcywh_norm, "response": result.response, "score": result.score,
            "policy": policy_of(result.scores, config),
        }  # fmt: skip
        states = {name: getattr(after, name) for name in source.states(None)}
        return outputs | {f"new_{name}": state.astype(jnp.float32) for name, state in states.items()}

    side, slots = config.search_size, config.templates * source.template_tokens
    inputs = {
        "search": (jnp.uint8, ("b", side, side, 3)), "templates": (jnp.float32, ("b", slots, config.width)),
        "first": (bool, ("b",)),
    }  # fmt: skip
    for name, shape in source.states(None).items():
        inputs[name] = (jnp.float32, tuple("b" if size is None else size for size in shape))
    return _save(one_step, inputs, path)


def opened(path: Path) -> Run:
    """A program as a function of its inputs, others ignored."""
    program = jax.export.deserialize(bytearray(path.read_bytes()))
    (wanted,), _ = jax.tree.unflatten(program.in_tree, program.in_avals)
    return lambda inputs: program.call({name: np.asarray(inputs[name]) for name in wanted})


def _save(function: Callable[[Arrays], Arrays], inputs: Mapping[str, tuple[Any, tuple]], path: Path) -> dict[str, Any]:
    """Writes a function of a dict of arrays, given as their dtypes and shapes, of which "b" is any number."""
    (batch,) = jax.export.symbolic_shape("b")
    shaped = {
        name: jax.ShapeDtypeStruct([batch if size == "b" else size for size in shape], dtype)
        for name, (dtype, shape) in inputs.items()
    }
    program = jax.export.export(jax.jit(function), platforms=PLATFORMS)(shaped)
    path.write_bytes(program.serialize())
    return entry(path)
