"""Reward: the tiny starter's RL stage by REINFORCE with the value baseline, from its warm-up, at a small budget.

    relo train --config configs/ablations/reward.py:rl --workdir runs/reward

What most of the other files here are compared with.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    return recipe.rl()
