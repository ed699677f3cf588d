"""No warm-up: everything from nothing by reward, with as many search frames as the two stages of with_warmup.py.

Those are 400 x 32 clips of 2 frames and 80 x 16 of 8, 35,840 in all, and so 280 steps of 16 clips of 8 frames. The
boxes learn as in a warm-up, at the true centre; no centre map does. Learning rates are those of the tiny starter's
warm-up. The regression head's BatchNorm goes by running statistics in the RL stage: begun from nothing, it normalises
nothing.

    relo train --config configs/ablations/without_warmup.py:rl --workdir runs/without-warmup

Differs from reward.py:rl in `init_from`, `rl.train`, `rl.path`, `total_steps`, `optimizer.warmup_steps`, `eval_every`,
`log_every`, `checkpoint_every`.
"""

from relo_jax.study import recipe


def get_config(stage="rl"):
    """The stage `rl`."""
    recipe.check_stage(stage, "rl")
    config = recipe.rl(steps=280)
    config.init_from = ""
    config.rl.train = "all"
    config.rl.path = "clip"  # the one with gradients for the encoder
    config.optimizer.warmup_steps = 50
    return config
