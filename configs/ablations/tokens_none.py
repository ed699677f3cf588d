"""No temporal tokens handed on: every frame is a first frame.

    relo train --config configs/ablations/tokens_none.py:warmup --workdir runs/warmup
    relo train --config configs/ablations/tokens_none.py:rl --workdir runs/rl --config.init_from=runs/warmup

`warmup` differs from tokens_layer_aligned.py:warmup in `model.propagation`.
`rl` differs from tokens_layer_aligned.py:rl in `model.propagation`.
"""

from relo_jax.study import recipe


def get_config(stage="warmup"):
    """One stage, `warmup` (the tiny starter's warm-up goes on, with this way of tokens) or `rl`."""
    recipe.check_stage(stage, "warmup", "rl")
    config = recipe.tokens_warmup() if stage == "warmup" else recipe.rl()
    config.model.propagation = "none"
    return config
