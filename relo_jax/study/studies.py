"""Which studies there are, which trainings (arms) each compares, and which stages an arm has.

An arm is a file of `configs/ablations/`, by its name. Its first stage starts from what its config says, each later one
from the stage before. Several studies may have an arm in common; it is trained once.
"""

import difflib
import runpy
from dataclasses import dataclass
from pathlib import Path

import relo_jax
from relo_jax.errors import UserError

FOLDER = Path("configs") / "ablations"


@dataclass(frozen=True)
class Study:
    """A question and the arms that answer it; the first is what the others are compared with."""

    question: str
    arms: tuple[str, ...]
    steps_to: bool = False  # whether to say how soon each arm is as good as the first one ends up


STUDIES = {
    "heatmap_vs_reward": Study(
        "Does a policy learnt by reward say better where the target is than a heat map that somebody drew?",
        ("reward", "heatmap_head", "heatmap"),
    ),
    "temporal_tokens": Study(
        "Does it matter how temporal tokens go from frame to frame?",
        ("tokens_layer_aligned", "tokens_deep_to_shallow", "tokens_none"),
    ),
    "warmup_or_not": Study(
        "Is the reward enough without a warm-up, for as many frames?", ("with_warmup", "without_warmup")
    ),
    "estimator": Study(
        "Does a policy gradient of less variance learn faster?", ("reward", "rloo", "expected"), steps_to=True
    ),
    "reward_options": Study(
        "Do the options that the paper does not use help: a bonus on entropy, all thresholds, more weight on the AUC?",
        ("reward", "entropy_bonus", "continuous_auc", "auc_weight"),
    ),
    "closed_loop": Study(
        "Does a policy that lives with its own boxes in training track better?", ("teacher_forced", "closed_loop")
    ),
    "end_to_end": Study(
        "Does it help when the encoder learns from the reward, too?",
        ("expected", "end_to_end_last_blocks", "end_to_end_all", "end_to_end_unanchored"),
    ),
}

# The stages of an arm; ("rl",) of those that are not here.
STAGES = {
    "heatmap_head": ("warmup",),
    "heatmap": ("warmup",),
    "tokens_layer_aligned": ("warmup", "rl"),
    "tokens_deep_to_shallow": ("warmup", "rl"),
    "tokens_none": ("warmup", "rl"),
    "with_warmup": ("warmup", "rl"),
}


def find(name):
    """The study of a name.

    Raises:
      UserError: there is none; names the nearest.
    """
    if name not in STUDIES:
        near = difflib.get_close_matches(name, STUDIES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"no study is called {name!r}: {hint}there are {', '.join(STUDIES)}")
    return STUDIES[name]


def config_of(arm, stage):
    """The config of one stage of an arm, from its file.

    Raises:
      UserError: the files are not there, as where only the package is installed.
    """
    beside_package = Path(relo_jax.__file__).parents[1] / FOLDER
    folder = next((folder for folder in (FOLDER, beside_package) if (folder / f"{arm}.py").is_file()), None)
    if folder is None:
        raise UserError(f"{FOLDER / arm}.py is not here: run the studies in a copy of the repository, which has it")
    return runpy.run_path(str(folder / f"{arm}.py"))["get_config"](stage)


def stages(arm, seed, scale, folder):
    """What to train for an arm, in order.

    Args:
      arm: name of a file of `configs/ablations/`.
      seed: of initialisation, actions and clips.
      scale: factor on all numbers of steps.
      folder: of this arm and seed; each stage has its run directory there.

    Returns:
      list of (ConfigDict, run directory).
    """
    found, before = [], None
    for stage in STAGES.get(arm, ("rl",)):
        config = config_of(arm, stage)
        config.seed = config.data.seed = seed
        if before is not None:
            config.init_from = str(before)
        _scale_steps(config, scale)
        before = Path(folder) / stage
        found.append((config, before))
    return found


def _scale_steps(config, scale):
    """Multiplies what counts steps; at least one remains of each, and one more than the learning rate rises for."""
    for name in ("total_steps", "eval_every", "log_every", "checkpoint_every"):
        config[name] = max(1, round(config[name] * scale))
    config.optimizer.warmup_steps = min(round(config.optimizer.warmup_steps * scale), config.total_steps - 1)
