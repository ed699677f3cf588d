"""RELO-B256: Fast-iTPN-B at 256 x 256, 24 main blocks, 2 templates, 32 temporal tokens; 92 M parameters.

    relo train --config b256:warmup --workdir runs/b256-warmup --config.init_from=fast_itpn_base_clipl_e1600.pt
    relo train --config b256:rl --workdir runs/b256 --config.init_from=runs/b256-warmup
    relo eval --config b256:eval --checkpoint runs/b256 --config.eval.datasets=lasot+got10k/val

`:warmup_release` and `:rl_release` train as the release, and so the published checkpoints: docs/release.md.

Paper row (AUC; GOT-10k: AO): LaSOT 73.3, LaSOT_ext 54.2, TrackingNet 86.4, GOT-10k 80.5, TNL2K 60.9, NFS 70.0,
UAV123 70.4; 50 frames/s on an RTX 4090. The authors' checkpoint reaches these scores, and so should a full training
on the paper's five data sets from ImageNet weights; that training has not been repeated here.
`relo reproduce --variant b256` measures a checkpoint.
Window power: LaSOT, LaSOT_ext 3.0, TrackingNet 2.0, GOT-10k 2.1, TNL2K 1.8, NFS 2.9, UAV123 1.0, elsewhere 3.0.
Template updates: TrackingNet every 25 frames above 25, GOT-10k every 3 above 25, elsewhere none.
Data: the paper's five, below the folder that RELO_DATA_DIR or --config.data.root names (docs/datasets.md).
Hours: not measured. Warm-up: 140,625 steps of 64 clips of 2 frames; RL: 14,063 steps of 16 clips of 8 frames, forward
only through the encoder.
"""

from relo_jax import config as relo_config


def get_config(stage="warmup"):
    """`warmup` or `rl`, the paper's stages; `warmup_release` or `rl_release`, the release's; `eval` of `relo eval`."""
    if stage == "eval":
        return relo_config.evaluation("b256")
    config = relo_config.recipe(stage)
    config.model.variant = "b256"
    config.tracker.window_power = 3.0  # unless config.benchmarks.NAME.window_power is set
    return config
