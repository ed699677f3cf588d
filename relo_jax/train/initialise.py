"""What a run starts from: its last checkpoint, another run's or the release's weights, or nothing."""

import difflib
from pathlib import Path

import jax
from flax.traverse_util import flatten_dict

from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints.pytorch import convert
from relo_jax.errors import UserError
from relo_jax.model import init_variables
from relo_jax.train import checkpoints
from relo_jax.train.mesh import shardings
from relo_jax.train.state import create_state, merge, split

_OF_A_WARM_UP = ("encoder", "regression")


def first_state(config, model, mesh, manager):
    """The state to go on from and the position in the data: of the last checkpoint, or a fresh one and None.

    Its arrays lie as `config.mesh` says, wherever those of the checkpoint lay: it may be of another mesh.
    """
    init_key, step_key = jax.random.split(jax.random.key(config.seed))
    start = lambda variables: create_state(config, variables, step_key)[0]
    like = jax.eval_shape(start, jax.eval_shape(lambda: init_variables(model, init_key)))
    where = shardings(like, mesh, config.mesh.shard_params)
    if manager.latest_step() is not None:
        return checkpoints.restore(manager, like, where, step_key)
    variables = jax.device_get(initial_variables(config, model, init_key))  # every host has all of them
    return jax.jit(start, out_shardings=where)(variables), None


def initial_variables(config, model, key):
    """Fresh variables, or with `config.init_from` those of a checkpoint.

    The RL stage takes encoder and regression head of a warm-up and begins with fresh policy and value heads; from a
    checkpoint of the RL stage it takes everything. It may begin from nothing where it trains all of the model,
    boxes too (`rl.train`, `rl.box_weight`). What `config.init_fresh` names begins from nothing in any case.

    Raises:
      UserError: the checkpoint cannot be read or is of another variant; RL of less than all without a warm-up;
        `init_fresh` names no part of the model.
    """
    variables = _variables(config, model, key)
    if not config.init_fresh:
        return variables
    _check_parts(config.init_fresh, variables["params"])
    return _afresh(variables, init_variables(model, key), config.init_fresh)


def _variables(config, model, key):
    """`initial_variables`, without `config.init_fresh`."""
    path = config.init_from
    if not path:
        if config.stage == "rl" and not (config.rl.train == "all" and config.rl.box_weight):
            raise UserError("the RL stage needs a warm-up to start from: give --config.init_from=RUN_OR_CHECKPOINT")
        return init_variables(model, key)
    if Path(path).is_file() and not path.endswith(".msgpack"):
        conversion = convert.convert(path, model, key=key)
        if config.stage == "rl" and conversion.kind == convert.PRETRAINED:
            raise UserError(f"{path} is an encoder that never saw a box: warm it up before the RL stage")
        return conversion.variables
    loaded = checkpoint.load(path, model)
    if config.stage == "warmup" or checkpoint.has_policy(loaded):
        return loaded.variables
    fresh = init_variables(model, key)
    return _afresh(loaded.variables, fresh, [name for name in fresh["params"] if name not in _OF_A_WARM_UP])


def _afresh(variables, fresh, paths):
    """The variables, with the parts of the model that the paths name from fresh ones, running statistics too."""
    return {name: merge(old, split(fresh[name], paths)[0]) for name, old in variables.items()}


def _check_parts(paths, params):
    """Raises UserError for a path that is no part of the model; names the nearest."""
    names = [name.split("/") for name in flatten_dict(params, sep="/")]
    known = sorted({"/".join(name[: count + 1]) for name in names for count in range(len(name))})
    for path in paths:
        if path not in known:
            near = difflib.get_close_matches(str(path), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"its parts are {', '.join(params)}"
            raise UserError(f"config.init_fresh has {path!r}, which is no part of the model: {hint}")
