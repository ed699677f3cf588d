"""What a run starts from: its last checkpoint, another run's or the release's weights, or nothing."""

from pathlib import Path

import jax

from relo_jax import checkpoint, convert
from relo_jax.errors import UserError
from relo_jax.model import init_variables
from relo_jax.train import checkpoints
from relo_jax.train.mesh import shardings
from relo_jax.train.state import TRAINED, create_state


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
    checkpoint of the RL stage it takes everything.

    Raises:
      UserError: the checkpoint cannot be read or is of another variant; RL without a warm-up.
    """
    path = config.init_from
    if not path:
        if config.stage == "rl":
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
    fresh, kept = init_variables(model, key), TRAINED["warmup"]
    return {
        collection: {name: (loaded.variables if name in kept else fresh)[collection][name] for name in modules}
        for collection, modules in fresh.items()
    }
