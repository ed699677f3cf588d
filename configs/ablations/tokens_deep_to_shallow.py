"""Temporal tokens handed on from the last layer of a frame to the first of the next (ODTrack's way).

    relo train --config configs/ablations/tokens_deep_to_shallow.py:warmup --workdir runs/warmup
    relo train --config configs/ablations/tokens_deep_to_shallow.py:rl --workdir runs/rl --config.init_from=runs/warmup

`warmup` differs from tokens_layer_aligned.py:warmup in `model.propagation`.
`rl` differs from tokens_layer_aligned.py:rl in `model.propagation`.
"""

from relo_jax.study import recipe


def get_config(stage="warmup"):
    """One stage, `warmup` (the tiny starter's warm-up goes on, with this way of tokens) or `rl`."""
    recipe.check_stage(stage, "warmup", "rl")
    config = recipe.tokens_warmup() if stage == "warmup" else recipe.rl()
    config.model.propagation = "deep_to_shallow"
    return config
