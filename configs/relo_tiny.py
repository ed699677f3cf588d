"""RELO-tiny: 6 main blocks of width 128 at 128 x 128, from random weights on procedural clips: demo and tiny starter.

    relo train --config tiny:warmup --workdir runs/tiny-warmup
    relo train --config tiny:rl --workdir runs/tiny --config.init_from=runs/tiny-warmup

Paper row: none. Without ImageNet weights, the paper's warm-up does not teach the network to compare template and search
region. This one therefore has the release's centre map with a focal loss, in addition to the box losses.
"""

from relo_jax import config as relo_config


def get_config(stage="warmup"):
    """One stage, `warmup` or `rl`; `eval`: the config of `relo eval`."""
    if stage == "eval":
        return relo_config.evaluation("tiny", checkpoint="starter-tiny", datasets="procedural")
    return relo_config.starter(stage)
