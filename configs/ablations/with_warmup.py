"""Both stages from nothing: the tiny starter's warm-up of 400 steps of 32 clips, then RL of the heads.

    relo train --config configs/ablations/with_warmup.py:warmup --workdir runs/warmup
    relo train --config configs/ablations/with_warmup.py:rl --workdir runs/with-warmup --config.init_from=runs/warmup

The stage `rl` is that of reward.py; what it starts from is given by the study.
"""

from relo_jax.study import recipe


def get_config(stage="warmup"):
    """One stage, `warmup` or `rl`."""
    recipe.check_stage(stage, "warmup", "rl")
    return recipe.warmup(steps=400) if stage == "warmup" else recipe.rl()
