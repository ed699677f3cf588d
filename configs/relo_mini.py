"""RELO-mini: 8 main blocks of width 160 at 192 x 192, from random weights on procedural clips, for real video.

    relo train --config mini:warmup --workdir runs/mini-warmup
    relo train --config mini:rl --workdir runs/mini --config.init_from=runs/mini-warmup

Paper row: none. Like relo_tiny.py, for one GPU instead of two cores: a larger model, more steps, and harder clips with
small targets, switched lights, motion blur and cameras of few pixels. It has two templates, so that the second can
follow the target (`tracker.update_interval`).
"""

from relo_jax import config as relo_config


def get_config(stage="warmup"):
    """One stage, `warmup` or `rl`; `eval`: the config of `relo eval`."""
    if stage == "eval":
        return relo_config.evaluation("mini", checkpoint="starter", datasets="procedural")
    config = relo_config.starter(stage)
    config.model.variant = "mini"
    config.model.remat = False  # all activations fit into a GPU
    config.batch_size = config.optimizer.reference_batch = 64
    config.tracker.window_power = 2.0
    config.tracker.update_interval = 25
    config.tracker.update_threshold = 18.0  # chosen on procedural sequences, see docs/starter.md
    config.warmup.search_frames = 4  # for the loader a scene is expensive, its frames are cheap
    config.data.shift_jitter = 2.2
    config.data.scale_jitter = 0.3
    config.data.brightness = 0.3
    clips = config.data.procedural
    clips.smallest = 12.0
    clips.distractors = 4
    clips.fastest = 0.28
    clips.jump = 0.05
    clips.elongation = 0.3
    clips.switch = 0.2
    clips.compression = 0.35
    clips.blur = 2.0
    clips.exposure = 0.8
    clips.pixel = 3.0
    if stage == "warmup":
        config.total_steps = 8_000
        config.optimizer.warmup_steps = 200
    else:
        config.batch_size = config.optimizer.reference_batch = 32
        config.total_steps = 400
        config.rl.path = "clip"
        config.data.shift_jitter = 1.75
    return config
