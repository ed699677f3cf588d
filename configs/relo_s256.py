"""RELO-S256: Fast-iTPN-S at 256 x 256, 20 main blocks. The release defines it, but has no checkpoint of it.

    relo train --config s256:warmup --workdir runs/s256-warmup --config.init_from=fast_itpn_small.pt
    relo train --config s256:rl --workdir runs/s256 --config.init_from=runs/s256-warmup

`:warmup_release` and `:rl_release` train as the release does: docs/release.md.

Paper row: none; expect a score between T256 (LaSOT 70.4) and B256 (73.3). Templates, temporal tokens and window power
are those of T256, the nearest in size.
Data: the paper's five, below the folder that RELO_DATA_DIR or --config.data.root names (docs/datasets.md).
Hours: not measured. Warm-up: 140,625 steps of 64 clips of 2 frames; RL: 14,063 steps of 16 clips of 8 frames, forward
only through the encoder.
"""

from relo_jax import config as relo_config


def get_config(stage="warmup"):
    """`warmup` or `rl`, the paper's stages; `warmup_release` or `rl_release`, the release's; `eval` of `relo eval`."""
    if stage == "eval":
        return relo_config.evaluation("s256")
    config = relo_config.recipe(stage)
    config.model.variant = "s256"
    config.tracker.window_power = 2.0
    return config
