"""What a run starts from: its last checkpoint, another run's or the release's weights, or nothing."""

from pathlib import Path

import jax
from flax.traverse_util import flatten_dict
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
      UserError: the checkpoint cannot be read or is of another variant; RL without a checkpoint.
    """
    fresh = init_variables(model, key)
    path = config.init_from
    if not path:
        if config.stage == "rl":
            raise UserError("the RL stage needs a warm-up to start from: give --config.init_from=RUN_OR_CHECKPOINT")
        return fresh
    if Path(path).is_file():
        conversion = convert.convert(path, model, key=key)
        if config.stage == "rl" and conversion.kind == convert.PRETRAINED:
            raise UserError(f"{path} is an encoder that never saw a box: warm it up before the RL stage")
        return conversion.variables
    loaded = checkpoint.load(path)
    check_same_shapes(loaded.variables, fresh, path, config.model.variant)
    if config.stage == "rl" and loaded.config.get("stage") == "warmup":
        kept = TRAINED["warmup"]
        return {
            collection: {name: (loaded.variables if name in kept else fresh)[collection][name] for name in modules}
            for collection, modules in fresh.items()
        }
    return loaded.variables


def check_same_shapes(given, expected, path, variant):
    """Raises UserError naming the first parameter that is missing, unknown or of another shape."""
    given, expected = flatten_dict(given, sep="/"), flatten_dict(expected, sep="/")
    for name in sorted(given.keys() | expected.keys()):
        have, want = (tree[name].shape if name in tree else None for tree in (given, expected))
        if have != want:
            raise UserError(
                f"{path} is not a checkpoint of this {variant}: {name} is {have or 'missing'} there, "
                f"{want or 'unknown'} here; set config.model to the model it was trained with"
            )
