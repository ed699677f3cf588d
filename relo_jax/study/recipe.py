"""The small trainings that the studies compare, and the arms that are made of them by changing single fields.

A recipe is one of the tiny starter's two stages at a budget of minutes on two CPU cores. `configs/ablations.py` is the
table of arms.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ml_collections import ConfigDict

from relo_jax import config as relo_config
from relo_jax.errors import UserError, did_you_mean

STEPS = 80  # of the stage that the studies compare


@dataclass(frozen=True)
class Arm:
    """One row of the table: a training of one or two stages.

    description: one sentence. stages: stage -> what its config is derived from, either a recipe (a function of this
    module) or a stage of another arm ("reward:rl"). changes: field -> its value, set in every stage.
    """

    description: str
    stages: Mapping[str, Callable[[], ConfigDict] | str]
    changes: Mapping[str, object] = field(default_factory=dict)


def config_of(arms: Mapping[str, Arm], name: str) -> ConfigDict:
    """The config of one stage of an arm.

    Args:
      arms: name -> Arm.
      name: "ARM:STAGE", or "ARM" for its first stage.

    Raises:
      UserError: no such arm, or the arm has no such stage.
    """
    arm_name, _, stage = name.partition(":")
    if arm_name not in arms:
        raise UserError(f"no arm is called {arm_name!r}{did_you_mean(arm_name, arms)}")
    arm = arms[arm_name]
    stage = stage or next(iter(arm.stages))
    if stage not in arm.stages:
        raise UserError(f"arm {arm_name} has no stage {stage!r}{did_you_mean(stage, arm.stages)}")
    origin = arm.stages[stage]
    config = config_of(arms, origin) if isinstance(origin, str) else origin()
    config.update_from_flattened_dict(arm.changes)
    return config


def rl() -> ConfigDict:
    """The RL stage from the tiny starter's warm-up: 80 steps of 16 clips."""
    config = relo_config.starter("rl")
    config.init_from = "starter-warmup"
    config.optimizer.warmup_steps = 10
    return _set_length(config, STEPS)


def warmup() -> ConfigDict:
    """The tiny starter's warm-up from random weights: 400 steps of 32 clips."""
    return _set_length(relo_config.starter("warmup"), 400)


def longer_warmup() -> ConfigDict:
    """The tiny starter's warm-up, continued for 100 steps on clips of 4 frames, so that the temporal tokens matter."""
    config = _set_length(relo_config.starter("warmup"), 100)
    config.init_from = "starter-warmup"
    config.batch_size = config.optimizer.reference_batch = 16
    config.warmup.search_frames = 4
    config.optimizer.warmup_steps = 10
    config.optimizer.learning_rate = config.optimizer.encoder_learning_rate = 5e-4
    return config


def continued() -> ConfigDict:
    """The tiny starter, trained on end to end for 160 steps of 16 clips of 4 frames.

    Boxes learn by the losses of the warm-up; policy and encoder also by the exact gradient of the reward.
    """
    config = _set_length(relo_config.starter("rl"), 160)
    config.init_from = "starter-tiny"
    config.rl.clip_length = 4
    config.rl.train = "all"
    config.rl.path = "clip"
    config.rl.estimator = "expected"
    config.optimizer.warmup_steps = 20
    config.optimizer.learning_rate = config.optimizer.encoder_learning_rate = 3e-4
    return config


def _set_length(config: ConfigDict, steps: int) -> ConfigDict:
    """Sets the number of steps, with about twenty evaluations on 32 held-out clips."""
    config.total_steps = steps
    config.eval_every = max(steps // 20, 1)
    config.eval_batches = 2
    config.log_every = config.checkpoint_every = max(steps // 10, 1)
    config.keep_checkpoints = 1
    return config
