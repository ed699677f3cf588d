"""The fields of a training run: one base config with every field and its default, and the checks on it.

A file in `configs/` is a `get_config(stage)` over `base()`; `--config.field=value` changes single fields. The numbers
are the paper's; where the authors' release differs, the comment says how to get the release. A field that nothing
reads does not exist, and a field that does not exist is an error that names the nearest one that does.
"""

import difflib
import json
import math

from ml_collections import ConfigDict, config_dict

from relo_jax.errors import UserError

DATASETS = (
    "procedural", "photos", "folder", "coco", "got10k", "lasot", "lasot_ext", "nfs", "otb100", "tnl2k", "trackingnet",
    "uav123", "vasttrack", "vot",
)  # fmt: skip
BENCHMARKS = tuple(name for name in DATASETS if name not in ("procedural", "photos", "folder", "coco"))
PAPER_DATA = "coco+got10k+lasot+trackingnet+vasttrack"  # in equal parts
_CHOICES = {
    "stage": ("warmup", "rl"),
    "model.init_scheme": ("release", "similarity"),
    "model.dtype": ("float32", "bfloat16", "float16"),
    "model.propagation": ("layer_aligned", "deep_to_shallow", "none"),
    "model.localizer": ("policy", "heatmap"),
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
}
_AT_LEAST_ONE = {
    "batch_size", "accumulate_steps", "mesh.model", "optimizer.reference_batch", "total_steps",
    "log_every", "eval_every", "eval_batches", "checkpoint_every", "keep_checkpoints",
    "warmup.search_frames", "rl.clip_length", "rl.train_blocks", "data.max_gap", "data.epoch",
    "data.procedural.width", "data.procedural.height", "data.procedural.num_frames", "data.procedural.bank_size",
    "data.procedural.smallest", "data.procedural.largest",
}  # fmt: skip
_PROBABILITIES = {"optimizer.drop_at", "data.grey", "data.flip", "data.frame_flip", "data.brightness",
                  "data.procedural.absence", "data.procedural.switch", "tracker.found_threshold"}  # fmt: skip
_MAY_CHANGE_ON_RESUME = {
    "log_every", "eval_every", "eval_batches", "checkpoint_every", "keep_checkpoints", "data.workers",
    "data.processes", "data.root", "data.epoch", "mesh.data", "mesh.model", "mesh.shard_params",
    "tracker.window_power", "tracker.update_interval", "tracker.update_threshold", "tracker.found_threshold",
    "tracker.score_bias", "tracker.score_mass", "tracker.score_value", "tracker.score_likeness",
    "tracker.score_nearness",
}  # fmt: skip


def base():
    """The paper's B256 warm-up: a ConfigDict with every field there is."""
    config = ConfigDict()
    config.seed = 0  # of initialisation, drop path and sampled actions
    config.stage = "warmup"
    config.init_from = ""  # run directory, checkpoint, .pth.tar, "starter-warmup", or an ImageNet Fast-iTPN .pt
    config.init_fresh = ()  # parts of the model that begin from nothing whatever init_from has: ("regression/center",)
    config.batch_size = 64  # clips, over all devices and hosts; release: 8 a GPU on 8 GPUs
    config.accumulate_steps = 1  # parts of a batch that go through the encoder one after the other: less memory
    config.total_steps = steps(epochs=90, clips=100_000, batch_size=64)
    config.log_every = 50
    config.eval_every = 5_000
    config.eval_batches = 8
    config.checkpoint_every = 1_000
    config.keep_checkpoints = 3

    # All devices of all hosts, data x model; clips are split over data.
    config.mesh = ConfigDict({"data": -1, "model": 1})  # -1: what model leaves
    config.mesh.shard_params = "none"  # "fsdp": large arrays are split over both axes, instead of one copy a device

    # A variant's name; the other fields replace its values, None keeps them (see `RELO` for what they mean).
    config.model = ConfigDict({"variant": "b256"})
    for name in ("width", "depth", "heads", "temporal_tokens", "templates", "search_size", "template_size"):
        config.model[name] = config_dict.placeholder(int)
    config.model.head_width = config_dict.placeholder(int)
    config.model.stem_blocks = config_dict.placeholder(tuple)
    config.model.drop_path = config_dict.placeholder(float)
    config.model.layer_scale = config_dict.placeholder(float)
    config.model.init_scheme = config_dict.placeholder(str)
    config.model.remat = config_dict.placeholder(bool)
    config.model.dtype = config_dict.placeholder(str)
    config.model.propagation = "layer_aligned"  # of temporal tokens; to compare with: "deep_to_shallow", "none"
    config.model.localizer = "policy"  # what says where when tracking; to compare with: "heatmap", the centre map

    config.warmup = ConfigDict()
    config.warmup.search_frames = 2  # T
    config.warmup.giou_weight = 2.0
    config.warmup.l1_weight = 5.0
    config.warmup.center_focal_weight = 0.0  # release: 1.0
    config.warmup.decode_at = "center"  # release: "argmax"
    config.warmup.heatmap_peak = "rounded"  # "cell": in the cell that holds the centre, where the boxes are learnt
    config.warmup.train = "all"  # "center": the centre map alone, by its focal loss, on a warm-up that stays as it is

    config.rl = ConfigDict()
    config.rl.clip_length = 8  # T
    config.rl.iou_weight = 1.0
    config.rl.auc_weight = 1.0
    config.rl.auc = "thresholds"  # the paper's 21; "continuous": all of them, which makes the AUC the mean IoU
    config.rl.estimator = "reinforce"  # "rloo": baseline from other samples; "expected": exact, see mdp/expected.py
    config.rl.samples = 4  # of "rloo", actions a frame
    config.rl.entropy_weight = 0.0  # of a bonus on the policy's entropy, at the first step ...
    config.rl.entropy_weight_end = 0.0  # ... and after the last, in a straight line between
    config.rl.train = "heads"  # "all": encoder and boxes learn too; "last_blocks": of the encoder, its last blocks
    config.rl.train_blocks = 2  # of "last_blocks"
    config.rl.box_weight = 1.0  # of the warm-up's box losses, where the encoder learns; 0: their head stays frozen
    config.rl.value_weight = 0.5
    config.rl.normalize_advantage = False  # the release, and so the published checkpoints: True
    config.rl.rollout = "teacher_forced"  # regions around the truth; "closed_loop": around the last box chosen
    # "frame": the same numbers by lax.scan, as closed-loop rollouts always go. An encoder that learns goes by "clip".
    config.rl.path = "clip"
    config.rl.drop_path = False  # release: True, drop path stays active in the frozen encoder

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 1e-4
    config.optimizer.encoder_learning_rate = 1e-5
    config.optimizer.reference_batch = 64  # the batch size that the learning rates are meant for
    config.optimizer.scaling = "none"  # "linear", "sqrt": both rates times (batch_size / reference_batch) or its root
    config.optimizer.weight_decay = 1e-4
    config.optimizer.clip_norm = 0.1
    config.optimizer.schedule = "step"
    config.optimizer.drop_at = 72 / 90  # fraction of all steps after which "step" multiplies by 0.1
    config.optimizer.warmup_steps = 0

    config.data = _data()

    config.tracker = ConfigDict()  # travels with the checkpoint
    config.tracker.window_power = 3.0
    config.tracker.update_interval = 0  # frames between template updates; 0: off
    config.tracker.update_threshold = 25.0  # of the policy's logits; the heights of a "heatmap" are below 1
    config.tracker.found_threshold = 0.25  # score from which a result counts as found
    # The score's weights, see score.py; written by `relo calibrate`, with the threshold. These: not calibrated.
    config.tracker.score_bias = 0.0
    config.tracker.score_mass = 1.0
    config.tracker.score_value = 0.0
    config.tracker.score_likeness = 0.0
    config.tracker.score_nearness = 0.0

    # The tracker's options on single benchmarks. What is left open is as published for the variant (published.py).
    config.benchmarks = ConfigDict()
    for name in BENCHMARKS:
        config.benchmarks[name] = ConfigDict()
        config.benchmarks[name].window_power = config_dict.placeholder(float)
        config.benchmarks[name].update_interval = config_dict.placeholder(int)
        config.benchmarks[name].update_threshold = config_dict.placeholder(float)
    return config


def _data():
    """The section "data" of `base()`: which sequences, how clips are drawn from them and varied."""
    data = ConfigDict()
    data.name = "procedural"  # one of DATASETS, or a mixture: "coco+lasot+got10k"; "got10k/train" names a split
    data.weights = ()  # of a mixture, one each; (): equal parts
    data.root = ""  # folder of the datasets, or of the one; "": RELO_DATA_DIR. Not of "procedural"
    data.one_based = False  # of "folder": boxes count pixels from 1 (OTB, UAV123)
    data.seed = 0
    data.workers = 2  # reader threads
    data.processes = 0  # reader processes, each with so many threads; 0: the threads of this one
    data.epoch = 100_000  # clips between two accounts of what was read
    data.reduced_decode = True  # decode a JPEG at 1/2, 1/4, 1/8 where its crops are shrunk at least as much
    data.max_gap = 400  # frames between a clip's base frame and any other
    data.grey = 0.05  # probability, joint over the clip
    data.flip = 0.5  # probability of a horizontal flip, joint over the clip
    data.frame_flip = 0.5  # probability of another flip, each frame for itself
    data.brightness = 0.2  # factor U(1 - b, 1 + b), each frame
    data.scale_jitter = 0.5  # search crop: size * exp(N(0, s^2)) a side
    data.shift_jitter = 3.5  # search crop: centre + sqrt(w h) * s * (U - 0.5) an axis
    # Of "procedural" and "photos"; sizes in pixels of the frame, speeds in target sizes a frame.
    data.procedural = ConfigDict()
    data.procedural.width = 448
    data.procedural.height = 336
    data.procedural.num_frames = 120
    data.procedural.distractors = 3  # at most
    data.procedural.clutter = 6  # at most
    data.procedural.occlusion = 0.5  # probability of something to pass behind
    data.procedural.smallest = 20.0  # side of the target at the start
    data.procedural.largest = 64.0
    data.procedural.elongation = 0.0  # spread of log(w / h) of targets, beside what their silhouettes have
    data.procedural.slowest = 0.03
    data.procedural.fastest = 0.22
    data.procedural.jump = 0.03  # largest probability a frame of a sudden displacement
    data.procedural.bending = 6.0  # largest bend of soft objects, in 96ths of their size
    data.procedural.shadow = 0.3  # probability of a shadow or a patch of light
    data.procedural.switch = 0.0  # probability that the light comes on or goes out
    data.procedural.grain = 0.15  # largest strength of the camera's noise
    data.procedural.blur = 1.5  # largest blur of the camera, pixels
    data.procedural.grade = 0.5  # probability of paler or tinted colours
    data.procedural.compression = 0.15  # probability of visible JPEG compression
    data.procedural.bank_size = 256  # textures a split
    data.procedural.absence = 0.0  # probability that the target goes out of sight for a while
    return data


def paper(stage):
    """The paper's schedule of a stage, for a `get_config(stage)`: 90 epochs, learning rate x 0.1 after the 72nd.

    Raises:
      UserError: neither `warmup` nor `rl`.
    """
    config = base()
    _check_value("stage", stage, str)
    config.stage = stage
    if stage == "rl":
        config.batch_size = config.optimizer.reference_batch = 16  # release: 2 a GPU on 8 GPUs
        config.total_steps = steps(epochs=90, clips=2_500, batch_size=16)
        config.eval_every = 1_000
        config.data.epoch = 2_500
    return config


def starter(stage):
    """The recipe of the starter and the demo: the variant `tiny` from nothing, on procedural clips.

    Without ImageNet weights the paper's warm-up teaches no comparing of template and search region, so this one is the
    release's: a centre map with a focal loss beside the box losses.

    Raises:
      UserError: neither `warmup` nor `rl`.
    """
    config = paper(stage)
    config.model.variant = "tiny"
    config.warmup.center_focal_weight = 1.0
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 50
    config.optimizer.learning_rate = 1e-3
    config.optimizer.encoder_learning_rate = 1e-3  # nothing pretrained to be careful with
    config.optimizer.clip_norm = 1.0
    config.model.remat = True  # on CPUs recomputing a block is cheaper than the memory traffic of keeping it
    config.batch_size = config.optimizer.reference_batch = 32
    config.total_steps = 4_000
    config.eval_every = 1_000
    config.checkpoint_every = 250
    # Milder than the paper's: a tracker meets its target near the centre of the region, at almost the last size.
    config.data.scale_jitter = 0.25
    config.data.shift_jitter = 2.5
    if stage == "rl":
        config.batch_size = config.optimizer.reference_batch = 16
        config.total_steps = 300
        config.optimizer.warmup_steps = 20
        config.eval_every = 100
        config.checkpoint_every = 100
        # On two cores the activations of one frame stay in the cache, those of all frames of the clips do not.
        config.rl.path = "frame"
        config.rl.normalize_advantage = True
        # Nearer still: the policy's own errors are small, so the centre is a good guess that it may learn.
        config.data.shift_jitter = 1.75
    config.tracker.window_power = 1.0
    return config


def steps(epochs, clips, batch_size):
    """Optimiser steps of so many epochs of so many clips; the last step may be a fraction of a batch too long."""
    return math.ceil(epochs * clips / batch_size)


def model_overrides(config):
    """The fields of `config.model` that replace the variant's, for `RELO.from_variant(config.model.variant, **...)`."""
    return {k: v for k, v in config.model.to_dict().items() if k != "variant" and v is not None}


def flatten(config):
    """Config (or nested dict) -> {"a.b": value}."""
    flat = {}
    for name, value in (config.to_dict() if isinstance(config, ConfigDict) else config).items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": v for inner, v in flatten(value).items()})
        else:
            flat[name] = tuple(value) if isinstance(value, list) else value
    return flat


def unknown_field(name, where="config"):
    """The UserError for a field that does not exist."""
    known = list(flatten(base()))
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    tail = [k for k in known if k.split(".")[-1] == name.split(".")[-1]]
    nearest = (tail or match or [None])[0]
    hint = f"did you mean {nearest!r}?" if nearest else "see relo_jax/config.py for the fields"
    return UserError(f"{where} has no field {name!r}: {hint}")


def validate(config):
    """Checks that a config has the fields of `base()`, each with a value that makes sense.

    Raises:
      UserError: names the field, its value and what is allowed; an unknown field with the nearest known one.
    """
    known, given = base(), flatten(config)
    expected = flatten(known)
    for name in given:
        if name not in expected:
            raise unknown_field(name)
    for name, default in expected.items():
        if name not in given:
            raise UserError(f"config lacks field {name!r} (default {default!r})")
    for name, value in given.items():
        _check_value(name, value, _type(known, name))
    if config["optimizer"]["warmup_steps"] >= config["total_steps"]:
        raise UserError(f"config.optimizer.warmup_steps={config['optimizer']['warmup_steps']} leaves none of "
                        f"config.total_steps={config['total_steps']} for training")  # fmt: skip
    if config["stage"] == "warmup":
        _check_warmup(config)
    if config["stage"] == "rl":
        if config["model"]["localizer"] == "heatmap":
            raise UserError("config.model.localizer is 'heatmap', but the RL stage trains a policy: leave it at "
                            "'policy', or train the map in a warm-up with config.warmup.train=center")  # fmt: skip
        _check_rl(config["rl"])
    _check_data(config["data"])


def _check_warmup(config):
    """Raises UserError for what needs a centre map that nothing trains, or a warm-up that is not given."""
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
        raise UserError("config.warmup.train is 'center': the rest stays as it is, so give a warm-up to start from "
                        "with config.init_from")  # fmt: skip
    if warmup["train"] == "center" and config["rl"]["rollout"] == "closed_loop":
        raise UserError("config.rl.rollout is 'closed_loop', where a policy decides what is seen, and with "
                        "config.warmup.train=center none does: set 'teacher_forced'")  # fmt: skip


def _check_rl(rl):
    """Raises UserError for estimators that the rest of the section leaves undefined."""
    if rl["estimator"] == "rloo" and rl["samples"] < 2:
        raise UserError(f"config.rl.samples is {rl['samples']}: leaving one out ('rloo') takes at least 2")
    if rl["rollout"] == "closed_loop" and rl["estimator"] != "reinforce":
        raise UserError(f"config.rl.estimator is {rl['estimator']!r}: in the closed loop (config.rl.rollout) only what "
                        "was done has a known reward: use 'reinforce'")  # fmt: skip
    if rl["rollout"] == "closed_loop" and rl["train"] != "heads":
        raise UserError(f"config.rl.train is {rl['train']!r}: closed-loop rollouts (config.rl.rollout) go frame by "
                        "frame, without gradients for the encoder: use 'heads'")  # fmt: skip


def _check_data(data):
    """Raises UserError for datasets that do not exist, have no folder, or whose weights are not theirs."""
    names = data["name"].split("+")
    for name in names:
        _check_choice("data.name", name.partition("/")[0], DATASETS, "config", " (several with a + between)")
    for name in {"photos", "folder"} & set(names):
        if not data["root"]:
            raise UserError(f"config.data.name is {data['name']!r}: name the folder of {name} with config.data.root")
    weights = data["weights"]
    numbers = all(isinstance(weight, (int, float)) for weight in weights)
    if weights and not (numbers and len(weights) == len(names) and min(weights) >= 0 and 0 < sum(weights) < math.inf):
        raise UserError(
            f"config.data.weights is {tuple(weights)}: expected {len(names)} numbers from 0, one a dataset of "
            f"{data['name']}, not all 0"
        )


def to_dict(config):
    """The config as plain nested dicts (tuples as lists) that `from_dict` takes back."""
    return json.loads(json.dumps(config.to_dict()))


def from_dict(values, where="config"):
    """A validated config: `base()` with the values of a nested dict, such as a run's `config.json`.

    Raises:
      UserError: unknown field (names the nearest), or a bad value.
    """
    config = base()
    expected = flatten(config)
    for name, value in flatten(values).items():
        if name not in expected:
            raise unknown_field(name, where)
        if value is not None:
            _check_value(name, value, _type(config, name), where)
            *sections, last = name.split(".")
            node = config
            for section in sections:
                node = node[section]
            node[last] = value
    validate(config)
    return config


def check_same_run(saved, config, where, step):
    """Whether a run saved with one config may go on with another: only what does not touch the result may differ.

    `total_steps` may grow as long as no step that was done would have had another learning rate in the longer run:
    before the drop of the schedule "step", and never with a cosine, which is laid out over all steps.

    Args:
      saved, config: nested dicts or ConfigDicts. A field that is younger than the saved run had its default there.
      where: the file that `saved` came from, for the message.
      step: number of steps done.

    Raises:
      UserError: names the field that differs.
    """
    saved, given = flatten(base()) | flatten(saved), flatten(config)
    for name in sorted(saved.keys() | given.keys()):
        old, new = saved.get(name), given.get(name)
        if name in _MAY_CHANGE_ON_RESUME or name.startswith("benchmarks.") or old == new:
            continue
        if name == "optimizer.reference_batch" and given["optimizer.scaling"] == "none":
            continue  # nothing is scaled by it
        if name == "total_steps" and old is not None and new > old:
            if given["optimizer.schedule"] == "step" and step <= int(old * given["optimizer.drop_at"]):
                continue
            raise UserError(
                f"{where} was made with total_steps={old}, and with {new} the {step} steps done would have had other "
                f"learning rates: keep {old}, or start another run from this one with --config.init_from"
            )
        raise UserError(f"{where} was made with {name}={old!r}, not {new!r}: give that value or another --workdir")


def _type(config, name):
    *sections, last = name.split(".")
    for section in sections:
        config = config[section]
    return config.get_type(last)


def _check_value(name, value, kind, where="config"):
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
    if name == "mesh.data" and (value == 0 or value < -1):
        raise wrong("a number of devices, or -1 for all that config.mesh.model leaves")
    if name == "tracker.score_bias" and math.isfinite(value):
        return
    if kind in (int, float) and name != "mesh.data" and (not math.isfinite(value) or value < 0):
        raise wrong("a finite number, not negative")


def _check_choice(name, value, known, where, more=""):
    """Raises UserError unless the value is one of those that are known; names the nearest."""
    if value not in known:
        near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UserError(f"{where}.{name} is {value!r}: expected one of {', '.join(known)}{more}{hint}")
