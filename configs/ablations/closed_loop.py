"""Closed-loop rollouts: each search region lies around the box that the policy chose in the frame before.

Differs from teacher_forced.py:rl in `rl.rollout`.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    config = recipe.rl()
    config.data.max_gap = 12
    config.rl.rollout = "closed_loop"
    return config
