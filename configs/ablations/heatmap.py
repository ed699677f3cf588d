"""The heat map with everything learning: centre map anew, encoder and boxes from the warm-up (OSTrack's way).

Differs from heatmap_head.py:warmup in `warmup.train`, `optimizer.encoder_learning_rate`.
"""

from relo_jax.study import recipe


def get_config(stage="warmup"):
    """The stage `warmup`."""
    recipe.check_stage(stage, "warmup")
    config = recipe.heatmap()
    config.optimizer.encoder_learning_rate = 2e-4  # what has learnt already is not to be torn up
    return config
