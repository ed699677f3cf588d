"""The heat map on exactly what the policy is trained on: the centre map alone, anew, by its focal loss.

Encoder and boxes stay those of the warm-up; the tracker goes where the map is highest (OSTrack's way).

Differs from reward.py:rl in `stage`, `warmup.search_frames`, `warmup.train`, `warmup.heatmap_peak`, `init_fresh`,
`model.localizer`.
"""

from relo_jax.study import recipe


def get_config(stage="warmup"):
    """The stage `warmup`."""
    recipe.check_stage(stage, "warmup")
    config = recipe.heatmap()
    config.warmup.train = "center"
    return config
