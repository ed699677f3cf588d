"""The first state of a run: its last checkpoint, the weights of another run or of the release, or fresh ones."""

from collections.abc import Sequence
from pathlib import Path

import jax
from flax.traverse_util import flatten_dict
from jax.sharding import Mesh
from ml_collections import ConfigDict
from orbax.checkpoint import CheckpointManager

from relo_jax.checkpoints import hub
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints.pytorch import convert, report
from relo_jax.errors import UserError, did_you_mean
from relo_jax.model import RELO, init_variables
from relo_jax.model.initialise import PARTS
from relo_jax.train import checkpoints
from relo_jax.train.mesh import shardings
from relo_jax.train.state import TrainState, create_state, merge, split

_WARM_UP_PARTS = ("encoder", "regression")


def first_state(
    config: ConfigDict, model: RELO, mesh: Mesh, manager: CheckpointManager
) -> tuple[TrainState, dict | None]:
    """The state and data position of the last checkpoint, or a fresh state and None.

    The arrays are placed as `config.mesh` says; the checkpoint may come from another mesh.
    """
    init_key, step_key = _keys(config)
    start = lambda variables: create_state(config, variables, step_key)[0]
    like = jax.eval_shape(start, jax.eval_shape(lambda: init_variables(model, init_key)))
    where = shardings(like, mesh, config.mesh.shard_params)
    if manager.latest_step() is not None:
        return checkpoints.restore(manager, like, where, step_key)
    variables = jax.device_get(initial_variables(config, model, init_key))  # every host holds all of them
    return jax.jit(start, out_shardings=where)(variables), None


def first_variables(config: ConfigDict, model: RELO) -> dict:
    """The variables that a run of a config begins with; see `initial_variables`."""
    return initial_variables(config, model, _keys(config)[0])


def _keys(config):
    """The keys of the initialisation and of the steps."""
    return jax.random.split(jax.random.key(config.seed))


def initial_variables(config: ConfigDict, model: RELO, key: jax.Array) -> dict:
    """Fresh variables, or with `config.init_from` those of a checkpoint.

    The RL stage takes encoder and regression head from a warm-up and starts with fresh policy and value heads; from a
    checkpoint of the RL stage it takes everything. It may start without a checkpoint only if it trains the whole model
    and its boxes (`rl.train`, `rl.box_weight`). The parts that `config.init_fresh` names are always fresh. From a
    PyTorch or safetensors file, prints what was taken; `config.init_ignore` names the tensors that are left out.

    Raises:
      UserError: the checkpoint cannot be read or is of another variant; the RL stage needs a warm-up; `init_fresh`
        names no part of the model; a file has tensors without a place, which `init_ignore` does not name.
    """
    variables = _variables(config, model, key)
    if not config.init_fresh:
        return variables
    _check_parts(config.init_fresh, variables["params"])
    return _with_fresh(model, key, variables, config.init_fresh)


def _variables(config, model, key):
    """`initial_variables` without `config.init_fresh`."""
    path = config.init_from
    if not path:
        if config.stage == "rl" and not (config.rl.train == "all" and config.rl.box_weight):
            raise UserError("the RL stage needs a warm-up to start from: give --config.init_from=RUN_OR_CHECKPOINT")
        return init_variables(model, key)
    path = str(hub.local(path)) if hub.is_address(path) else path
    if Path(path).is_file() and not path.endswith(".msgpack"):
        conversion = convert.convert(path, model, key=key, ignore=config.init_ignore, option="--config.init_ignore=")
        if config.stage == "rl" and conversion.kind == convert.PRETRAINED:
            raise UserError(f"{path} is a pretrained encoder without trained boxes: warm it up before the RL stage")
        if jax.process_index() == 0:
            print(f"{path}: {report.account(conversion, model)}")
        return conversion.variables
    if config.init_ignore:
        raise UserError(
            f"config.init_ignore is {tuple(config.init_ignore)}, but {path} is a checkpoint of relo_jax, of which "
            "nothing is left out: remove it, or name parts to initialise with config.init_fresh"
        )
    loaded = checkpoint.load(path, model)
    if config.stage == "warmup" or checkpoint.has_policy(loaded):
        return loaded.variables
    return _with_fresh(model, key, loaded.variables, [part for part in PARTS if part not in _WARM_UP_PARTS])


def _with_fresh(model: RELO, key: jax.Array, variables: dict, paths: Sequence[str]) -> dict:
    """The variables, except what the paths name, which is fresh, with its statistics. Nothing else is compiled."""
    fresh = init_variables(model, key, {path.split("/")[0] for path in paths})
    return {name: merge(old, split(fresh[name], paths)[0]) for name, old in variables.items()}


def _check_parts(paths, params):
    """Raises UserError for a path that is no part of the model."""
    names = [name.split("/") for name in flatten_dict(params, sep="/")]
    known = sorted({"/".join(name[: count + 1]) for name in names for count in range(len(name))})
    for path in paths:
        if path not in known:
            hint = did_you_mean(path, known, cutoff=0.5)
            hint = hint if "did you mean" in hint else did_you_mean(path, params)  # not all of their hundreds
            raise UserError(f"config.init_fresh has {path!r}, which is no part of the model{hint}")
