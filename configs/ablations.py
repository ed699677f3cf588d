"""The arms of the studies (docs/study.md), one row each: what it is derived from and the fields that it changes.

    relo train --config ablations:reward --workdir runs/reward
    relo train --config ablations:with_warmup:warmup --workdir runs/warmup
    relo train --config ablations:with_warmup:rl --workdir runs/rl --config.init_from=runs/warmup

The name after the file is ARM or ARM:STAGE; without a stage it is the arm's first. `relo study` trains and compares the
arms, and starts the second stage of an arm from the first.
"""

from relo_jax.study import recipe
from relo_jax.study.recipe import Arm

_REWARD, _EXPECTED, _END_TO_END = {"rl": "reward:rl"}, {"rl": "expected:rl"}, {"rl": "end_to_end_all:rl"}
_CLIPS = {"rl": "clips_plain:rl"}
_ALIGNED = {"warmup": "tokens_layer_aligned:warmup", "rl": "tokens_layer_aligned:rl"}

ARMS = {
    # What the policy learns from. Encoder and boxes stay those of the tiny starter's warm-up.
    "reward": Arm("The tiny starter's RL stage: REINFORCE with the value baseline.", {"rl": recipe.rl}),
    "heatmap_head": Arm(
        "A heat map in the place of the policy (as in OSTrack): the centre map alone learns, anew, by its focal loss, "
        "on the clips of `reward`. The map peaks in the cell in which the boxes were learnt.",
        {"warmup": "reward:rl"},
        {
            "stage": "warmup",
            "warmup.search_frames": 8,
            "warmup.train": "center",
            "warmup.heatmap_peak": "cell",  # the other choice costs a fifth of the boxes' IoU
            "init_fresh": ("regression/center",),
            "model.localizer": "heatmap",
        },
    ),
    "heatmap": Arm(
        "The heat map, with encoder and boxes learning too, at a rate that keeps what they have learnt.",
        {"warmup": "heatmap_head:warmup"},
        {"warmup.train": "all", "optimizer.encoder_learning_rate": 2e-4},
    ),
    # How the gradient is estimated.
    "rloo": Arm("REINFORCE whose baseline is the mean reward of the other samples.", _REWARD, {"rl.estimator": "rloo"}),
    "expected": Arm(
        "The exact policy gradient, without sampling (relo_jax/mdp/expected_gradient.py).",
        _REWARD,
        {"rl.estimator": "expected"},
    ),
    # Options of the reward that the paper does not use.
    "entropy_bonus": Arm(
        "A bonus on the policy's entropy that decays to 0 by the end of training.", _REWARD, {"rl.entropy_weight": 0.01}
    ),
    "continuous_auc": Arm(
        "The reward's AUC over all thresholds from 0 to 1, which is the clip's mean IoU, instead of 21.",
        _REWARD,
        {"rl.auc": "continuous"},
    ),
    "auc_weight": Arm(
        "The AUC counts once for each of the clip's 8 frames: the gradient of the expected mean reward.",
        _REWARD,
        {"rl.auc_weight": 8.0},
    ),
    # Where the search regions lie.
    "teacher_forced": Arm(
        "Search regions around the truth, of frames close enough in time to be tracked.", _REWARD, {"data.max_gap": 12}
    ),
    "closed_loop": Arm(
        "Each search region lies around the box that the policy chose in the previous frame.",
        {"rl": "teacher_forced:rl"},
        {"rl.rollout": "closed_loop"},
    ),
    # How much of the model the RL stage trains.
    "end_to_end_all": Arm(
        "Encoder and boxes learn too: the boxes by the losses of the warm-up, the encoder also by the reward.",
        _EXPECTED,
        {"rl.train": "all", "rl.path": "clip", "optimizer.encoder_learning_rate": 1e-5},
    ),
    "end_to_end_last_blocks": Arm(
        "The same, but only the last two blocks of the encoder learn.", _END_TO_END, {"rl.train": "last_blocks"}
    ),
    "end_to_end_unanchored": Arm(
        "The encoder learns by the reward alone: without the losses of the warm-up, and with a frozen box head.",
        _END_TO_END,
        {"rl.box_weight": 0.0},
    ),
    # How temporal tokens pass from frame to frame.
    "tokens_layer_aligned": Arm("Layer by layer, as in RELO.", {"warmup": recipe.longer_warmup, "rl": "reward:rl"}),
    "tokens_deep_to_shallow": Arm(
        "From the last layer of a frame to the first layer of the next, as in ODTrack.",
        _ALIGNED,
        {"model.propagation": "deep_to_shallow"},
    ),
    "tokens_none": Arm("Not at all: every frame is a first frame.", _ALIGNED, {"model.propagation": "none"}),
    # What the clips show.
    "clips_plain": Arm("The clips of the tiny starter.", {"rl": recipe.continued}),
    "clips_lighting": Arm(
        "In half of the clips, light and shadows move over the target.", _CLIPS, {"data.procedural.lighting": 0.5}
    ),
    "clips_spray": Arm(
        "In three clips of ten, spray, smoke or dust drifts before the target.", _CLIPS, {"data.procedural.spray": 0.3}
    ),
    "clips_night": Arm("A fifth of the clips are dark, pale and noisy.", _CLIPS, {"data.procedural.night": 0.2}),
    "clips_turning": Arm(
        "Half of the targets and distractors turn about their upright axis.", _CLIPS, {"data.procedural.turning": 0.5}
    ),
    "clips_limbs": Arm(
        "Three in five targets have up to five limbs.",
        _CLIPS,
        {"data.procedural.limbs": 5, "data.procedural.articulated": 0.7},
    ),
    "clips_all": Arm(
        "Light, night, bodies that turn, and limbs together.",
        _CLIPS,
        {
            "data.procedural.lighting": 0.5,
            "data.procedural.night": 0.2,
            "data.procedural.turning": 0.5,
            "data.procedural.limbs": 5,
            "data.procedural.articulated": 0.7,
        },
    ),
    # Whether there is a warm-up.
    "with_warmup": Arm("Both stages from random weights.", {"warmup": recipe.warmup, "rl": "reward:rl"}),
    "without_warmup": Arm(
        "Everything from random weights by reward, with as many search frames as both stages of `with_warmup`: "
        "400 x 32 x 2 + 80 x 16 x 8 = 280 x 16 x 8. The boxes learn at the true centre; there is no centre map. The "
        "learning rates are those of the warm-up. The box head's BatchNorm keeps its initial running statistics.",
        _REWARD,
        {
            "init_from": "",
            "rl.train": "all",
            "rl.path": "clip",  # the path with gradients for the encoder
            "optimizer.warmup_steps": 50,
            "total_steps": 280,
            "eval_every": 14,
            "log_every": 28,
            "checkpoint_every": 28,
        },
    ),
}


def get_config(name: str = "reward"):
    """The config of "ARM" or "ARM:STAGE"."""
    return recipe.config_of(ARMS, name)
