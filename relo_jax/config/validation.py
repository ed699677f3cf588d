"""Which configs are accepted: the check of every field, the way to JSON and back, and what may change on resume."""

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from relo_jax.config.fields import DATASETS, RULES, base, flatten
from relo_jax.config.model_config import CHOICES as MODEL_CHOICES
from relo_jax.config.renamed import REMOVED, with_current_names
from relo_jax.errors import UserError, did_you_mean

STAGES = ("warmup", "rl")  # of training
_CHOICES = {
    **{f"model.{name}": known for name, known in MODEL_CHOICES.items()},
    "eval.rules": RULES,
    "batch_norm": ("batch", "frame"),
    "warmup.decode_at": ("center", "argmax"),
    "warmup.heatmap_peak": ("rounded", "cell"),
    "warmup.train": ("all", "center"),
    "rl.train": ("heads", "last_blocks", "all"),
    "rl.path": ("clip", "frame"),
    "rl.estimator": ("reinforce", "rloo", "expected"),
    "rl.auc": ("thresholds", "continuous"),
    "rl.rollout": ("teacher_forced", "closed_loop"),
    "optimizer.schedule": ("step", "cosine"),
    "optimizer.scaling": ("none", "linear", "sqrt"),
    "mesh.shard_params": ("none", "fsdp"),
    "data.renderer": ("host", "device"),
}
_AT_LEAST_ONE = {
    "batch_size", "accumulate_steps", "optimizer.reference_batch", "total_steps",
    "log_every", "eval_every", "eval_batches", "checkpoint_every", "keep_checkpoints",
    "warmup.search_frames", "rl.clip_length", "rl.train_blocks", "data.max_gap", "data.epoch",
    "data.procedural.width", "data.procedural.height", "data.procedural.num_frames", "data.procedural.bank_size",
    "data.procedural.smallest", "data.procedural.largest", "eval.batch", "eval.count", "tracker.found_frames",
}  # fmt: skip
_PROBABILITIES = {"optimizer.drop_at", "data.grey", "data.flip", "data.frame_flip", "data.brightness",
                  "data.procedural.absence", "data.procedural.switch", "data.procedural.lighting",
                  "data.procedural.night", "data.procedural.turning", "data.procedural.spray",
                  "data.procedural.articulated", "tracker.found_threshold"}  # fmt: skip
_DEVICES = ("mesh.data", "mesh.frames")
_MAY_CHANGE_ON_RESUME = {
    "log_every", "eval_every", "eval_batches", "checkpoint_every", "keep_checkpoints", "data.workers",
    "data.processes", "data.root", "data.epoch", "mesh.data", "mesh.frames", "mesh.shard_params",
}  # fmt: skip
_SECTIONS_MAY_CHANGE_ON_RESUME = ("benchmarks.", "tracker.")


def unknown_field(name: str, where: Path | str = "config", known: ConfigDict | None = None) -> UserError:
    """The UserError for a field that does not exist; names the nearest one of `known` (None: of a training's)."""
    if name in REMOVED:
        return UserError(f"{where} has no field {name!r} any more: {REMOVED[name][1]}")
    training = flatten(base())
    names = list(training if known is None else flatten(known))
    same_last_part = [k for k in names if k.split(".")[-1] == name.split(".")[-1]]
    cutoff = 0.0 if same_last_part else 0.5
    nearest = difflib.get_close_matches(name, same_last_part or names, n=1, cutoff=cutoff)
    if name in training and name not in names:
        return UserError(f"{where} has no field {name!r}: it is one of training; see relo_jax/config/evaluation.py")
    file = "evaluation" if known is not None and "eval" in known else "fields"
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"see relo_jax/config/{file}.py"
    return UserError(f"{where} has no field {name!r}: {hint}")


def validate(config: ConfigDict) -> None:
    """Checks that a config has the fields of `base()`, each with a value that makes sense.

    Raises:
      UserError: names the field, its value and what is allowed; for an unknown field the nearest known one.
    """
    if not isinstance(config, ConfigDict):
        raise UserError(f"{str(config)[:60]!r} is no config: make one, such as relo_jax.get_config('tiny:rl')")
    if "eval" in config or config.get("stage") == "eval":
        raise UserError("config.stage is 'eval', for relo eval: the stages of training are warmup and rl")
    check_fields(config, base())
    _check_choice("stage", config["stage"], STAGES, "config")
    if config["init_ignore"] and not config["init_from"]:
        raise UserError(f"config.init_ignore is {tuple(config['init_ignore'])}, but no file is named: "
                        "give one with config.init_from")  # fmt: skip
    if config["stage"] == "warmup":
        _check_warmup(config)
    if config["stage"] == "rl":
        if config["model"]["localizer"] == "heatmap":
            raise UserError("config.model.localizer is 'heatmap', but the RL stage trains a policy: leave it at "
                            "'policy', or train the map in a warm-up with config.warmup.train=center")  # fmt: skip
        _check_rl(config["rl"])
    _check_groups(config)
    _check_data(config["data"])


def check_fields(config: ConfigDict, known: ConfigDict) -> None:
    """Checks that a config has the fields of another, with values of their types. None is right where `known` has it.

    Raises:
      UserError: names the field, its value and what is allowed; for an unknown field the nearest known one.
    """
    given, expected = flatten(config), flatten(known)
    for name in given:
        if name not in expected:
            raise unknown_field(name, known=known)
    for name, default in expected.items():
        if name not in given:
            raise UserError(f"config lacks field {name!r} (default {default!r})")
    for name, value in given.items():
        if value is not None or expected[name] is not None:
            check_value(name, value, _type(known, name))


def _check_warmup(config: ConfigDict) -> None:
    """Raises UserError where nothing trains a centre map that is needed, or the warm-up to start from is missing."""
    warmup = config["warmup"]
    needs_center = {
        "warmup.decode_at": warmup["decode_at"] == "argmax",
        "warmup.train": warmup["train"] == "center",
        "model.localizer": config["model"]["localizer"] == "heatmap",
    }
    for name, needs in needs_center.items():
        if needs and warmup["center_focal_weight"] == 0:
            section, field = name.split(".")
            raise UserError(f"config.{name} is {config[section][field]!r} but nothing trains the centre map: "
                            "set config.warmup.center_focal_weight=1.0")  # fmt: skip
    if warmup["train"] == "center" and not config["init_from"]:
        raise UserError("config.warmup.train is 'center', which trains nothing but the centre map: name a finished "
                        "warm-up with config.init_from")  # fmt: skip
    if warmup["train"] == "center" and config["rl"]["rollout"] == "closed_loop":
        raise UserError("config.rl.rollout is 'closed_loop', where a policy chooses the search regions, and "
                        "config.warmup.train=center trains none: set 'teacher_forced'")  # fmt: skip


def _check_rl(rl: ConfigDict) -> None:
    """Raises UserError for estimators that the rest of the section leaves undefined."""
    if rl["estimator"] == "rloo" and rl["samples"] < 2:
        raise UserError(f"config.rl.samples is {rl['samples']}: 'rloo' leaves one out, and needs at least 2")
    if rl["rollout"] == "closed_loop" and rl["estimator"] != "reinforce":
        raise UserError(f"config.rl.estimator is {rl['estimator']!r}: in the closed loop (config.rl.rollout) only the "
                        "chosen action has a known reward: use 'reinforce'")  # fmt: skip
    if rl["rollout"] == "closed_loop" and rl["train"] != "heads":
        raise UserError(f"config.rl.train is {rl['train']!r}: closed-loop rollouts (config.rl.rollout) go frame by "
                        "frame, without gradients for the encoder: use 'heads'")  # fmt: skip


def _check_groups(config: ConfigDict) -> None:
    """Raises UserError for batches that are not whole groups, and advantages that have no standard deviation."""
    group, rl = config["group_size"], config["rl"]
    frozen = rl["train"] == "heads" if config["stage"] == "rl" else config["warmup"]["train"] == "center"
    parts = 1 if frozen else config["accumulate_steps"]
    if group and config["batch_size"] % (group * parts):
        times = f" times config.accumulate_steps={parts}" if parts > 1 else ""
        raise UserError(f"config.batch_size={config['batch_size']} is not a multiple of config.group_size={group}"
                        f"{times}: give a multiple of {group * parts}")  # fmt: skip
    # In the closed loop all frames of a clip but the first may be lost.
    frames = 1 if rl["rollout"] == "closed_loop" else rl["clip_length"]
    sampled = config["stage"] == "rl" and rl["estimator"] == "reinforce"
    if sampled and rl["normalize_advantage"] and (group or config["batch_size"] // parts) * frames < 2:
        raise UserError("config.rl.normalize_advantage standardises over one frame, whose deviation is undefined: give "
                        "a larger config.group_size (0: the whole batch) or config.batch_size")  # fmt: skip


def _check_data(data: ConfigDict) -> None:
    """Raises UserError for unknown datasets, a missing folder, and weights that do not fit the datasets."""
    names = data["name"].split("+")
    for name in names:
        _check_choice("data.name", name.partition("/")[0], DATASETS, "config", " (join several with +)")
    for name, what in (("photos", "the photographs"), ("folder", "the sequences")):
        if name in names and not data["root"]:
            raise UserError(f"config.data.name is {data['name']!r}: name the folder of {what} with config.data.root")
    if data["renderer"] == "device" and data["name"] != "procedural":
        raise UserError(f"config.data.renderer is 'device', which draws 'procedural' only, and config.data.name is "
                        f"{data['name']!r}: set renderer to 'host'")  # fmt: skip
    if data["renderer"] == "device" and data["procedural"]["absence"]:
        raise UserError("config.data.procedural.absence is not drawn on the device: set it to 0, or "
                        "config.data.renderer to 'host'")  # fmt: skip
    weights = data["weights"]
    numbers = all(isinstance(weight, (int, float)) for weight in weights)
    if weights and not (numbers and len(weights) == len(names) and min(weights) >= 0 and 0 < sum(weights) < math.inf):
        raise UserError(
            f"config.data.weights is {tuple(weights)}: expected {len(names)} numbers from 0, one a dataset of "
            f"{data['name']}, not all 0"
        )


def to_dict(config: ConfigDict) -> dict:
    """The config as plain nested dicts (tuples as lists) that `from_dict` takes back."""
    return json.loads(json.dumps(config.to_dict()))


def from_dict(values: Mapping, where: Path | str = "config") -> ConfigDict:
    """A validated config: `base()` with the values of a nested dict, such as a run's `config.json`.

    Raises:
      UserError: unknown field (names the nearest), or a bad value.
    """
    config = base()
    replace_fields(config, values, where)
    validate(config)
    return config


def replace_fields(config: ConfigDict, values: Mapping, where: Path | str) -> None:
    """Sets the fields of a nested dict; None leaves a field as it is.

    Raises:
      UserError: unknown field (names the nearest), or a value of another type or out of range.
    """
    expected = flatten(config)
    for name, value in flatten(with_current_names(values, where)).items():
        if name not in expected:
            raise unknown_field(name, where, known=config)
        if value is not None:
            check_value(name, value, _type(config, name), where)
            section, last = _place(config, name)
            section[last] = value


def check_same_run(saved: Mapping, config: Mapping | ConfigDict, where: Path | str, step: int) -> None:
    """Checks that a run saved with one config may continue with another: only fields without effect on it may differ.

    `total_steps` may grow as long as no finished step would have had another learning rate in the longer run: before
    the drop of the schedule "step", and never with a cosine or an entropy bonus, which are laid out over all steps.

    Args:
      saved: the config of the run. A field that is younger than the run had its default there.
      config: the config to continue with.
      where: the file that `saved` came from, for the message.
      step: number of finished steps.

    Raises:
      UserError: names the field that differs.
    """
    saved, given = flatten(base()) | flatten(with_current_names(saved, where)), flatten(config)
    for name in sorted(saved.keys() | given.keys()):
        old, new = saved.get(name), given.get(name)
        if name in _MAY_CHANGE_ON_RESUME or name.startswith(_SECTIONS_MAY_CHANGE_ON_RESUME) or old == new:
            continue
        if name == "optimizer.reference_batch" and given["optimizer.scaling"] == "none":
            continue  # nothing is scaled by it
        if name == "total_steps" and old is not None and new > old:
            same_rates = given["optimizer.schedule"] == "step" and step <= int(old * given["optimizer.drop_at"])
            same_bonus = given["stage"] != "rl" or given["rl.entropy_weight"] == given["rl.entropy_weight_end"]
            if same_rates and same_bonus:
                continue
            raise UserError(
                f"{where} was made with total_steps={old}, and with {new} the {step} steps done would have had other "
                f"{'entropy bonuses' if same_rates else 'learning rates'}: keep {old}, or start another run from this "
                "one with --config.init_from"
            )
        raise UserError(f"{where} was made with {name}={old!r}, not {new!r}: give that value or another --workdir")


def _place(config: ConfigDict, name: str) -> tuple[ConfigDict, str]:
    """The section that a dotted name leads to, and the name in it."""
    *sections, last = name.split(".")
    for section in sections:
        config = config[section]
    return config, last


def _type(config: ConfigDict, name: str) -> type[Any]:
    section, last = _place(config, name)
    return section.get_type(last)


def check_value(name: str, value: Any, kind: type[Any], where: Path | str = "config") -> None:
    """Raises UserError unless the value has the field's type and range; None leaves a model's or benchmark's open."""

    def wrong(expected):
        return UserError(f"{where}.{name} is {value!r}: expected {expected}")

    if value is None and name.startswith(("model.", "benchmarks.")):
        return
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise wrong(f"a value of type {kind.__name__}")
    if name in _CHOICES:
        _check_choice(name, value, _CHOICES[name], where)
    if name in _AT_LEAST_ONE and value < 1:
        raise wrong("at least 1")
    if name in _PROBABILITIES and not 0 <= value <= 1:
        raise wrong("a number from 0 to 1")
    if name in _DEVICES and (value == 0 or value < -1):
        raise wrong("a number of devices, or -1 for all that the other axis leaves")
    if name.endswith((".score_bias", ".update_threshold")) and math.isfinite(value):  # of logits: may be negative
        return
    if kind in (int, float) and name not in _DEVICES and (not math.isfinite(value) or value < 0):
        raise wrong("a finite number, not negative")


def _check_choice(name: str, value: str, known: Iterable[str], where: Path | str, more: str = "") -> None:
    """Raises UserError unless the value is a known one; names the nearest."""
    if value not in known:
        raise UserError(f"{where}.{name} is {value!r}{did_you_mean(value, known, cutoff=0.5)}{more}")
