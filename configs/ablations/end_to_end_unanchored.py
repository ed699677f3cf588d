"""RL of the encoder by the reward alone: no losses of the warm-up hold it where it was, and the boxes' head is frozen.

Differs from end_to_end_all.py:rl in `rl.box_weight`.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    config = recipe.rl()
    config.rl.estimator = "expected"
    config.rl.train = "all"
    config.rl.path = "clip"  # the one with gradients for the encoder
    config.rl.box_weight = 0.0
    config.optimizer.encoder_learning_rate = 1e-5
    return config
