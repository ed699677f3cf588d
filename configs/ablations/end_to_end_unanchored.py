"""RL of the encoder by the reward alone: no losses of the warm-up hold it where it was, and the boxes' head is frozen.

Differs from end_to_end_all.py:rl in `rl.box_weight`.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    config = recipe.end_to_end()
    config.rl.box_weight = 0.0
    return config
