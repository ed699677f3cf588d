"""RL of the last two blocks: they and the boxes learn beside policy and value, boxes by the losses of the warm-up.

Differs from end_to_end_all.py:rl in `rl.train`.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    config = recipe.rl()
    config.rl.estimator = "expected"
    config.rl.train = "last_blocks"
    config.rl.path = "clip"  # the one with gradients for the encoder
    config.optimizer.encoder_learning_rate = 1e-5
    return config
