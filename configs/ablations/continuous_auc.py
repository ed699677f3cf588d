"""The reward's AUC over all thresholds from 0 to 1, which is the mean IoU of the clip, instead of 21.

    relo train --config configs/ablations/continuous_auc.py:rl --workdir runs/continuous-auc

Differs from reward.py:rl in `rl.auc`.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    config = recipe.rl()
    config.rl.auc = "continuous"
    return config
