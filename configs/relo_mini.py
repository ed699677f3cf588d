"""RELO-mini: 8 main blocks of width 160 at 192 x 192, from nothing, on procedural clips: the starter for real video.

    relo train --config configs/relo_mini.py:warmup --workdir runs/mini-warmup
    relo train --config configs/relo_mini.py:rl --workdir runs/mini --config.init_from=runs/mini-warmup

Paper row: none. As relo_tiny.py, for one GPU instead of two cores: more of everything, and harder clips, with small
targets, lights that are switched, motion blur and cameras of few pixels. Two templates, so that the second may follow
the target (`tracker.update_interval`).
"""

from relo_jax import config as relo_config


def get_config(stage="warmup"):
    """One stage, `warmup` or `rl`."""
    config = relo_config.starter(stage)
    config.model.variant = "mini"
    config.model.remat = False  # a GPU has room for all activations
    config.batch_size = config.optimizer.reference_batch = 64
    config.tracker.window_power = 2.0
    config.tracker.update_interval = 25
    config.tracker.update_threshold = 18.0  # chosen on drawn sequences, see docs/starter.md
    config.warmup.search_frames = 4  # the scene is what costs the loader time, not its frames
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
