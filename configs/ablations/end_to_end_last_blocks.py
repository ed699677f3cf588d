"""RL of the last two blocks: they and the boxes learn beside policy and value, boxes by the losses of the warm-up.

Differs from end_to_end_all.py:rl in `rl.train`.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    config = recipe.end_to_end()
    config.rl.train = "last_blocks"
    return config
