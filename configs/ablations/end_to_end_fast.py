"""RL of everything, the encoder at ten times the rate of end_to_end_all.py.

Differs from end_to_end_all.py:rl in `optimizer.encoder_learning_rate`.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    config = recipe.rl()
    config.rl.estimator = "expected"
    config.rl.train = "all"
    config.rl.path = "clip"  # the one with gradients for the encoder
    config.optimizer.encoder_learning_rate = 1e-4
    return config
