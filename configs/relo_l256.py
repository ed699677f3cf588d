"""RELO-L256: Fast-iTPN-L at 256 x 256, 40 main blocks, 2 templates, 32 temporal tokens; 322 M parameters.

    relo train --config l256:warmup --workdir runs/l256-warmup --config.init_from=fast_itpn_large.pt
    relo train --config l256:rl --workdir runs/l256 --config.init_from=runs/l256-warmup
    relo eval --config l256:eval --checkpoint runs/l256 --config.eval.datasets=lasot+got10k/val

`:warmup_release` and `:rl_release` train as the release, and so the published checkpoints: docs/release.md.

Paper row (AUC; GOT-10k: AO): LaSOT 75.1, LaSOT_ext 57.5, TrackingNet 87.3, GOT-10k 81.8, TNL2K 63.6, NFS 71.3,
UAV123 71.4; 32 frames/s on an RTX 4090. The authors' checkpoint reaches these scores, and so should a full training
on the paper's five data sets from ImageNet weights; that training has not been repeated here.
`relo reproduce --variant l256` measures a checkpoint.
Window power: LaSOT 2.9, LaSOT_ext, GOT-10k 2.7, TrackingNet 2.0, TNL2K, NFS 3.2, UAV123 3.8, elsewhere 2.7.
Template updates: TrackingNet every 25 frames above 20, GOT-10k every 3 above 46, elsewhere none.
Data: the paper's five, below the folder that RELO_DATA_DIR or --config.data.root names (docs/datasets.md).
Hours: not measured. Warm-up: 140,625 steps of 64 clips of 2 frames; RL: 14,063 steps of 16 clips of 8 frames, forward
only through the encoder. If the warm-up runs out of memory, set `--config.model.remat=True`; if there is memory left
then, add `--config.model.remat_policy=dots`, so that linear layers are not computed twice.
"""

from relo_jax import config as relo_config


def get_config(stage="warmup"):
    """`warmup` or `rl`, the paper's stages; `warmup_release` or `rl_release`, the release's; `eval` of `relo eval`."""
    if stage == "eval":
        return relo_config.evaluation("l256")
    config = relo_config.recipe(stage)
    config.model.variant = "l256"
    config.tracker.window_power = 2.7  # unless config.benchmarks.NAME.window_power is set
    return config
