"""Every field of a training run, with its default and its meaning.

The numbers are the paper's; where the release differs, the comment gives the release's value. The fields of the model
are listed in `model_config.py`, those of clips and procedural sequences in `data_options.py`.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, get_origin

from ml_collections import ConfigDict, config_dict

from relo_jax.config.data_options import CLIP_FIELDS, COCO_SMALLEST_SIDE, PROCEDURAL_FIELDS
from relo_jax.config.model_config import ModelConfig

DATASETS = (
    "procedural", "photos", "folder", "coco", "got10k", "lasot", "lasot_ext", "nfs", "otb100", "tnl2k", "trackingnet",
    "uav123", "vasttrack", "vot",
)  # fmt: skip
BENCHMARKS = tuple(name for name in DATASETS if name not in ("procedural", "photos", "folder", "coco"))
RULES = ("plain", "lasot", "lasot_ext", "uav123")  # of an evaluation, see relo_jax/eval/metrics.py
PAPER_DATA = "coco+got10k+lasot+trackingnet+vasttrack"  # in equal parts


def base() -> ConfigDict:
    """The paper's B256 warm-up, with every field of a config."""
    config = ConfigDict()
    config.seed = 0  # of initialisation, drop path and sampled actions
    config.stage = "warmup"
    config.init_from = ""  # run directory, checkpoint, .pth.tar, .safetensors, a starter, or an ImageNet Fast-iTPN .pt
    config.init_fresh = ()  # parts that start from random weights despite init_from: ("regression/center",)
    config.init_ignore = ()  # tensors of a PyTorch file that RELO has no place for, as patterns: ("head.*",)
    config.batch_size = 64  # clips, over all devices and hosts; release: 8 a GPU on 8 GPUs
    # Clips that are normalised together: by BatchNorm in the trained heads, in standardised advantages and in the focal
    # loss. 0: the whole batch, or each of its parts that gives a gradient. Release: a GPU's, 8 in the warm-up, 2 in RL.
    config.group_size = 0
    config.batch_norm = "batch"  # over all frames of a group; release: "frame", over one frame (train/groups.py)
    config.accumulate_steps = 1  # parts of a batch that go through the encoder one by one, to save memory
    config.total_steps = steps(epochs=90, clips=100_000, batch_size=64)
    config.log_every = 50
    config.eval_every = 5_000
    config.eval_batches = 8
    config.checkpoint_every = 1_000
    config.keep_checkpoints = 3

    # The devices of all hosts, as data x frames: the clips of a batch are split over data, the frames of a clip over
    # frames. -1: all devices that the other leaves. Both -1: as few devices a clip as the number of clips allows.
    config.mesh = ConfigDict({"data": -1, "frames": -1})
    config.mesh.shard_params = "none"  # "fsdp": split large arrays over both axes, instead of a copy a device

    config.model = _model()

    config.warmup = ConfigDict()
    config.warmup.search_frames = 2  # T
    config.warmup.giou_weight = 2.0
    config.warmup.l1_weight = 5.0
    config.warmup.center_focal_weight = 0.0  # release: 1.0
    config.warmup.decode_at = "center"  # release: "argmax"
    config.warmup.heatmap_peak = "rounded"  # "cell": in the cell that holds the centre, where boxes are learnt
    config.warmup.train = "all"  # "center": only the centre map, by its focal loss, on a finished warm-up

    config.rl = ConfigDict()
    config.rl.clip_length = 8  # T
    config.rl.iou_weight = 1.0
    config.rl.auc_weight = 1.0
    config.rl.auc = "thresholds"  # the paper's 21; "continuous": all thresholds, which makes the AUC the mean IoU
    # "rloo": the baseline is the mean of other samples; "expected": the exact gradient, see mdp/expected_gradient.py
    config.rl.estimator = "reinforce"
    config.rl.samples = 4  # of "rloo", actions a frame
    config.rl.entropy_weight = 0.0  # of a bonus on the policy's entropy, at the first step ...
    config.rl.entropy_weight_end = 0.0  # ... and after the last, linear in between
    config.rl.train = "heads"  # "all": encoder and boxes learn too; "last_blocks": only the encoder's last blocks
    config.rl.train_blocks = 2  # of "last_blocks"
    config.rl.box_weight = 1.0  # of the warm-up's box losses, where the encoder learns; 0 freezes their head
    config.rl.value_weight = 0.5
    config.rl.normalize_advantage = False  # over a group of clips; release, and so the published checkpoints: True
    config.rl.rollout = "teacher_forced"  # search regions around the truth; "closed_loop": around the last box chosen
    # "frame": the same numbers by lax.scan, as in every closed-loop rollout. An encoder that learns needs "clip".
    config.rl.path = "clip"
    config.rl.drop_path = False  # release: True, drop path stays active in the frozen encoder

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 1e-4
    config.optimizer.encoder_learning_rate = 1e-5  # in the RL stage also of the box head, where it learns
    config.optimizer.reference_batch = 64  # the batch size that the learning rates are meant for
    config.optimizer.scaling = "none"  # "linear", "sqrt": both rates times (batch_size / reference_batch) or its root
    config.optimizer.weight_decay = 1e-4
    config.optimizer.clip_norm = 0.1  # global norm of the gradient; 0: not clipped
    config.optimizer.schedule = "step"
    config.optimizer.drop_at = 72 / 90  # fraction of all steps after which "step" multiplies by 0.1
    config.optimizer.warmup_steps = 0  # of the learning rate; a run with no more steps than that takes a tenth of them

    config.data = _data()

    config.tracker = ConfigDict()  # travels with the checkpoint
    config.tracker.window_power = 3.0
    config.tracker.update_interval = 0  # frames between template updates; 0: off
    config.tracker.update_threshold = 25.0  # of the policy's logits; a "heatmap" stays below 1
    config.tracker.found_threshold = 0.25  # a lower score is low
    config.tracker.found_frames = 3  # low scores in a row until the target counts as lost, and others until it is found
    # Weights of the score, see tracking/confidence.py; `relo calibrate` writes them and the threshold. The defaults are
    # an uncalibrated score.
    config.tracker.score_bias = 0.0
    config.tracker.score_local_probability = 1.0
    config.tracker.score_value = 0.0
    config.tracker.score_appearance_similarity = 0.0
    config.tracker.score_center_proximity = 0.0

    # The tracker's options on single benchmarks. An open one is as published for the variant (published.py).
    config.benchmarks = ConfigDict()
    for name in BENCHMARKS:
        config.benchmarks[name] = ConfigDict()
        config.benchmarks[name].window_power = config_dict.placeholder(float)
        config.benchmarks[name].update_interval = config_dict.placeholder(int)
        config.benchmarks[name].update_threshold = config_dict.placeholder(float)
    return config


def steps(epochs: int, clips: int, batch_size: int) -> int:
    """Optimiser steps of that many epochs of that many clips; the last may be a fraction of a batch too long."""
    return math.ceil(epochs * clips / batch_size)


def _model() -> ConfigDict:
    """The section "model": a variant's name, and values in place of the variant's own; None keeps those."""
    model = ConfigDict({"variant": "b256"})
    for field in dataclasses.fields(ModelConfig)[1:]:
        kind = get_origin(field.type) or field.type
        same_in_all_variants = field.name in ("remat_policy", "propagation", "localizer")
        model[field.name] = field.default if same_in_all_variants else config_dict.placeholder(kind)
    return model


def _data() -> ConfigDict:
    """The section "data": which sequences, how clips are drawn from them and varied."""
    data = ConfigDict(CLIP_FIELDS)
    data.procedural = ConfigDict(PROCEDURAL_FIELDS)  # of "procedural" and "photos"
    data.name = "procedural"  # one of DATASETS, or a mixture: "coco+lasot+got10k"; "got10k/train" names a split
    data.weights = ()  # of a mixture, one each; (): equal parts
    data.root = ""  # folder of the datasets, or of the one; "": RELO_DATA_DIR. Not of "procedural"
    # Of "coco": width and height of an object must be larger, in pixels. The paper names no limit. 50 is that of the
    # visibility flags in the release's reader, which its sampler ignores for photographs: release: 0.
    data.coco_smallest_side = COCO_SMALLEST_SIDE
    data.one_based = False  # of "folder": boxes count pixels from 1 (OTB, UAV123)
    data.renderer = "host"  # what draws training clips of "procedural": "host", or the "device" that trains
    data.seed = 0  # of training clips; held-out clips are the same for all seeds
    data.workers = 2  # reader threads
    # Reader processes, each with that many threads; 0: the threads of the main process. Each holds up to workers + 4
    # batches ready, most of them in shared memory (/dev/shm).
    data.processes = 0
    data.epoch = 100_000  # clips between two reports of what was read
    return data


def flatten(config: ConfigDict | Mapping) -> dict[str, Any]:
    """Config (or nested dict) -> {"a.b": value}; lists become tuples."""
    flat = {}
    for name, value in (config.to_dict() if isinstance(config, ConfigDict) else config).items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": v for inner, v in flatten(value).items()})
        else:
            flat[name] = tuple(value) if isinstance(value, list) else value
    return flat
