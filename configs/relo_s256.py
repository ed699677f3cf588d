"""RELO-S256: Fast-iTPN-S at 256 x 256, 20 main blocks. The release defines it, but has no checkpoint of it.

    relo train --config configs/relo_s256.py:warmup --workdir runs/s256-warmup --config.init_from=fast_itpn_small.pt
    relo train --config configs/relo_s256.py:rl --workdir runs/s256 --config.init_from=runs/s256-warmup

Paper row: none; expect a score between T256 (LaSOT 70.4) and B256 (73.3). Templates, temporal tokens and window power
are those of T256, the nearest in size.
Data: the paper's five, below the folder that RELO_DATA_DIR or --config.data.root names (docs/datasets.md).
Hours: not measured. Warm-up: 140,625 steps of 64 clips of 2 frames; RL: 14,063 steps of 16 clips of 8 frames, forward
only through the encoder.
"""

from relo_jax import config as relo_config


def get_config(stage="warmup"):
    """The paper's stage, `warmup` or `rl`."""
    config = relo_config.paper(stage)
    config.model.variant = "s256"
    config.data.name = relo_config.PAPER_DATA
    config.tracker.window_power = 2.0
    return config
