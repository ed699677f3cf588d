"""The AUC counts T times: the gradient of the expected mean reward, see relo_jax/mdp/expected_gradient.py.

    relo train --config configs/ablations/auc_weight.py:rl --workdir runs/auc-weight

Differs from reward.py:rl in `rl.auc_weight`.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    config = recipe.rl()
    config.rl.auc_weight = float(config.rl.clip_length)
    return config
