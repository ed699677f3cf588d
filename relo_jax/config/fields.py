"""Every field of a training run, with its default and what it means.

The numbers are the paper's; where the authors' release differs, the comment says how to get the release. A field that
nothing reads does not exist.
"""

import math

from ml_collections import ConfigDict, config_dict

DATASETS = (
    "procedural", "photos", "folder", "coco", "got10k", "lasot", "lasot_ext", "nfs", "otb100", "tnl2k", "trackingnet",
    "uav123", "vasttrack", "vot",
)  # fmt: skip
BENCHMARKS = tuple(name for name in DATASETS if name not in ("procedural", "photos", "folder", "coco"))
PAPER_DATA = "coco+got10k+lasot+trackingnet+vasttrack"  # in equal parts


def base():
    """The paper's B256 warm-up: a ConfigDict with every field there is."""
    config = ConfigDict()
    config.seed = 0  # of initialisation, drop path and sampled actions
    config.stage = "warmup"
    config.init_from = ""  # run directory, checkpoint, .pth.tar, a starter, or an ImageNet Fast-iTPN .pt
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
    config.model.remat_policy = "nothing"  # with remat, what of a block is stored; "dots": outputs of linear layers
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
    config.optimizer.encoder_learning_rate = 1e-5  # in the RL stage also of the boxes' head, where it learns
    config.optimizer.reference_batch = 64  # the batch size that the learning rates are meant for
    config.optimizer.scaling = "none"  # "linear", "sqrt": both rates times (batch_size / reference_batch) or its root
    config.optimizer.weight_decay = 1e-4
    config.optimizer.clip_norm = 0.1  # global norm of the gradient; 0: not clipped
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
    config.tracker.score_local_probability = 1.0
    config.tracker.score_value = 0.0
    config.tracker.score_appearance_similarity = 0.0
    config.tracker.score_center_proximity = 0.0

    # The tracker's options on single benchmarks. What is left open is as published for the variant (published.py).
    config.benchmarks = ConfigDict()
    for name in BENCHMARKS:
        config.benchmarks[name] = ConfigDict()
        config.benchmarks[name].window_power = config_dict.placeholder(float)
        config.benchmarks[name].update_interval = config_dict.placeholder(int)
        config.benchmarks[name].update_threshold = config_dict.placeholder(float)
    return config


def steps(epochs, clips, batch_size):
    """Optimiser steps of so many epochs of so many clips; the last step may be a fraction of a batch too long."""
    return math.ceil(epochs * clips / batch_size)


def _data():
    """The section "data" of `base()`: which sequences, how clips are drawn from them and varied."""
    data = ConfigDict()
    data.name = "procedural"  # one of DATASETS, or a mixture: "coco+lasot+got10k"; "got10k/train" names a split
    data.weights = ()  # of a mixture, one each; (): equal parts
    data.root = ""  # folder of the datasets, or of the one; "": RELO_DATA_DIR. Not of "procedural"
    data.one_based = False  # of "folder": boxes count pixels from 1 (OTB, UAV123)
    data.seed = 0  # of training clips; held-out clips are the same for all seeds
    data.workers = 2  # reader threads
    # Reader processes, each with so many threads; 0: the threads of this one. Each holds up to workers + 4 batches
    # ready, most of them in shared memory (/dev/shm).
    data.processes = 0
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
    data.procedural.sensor_noise = 0.15  # largest strength of the camera's noise
    data.procedural.blur = 1.5  # largest blur of the camera, pixels
    data.procedural.grade = 0.5  # probability of paler or tinted colours
    data.procedural.compression = 0.15  # probability of visible JPEG compression
    data.procedural.exposure = 0.0  # largest share of the time between two frames in which moving things smear
    data.procedural.pixel = 0.0  # largest side of the camera's pixels, in those of the frame, from 1; 0: as drawn
    data.procedural.bank_size = 256  # textures a split
    data.procedural.absence = 0.0  # probability that the target goes out of sight for a while
    return data


def flatten(config):
    """Config (or nested dict) -> {"a.b": value}."""
    flat = {}
    for name, value in (config.to_dict() if isinstance(config, ConfigDict) else config).items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": v for inner, v in flatten(value).items()})
        else:
            flat[name] = tuple(value) if isinstance(value, list) else value
    return flat
