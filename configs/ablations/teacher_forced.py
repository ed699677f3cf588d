"""Search regions around the truth, of frames that are near enough to each other to be tracked.

Differs from reward.py:rl in `data.max_gap`.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    config = recipe.rl()
    config.data.max_gap = 12
    return config
