"""RELO-tiny: 6 main blocks of width 128 at 128 x 128, from nothing, on procedural clips: the demo and the starter.

    relo train --config configs/relo_tiny.py:warmup --workdir runs/tiny-warmup
    relo train --config configs/relo_tiny.py:rl --workdir runs/tiny --config.init_from=runs/tiny-warmup

Paper row: none. Without ImageNet weights the paper's warm-up teaches no comparing of template and search region, so
this one is the release's: a centre map with a focal loss beside the box losses.
"""

from relo_jax import config as relo_config


def get_config(stage="warmup"):
    """One stage, `warmup` or `rl`."""
    config = relo_config.paper(stage)
    config.model.variant = "tiny"
    config.warmup.center_focal_weight = 1.0
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 200
    config.optimizer.learning_rate = 5e-4
    config.optimizer.encoder_learning_rate = 5e-4  # nothing pretrained to be careful with
    config.optimizer.clip_norm = 1.0
    config.batch_size = 32
    config.total_steps = 10_000
    config.eval_every = 1_000
    config.checkpoint_every = 500
    if stage == "rl":
        config.batch_size = 16
        config.total_steps = 1_000
        config.optimizer.warmup_steps = 20
        config.eval_every = 250
        config.checkpoint_every = 250
    config.tracker.window_power = 1.0
    return config
