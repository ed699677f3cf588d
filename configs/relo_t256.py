"""RELO-T256: Fast-iTPN-T at 256 x 256, 12 main blocks, 1 template, 4 temporal tokens; 30 M parameters.

    relo train --config t256:warmup --workdir runs/t256-warmup --config.init_from=fast_itpn_tiny.pt
    relo train --config t256:rl --workdir runs/t256 --config.init_from=runs/t256-warmup
    relo eval --config t256:eval --checkpoint runs/t256 --config.eval.datasets=lasot+got10k/val

`:warmup_release` and `:rl_release` train as the release, and so the published checkpoints: docs/release.md.

Paper row (AUC; GOT-10k: AO): LaSOT 70.4, LaSOT_ext 51.1, TrackingNet 83.6, GOT-10k 75.6; 91 frames/s on an RTX 4090.
The authors' checkpoint reaches these scores, and so should a full training on the paper's five data sets from ImageNet
weights; that training has not been repeated here. `relo reproduce --variant t256` measures a checkpoint.
Window power: LaSOT 2.2, LaSOT_ext 1.7, TrackingNet 2.0, GOT-10k 3.2, elsewhere 2.0. No template updates.
Data: the paper's five, below the folder that RELO_DATA_DIR or --config.data.root names (docs/datasets.md).
Hours: not measured. Warm-up: 140,625 steps of 64 clips of 2 frames; RL: 14,063 steps of 16 clips of 8 frames, forward
only through the encoder.
"""

from relo_jax import config as relo_config


def get_config(stage="warmup"):
    """`warmup` or `rl`, the paper's stages; `warmup_release` or `rl_release`, the release's; `eval` of `relo eval`."""
    if stage == "eval":
        return relo_config.evaluation("t256")
    config = relo_config.recipe(stage)
    config.model.variant = "t256"
    config.tracker.window_power = 2.0  # unless config.benchmarks.NAME.window_power is set
    return config
