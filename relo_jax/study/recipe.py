"""The small trainings that the studies compare: the tiny starter's two stages at a budget of minutes on two cores.

The files of `configs/ablations/` are these with the one thing changed that they are about, so that any of them is also
a config of `relo train`.
"""

from relo_jax import config as relo_config
from relo_jax.errors import UserError

STEPS = 80  # of the stage that is compared


def rl(steps=STEPS):
    """The RL stage from the tiny starter's warm-up: 80 steps of 16 clips."""
    config = relo_config.starter("rl")
    config.init_from = "starter-warmup"
    config.optimizer.warmup_steps = 10
    return _observed(config, steps)


def heatmap():
    """The warm-up stage on exactly the clips of `rl`: the centre map begins anew and learns where the target is."""
    config = rl()
    config.stage = "warmup"
    config.warmup.search_frames = config.rl.clip_length
    config.init_fresh = ("regression/center",)
    config.warmup.heatmap_peak = "cell"  # where the boxes were learnt: the other one costs a fifth of their IoU
    config.model.localizer = "heatmap"
    return config


def end_to_end():
    """RL of the whole model by the exact gradient, encoder and boxes at 1e-5, held by the losses of the warm-up."""
    config = rl()
    config.rl.estimator = "expected"
    config.rl.train = "all"
    config.rl.path = "clip"  # the one with gradients for the encoder
    config.optimizer.encoder_learning_rate = 1e-5
    return config


def warmup(steps):
    """The tiny starter's warm-up, from nothing."""
    return _observed(relo_config.starter("warmup"), steps)


def tokens_warmup():
    """The tiny starter's warm-up goes on for 100 steps of 16 clips of 4 frames, so that tokens have a way to go."""
    config = warmup(steps=100)
    config.init_from = "starter-warmup"
    config.batch_size = config.optimizer.reference_batch = 16
    config.warmup.search_frames = 4
    config.optimizer.warmup_steps = 10
    config.optimizer.learning_rate = config.optimizer.encoder_learning_rate = 5e-4
    return config


def check_stage(stage, *known):
    """Raises UserError unless a config file has this stage."""
    if stage not in known:
        raise UserError(f"stage is {stage!r}: this file has {' and '.join(known)}")


def _observed(config, steps):
    """How long it is, and twenty looks at 32 held-out clips on the way."""
    config.total_steps = steps
    config.eval_every = max(steps // 20, 1)
    config.eval_batches = 2
    config.log_every = config.checkpoint_every = max(steps // 10, 1)
    config.keep_checkpoints = 1
    return config
