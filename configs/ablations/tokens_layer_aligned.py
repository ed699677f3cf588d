"""Temporal tokens handed on from frame to frame layer by layer, RELO's way.

    relo train --config configs/ablations/tokens_layer_aligned.py:warmup --workdir runs/warmup
    relo train --config configs/ablations/tokens_layer_aligned.py:rl --workdir runs/rl --config.init_from=runs/warmup

What the other two ways are compared with.
"""

from relo_jax.study import recipe


def get_config(stage="warmup"):
    """One stage, `warmup` (the tiny starter's warm-up goes on, with this way of tokens) or `rl`."""
    recipe.check_stage(stage, "warmup", "rl")
    config = recipe.tokens_warmup() if stage == "warmup" else recipe.rl()
    config.model.propagation = "layer_aligned"
    return config
