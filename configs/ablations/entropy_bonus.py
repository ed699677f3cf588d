"""Reward and a bonus for a policy that stays open, which ends with the training.

    relo train --config configs/ablations/entropy_bonus.py:rl --workdir runs/entropy-bonus

Differs from reward.py:rl in `rl.entropy_weight`.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    config = recipe.rl()
    config.rl.entropy_weight = 0.01
    return config
