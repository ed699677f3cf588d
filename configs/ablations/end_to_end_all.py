"""RL of everything: encoder and boxes learn beside policy and value, boxes by the losses of the warm-up.

Differs from expected.py:rl in `rl.train`, `rl.path`, `optimizer.encoder_learning_rate`.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    return recipe.end_to_end()
