"""REINFORCE with the mean reward of the other samples as baseline, instead of the value head.

Differs from reward.py:rl in `rl.estimator`.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    config = recipe.rl()
    config.rl.estimator = "rloo"
    return config
