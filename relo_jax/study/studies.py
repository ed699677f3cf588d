"""The studies: which question each asks, which arms (trainings) it compares, and which stages an arm has.

The arms are the rows of `configs/ablations.py`. The first stage of an arm starts from its config's `init_from`, a
second stage from the first. Several studies may share an arm, which is trained once.
"""

import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from relo_jax.config.named import config_file
from relo_jax.errors import UserError, did_you_mean
from relo_jax.study.recipe import Arm, config_of

FILE = Path("configs") / "ablations.py"


@dataclass(frozen=True)
class Study:
    """A question and the arms that answer it; the others are compared with the first.

    steps_to: whether to report how soon each arm reaches the level at which the first one ends. also: further sets of
    drawn sequences to evaluate on: title -> fields of `data.procedural` in which they differ from the held-out ones.
    """

    question: str
    arms: tuple[str, ...]
    steps_to: bool = False
    also: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


STUDIES = {
    "heatmap_vs_reward": Study(
        "Does a policy learnt by reward locate the target better than a heat map with a drawn peak?",
        ("reward", "heatmap_head", "heatmap"),
    ),
    "temporal_tokens": Study(
        "Does it matter how temporal tokens pass from frame to frame?",
        ("tokens_layer_aligned", "tokens_deep_to_shallow", "tokens_none"),
    ),
    "warmup_or_not": Study(
        "Is the reward enough without a warm-up, for as many frames?", ("with_warmup", "without_warmup")
    ),
    "estimator": Study(
        "Does a policy gradient of less variance learn faster?", ("reward", "rloo", "expected"), steps_to=True
    ),
    "reward_options": Study(
        "Do the options that the paper does not use help: an entropy bonus, all thresholds, more weight on the AUC?",
        ("reward", "entropy_bonus", "continuous_auc", "auc_weight"),
    ),
    "closed_loop": Study(
        "Does a policy track better if its own boxes place the search regions in training?",
        ("teacher_forced", "closed_loop"),
    ),
    "end_to_end": Study(
        "Does it help if the encoder learns from the reward too?",
        ("expected", "end_to_end_last_blocks", "end_to_end_all", "end_to_end_unanchored"),
    ),
    "clip_features": Study(
        "What must drawn clips show: light that moves, night, bodies that turn, limbs, spray?",
        ("clips_plain", "clips_lighting", "clips_night", "clips_turning", "clips_limbs", "clips_all", "clips_spray"),
        also={
            "held-out-all": {
                "lighting": 0.5,
                "night": 0.2,
                "turning": 0.5,
                "limbs": 5,
                "articulated": 0.7,
                "spray": 0.3,
            }
        },
    ),
}


def find(name: str) -> Study:
    """The study of a name.

    Raises:
      UserError: there is none; names the nearest.
    """
    if name not in STUDIES:
        raise UserError(f"no study is called {name!r}{did_you_mean(name, STUDIES, cutoff=0.4)}")
    return STUDIES[name]


def all_arms() -> dict[str, Arm]:
    """The table of arms: name -> Arm. `configs/ablations.py` in the working directory replaces that of the package.

    Raises:
      UserError: the file has no table.
    """
    file = FILE if FILE.is_file() else config_file("ablations")
    arms = runpy.run_path(str(file)).get("ARMS")
    if arms is None:
        raise UserError(f"{file} has no table ARMS: restore the file, or install relo_jax again")
    return arms


def stages(arm: str, seed: int, scale: float, folder: Path | str) -> list[tuple[ConfigDict, Path]]:
    """What to train for an arm, in order.

    Args:
      arm: a row of `configs/ablations.py`.
      seed: of initialisation, actions and clips.
      scale: factor on all numbers of steps.
      folder: of this arm and seed; each stage has its run directory in it.

    Returns:
      The config and the run directory of each stage.
    """
    arms, configs, previous = all_arms(), [], None
    for stage in arms[arm].stages:
        config = config_of(arms, f"{arm}:{stage}")
        config.seed = config.data.seed = seed
        if previous is not None:
            config.init_from = str(previous)
        _scale_steps(config, scale)
        previous = Path(folder) / stage
        configs.append((config, previous))
    return configs


def _scale_steps(config: ConfigDict, scale: float) -> None:
    """Scales every number of steps, to at least 1; the learning rate's warm-up ends before the last step."""
    for name in ("total_steps", "eval_every", "log_every", "checkpoint_every"):
        config[name] = max(1, round(config[name] * scale))
    config.optimizer.warmup_steps = min(round(config.optimizer.warmup_steps * scale), config.total_steps - 1)
