"""What a run starts from: its last checkpoint, another run's or the release's weights, or nothing."""

from pathlib import Path

import jax
from jax.sharding import NamedSharding, PartitionSpec

from relo_jax import checkpoint, convert
from relo_jax.errors import UserError
from relo_jax.model import init_variables
from relo_jax.train import checkpoints
from relo_jax.train.state import TRAINED, create_state


def first_state(config, model, mesh, manager):
    """The state to go on from and the position in the data: of the last checkpoint, or a fresh one and None."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    init_key, step_key = jax.random.split(jax.random.key(config.seed))
    step_key = jax.device_put(step_key, everywhere)
    start = lambda variables: create_state(config, variables, step_key)[0]
    if manager.latest_step() is None:
        return jax.jit(start, out_shardings=everywhere)(initial_variables(config, model, init_key)), None
    like = jax.eval_shape(start, jax.eval_shape(lambda: init_variables(model, init_key)))
    return checkpoints.restore(manager, checkpoints.abstract(like, everywhere), step_key)


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
