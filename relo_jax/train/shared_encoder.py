"""Runs that train as one program because they share a frozen encoder.

The encoder is nearly all of a step that trains only heads. Runs that begin with the same encoder and see the same clips
differ only after it: the program encodes the clips of each seed once, and all heads learn from these features. Held-out
clips are the same for all seeds, and are encoded once for all runs. Keys, clips and losses are those of each run alone,
so the results differ by rounding.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from relo_jax import config as config_lib
from relo_jax.errors import UserError
from relo_jax.model import RELO
from relo_jax.train import rl, warmup
from relo_jax.train.features import encode
from relo_jax.train.state import TrainState, optimizer, split, step_key, variables_of

Seeds = tuple[int, int]  # of the keys and the clips of a run
Clips = Mapping[Seeds, dict[str, jax.Array]]  # a batch of each
States = list[TrainState]
Metrics = list[dict[str, jax.Array]]

STAGES: dict[str, Any] = {"warmup": warmup, "rl": rl}
_HEADS = ("policy", "value", "regression/center")  # what may learn on a frozen encoder
_ENCODER = ("encoder", "regression/offset", "regression/size")  # what makes the features and boxes
# Fields in which runs may differ: those of heads, losses, optimiser and tracker. Every other field must be the same.
_OF_HEADS = {
    "seed", "data.seed", "stage", "init_fresh", "group_size", "batch_norm", "model.localizer",
    "rl.clip_length", "rl.iou_weight", "rl.auc_weight", "rl.auc", "rl.estimator", "rl.samples", "rl.entropy_weight",
    "rl.entropy_weight_end", "rl.train", "rl.train_blocks", "rl.box_weight", "rl.value_weight",
    "rl.normalize_advantage", "warmup.search_frames", "warmup.giou_weight", "warmup.l1_weight",
    "warmup.center_focal_weight", "warmup.decode_at", "warmup.heatmap_peak", "warmup.train",
}  # fmt: skip
_SECTIONS_OF_HEADS = ("optimizer.", "tracker.", "benchmarks.")


class Member(NamedTuple):
    """One of the runs that train together."""

    config: ConfigDict
    model: RELO


def seeds(config: ConfigDict) -> Seeds:
    """The seeds of a run."""
    return config.seed, config.data.seed


def shared(config: ConfigDict) -> tuple | None:
    """What the runs of one program have in common, to be compared; None if a run must train alone.

    A run trains alone if its encoder learns, if its actions place the search regions (`rl.rollout`), or if it does not
    begin with the encoder and boxes of a checkpoint.
    """
    is_rl = config.stage == "rl"
    frozen = config.rl.train == "heads" if is_rl else config.warmup.train == "center"
    begins_alike = config.init_from and all(
        f"{part}/".startswith(tuple(f"{p}/" for p in _HEADS)) for part in config.init_fresh
    )
    if not (frozen and begins_alike) or config.rl.rollout == "closed_loop":
        return None
    same = {
        name: value
        for name, value in config_lib.flatten(config).items()
        if name not in _OF_HEADS and not name.startswith(_SECTIONS_OF_HEADS)
    }
    same["frames"] = config.rl.clip_length if is_rl else config.warmup.search_frames
    if config.rl.drop_path:  # its key differs between the stages
        same["stage"] = config.stage
    return tuple(sorted(same.items()))


def check(workdirs: Sequence[Path], states: Sequence[TrainState]) -> None:
    """Checks that runs can train as one program from these states.

    Raises:
      UserError: they have done different numbers of steps, or the parts that make features and boxes differ.
    """
    first, encoder = workdirs[0], _encoder_of(states[0])
    for workdir, state in zip(workdirs[1:], states[1:], strict=True):
        if state.step != states[0].step:
            raise UserError(
                f"{first} begins after step {states[0].step}, {workdir} after step {state.step}: train them one by one"
            )
        if not jax.tree.all(jax.tree.map(np.array_equal, encoder, _encoder_of(state))):
            raise UserError(f"{workdir} has another encoder than {first}: train them one by one")


def _encoder_of(state):
    """What makes features and boxes: parameters and running statistics."""
    return [split(tree, _ENCODER)[0] for tree in variables_of(state).values()]


def make_step(members: Sequence[Member]) -> Callable[[States, Clips], tuple[States, Metrics]]:
    """The jitted update of all runs, `step(states, clips) -> (states, metrics)`, which donates the states' buffers.

    Args:
      members: one run of any kind, or several with the same `shared`.
    """
    config, model = members[0]
    stage = STAGES[config.stage]
    if len(members) == 1:
        alone = stage.make_step(model, config, optimizer(config))

        def step_alone(states, clips):
            state, metrics = alone(states[0], clips[seeds(config)])
            return [state], [metrics]

        return jax.jit(step_alone, donate_argnums=0)
    updates = [STAGES[own.stage].make_heads_update(of, own, optimizer(own)) for own, of in members]

    def step(states, clips):
        variables, names = variables_of(states[0]), list(clips)
        keys = {seeds(own): step_key(state) for (own, _), state in zip(members, states, strict=True)}
        of_seed = lambda batch, key: stage.step_features(model, config, variables, batch, key)
        batches = jax.tree.map(lambda *arrays: jnp.stack(arrays), *clips.values())
        frames = jax.vmap(of_seed)(batches, jnp.stack([keys[name] for name in names]))
        # The heads are not mapped over: gradients of convolutions with mapped kernels take ten times as long on CPUs.
        after = []
        for (own, _), state, update in zip(members, states, updates, strict=True):
            seen = names.index(seeds(own))
            after.append(update(state, jax.tree.map(lambda x, seen=seen: x[seen], frames)))
        return [state for state, _ in after], [metrics for _, metrics in after]

    return jax.jit(step, donate_argnums=0)


def make_eval(members: Sequence[Member]) -> Callable[[list[dict], dict[str, jax.Array]], Metrics]:
    """The jitted evaluation of all runs on the same held-out clips, `evaluate(variables, batch) -> metrics`.

    Args:
      members: as of `make_step`.
    """
    config, model = members[0]
    if len(members) == 1:
        alone = STAGES[config.stage].make_eval(model, config)
        return jax.jit(lambda variables, batch: [alone(variables[0], batch)])

    def evaluate(variables, batch):
        frames = encode(model, config, variables[0], batch)
        return [
            STAGES[own.stage].heads_metrics(of, own, of_run, frames)
            for (own, of), of_run in zip(members, variables, strict=True)
        ]

    return jax.jit(evaluate)
