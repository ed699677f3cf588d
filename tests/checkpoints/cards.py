"""Cards of runs that begin."""

from relo_jax import config as relo_config
from relo_jax.checkpoints import model_card


def run_config(**fields):
    config = relo_config.starter("rl")
    config.update_from_flattened_dict(fields)
    return relo_config.to_dict(config)


def begin(folder, first_step=0, **fields):
    model_card.begin_training(folder, run_config(**fields), {"encoder": 1_500_000}, "ab12", "cd34", first_step)
