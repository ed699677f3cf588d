"""The exact policy gradient, without sampling (relo_jax/mdp/expected_gradient.py).

Differs from reward.py:rl in `rl.estimator`.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    config = recipe.rl()
    config.rl.estimator = "expected"
    return config
