"""The recipes that the files of `configs/` start from: the paper's, and the tiny starter's."""

from ml_collections import ConfigDict

from relo_jax.config.fields import PAPER_DATA, base, steps
from relo_jax.config.validation import STAGES
from relo_jax.errors import UserError, did_you_mean


def paper(stage: str) -> ConfigDict:
    """The paper's schedule of a stage, for a `get_config(stage)`: 90 epochs, learning rate x 0.1 after the 72nd.

    Raises:
      UserError: neither `warmup` nor `rl`.
    """
    config = base()
    if stage == "eval":
        raise UserError("config.stage is 'eval': relo_jax.config.evaluation makes the config of an evaluation")
    if stage not in STAGES:
        raise UserError(f"config.stage is {stage!r}{did_you_mean(stage, (*STAGES, 'eval'), cutoff=0.5)}")
    config.stage = stage
    if stage == "rl":
        config.batch_size = config.optimizer.reference_batch = 16  # release: 2 a GPU on 8 GPUs
        config.total_steps = steps(epochs=90, clips=2_500, batch_size=16)
        config.eval_every = 1_000
        config.data.epoch = 2_500
    return config


def release(stage: str) -> ConfigDict:
    """A stage as the release trains it, and so the published checkpoints, where that is not `paper` (docs/release.md).

    Raises:
      UserError: neither `warmup` nor `rl`.
    """
    config = paper(stage)
    config.batch_norm = "frame"
    # VastTrack by the release's list, which has seven sequences less.
    config.data.name = PAPER_DATA.replace("vasttrack", "vasttrack/train_release")
    config.data.coco_smallest_side = 0
    config.data.reduced_decode = False
    # The release drops what an epoch has beyond whole batches of all GPUs.
    if stage == "warmup":
        config.group_size = 8
        config.total_steps = 90 * (100_000 // 64)
        config.warmup.center_focal_weight = 1.0
        config.warmup.decode_at = "argmax"
    else:
        config.group_size = 2
        config.total_steps = 90 * (2_500 // 16)
        config.rl.normalize_advantage = True
        config.rl.drop_path = True
    return config


def recipe(name: str) -> ConfigDict:
    """A stage on the paper's data: `warmup` or `rl` as in the paper, `warmup_release` or `rl_release` as the release.

    Raises:
      UserError: another name.
    """
    known = ("warmup", "rl", "warmup_release", "rl_release")
    if name not in known:
        raise UserError(f"config.stage is {name!r}{did_you_mean(name, (*known, 'eval'), cutoff=0.5)}")
    if name.endswith("_release"):
        return release(name.removesuffix("_release"))
    config = paper(name)
    config.data.name = PAPER_DATA
    return config


def starter(stage: str) -> ConfigDict:
    """The recipe of the tiny starter and the demo: the variant `tiny` from random weights, on procedural clips.

    Without ImageNet weights, the paper's warm-up does not teach the network to compare template and search region. This
    one therefore has the release's centre map with a focal loss, in addition to the box losses.

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
    # Milder than the paper's: a tracker finds its target near the centre of the region, at almost its last size.
    config.data.scale_jitter = 0.25
    config.data.shift_jitter = 2.5
    if stage == "rl":
        config.batch_size = config.optimizer.reference_batch = 16
        config.total_steps = 300
        config.optimizer.warmup_steps = 20
        config.eval_every = 100
        config.checkpoint_every = 100
        # On two cores the activations of one frame fit into the cache, those of all frames of the clips do not.
        config.rl.path = "frame"
        config.rl.normalize_advantage = True
        # Milder still: the policy's own errors are small, so the centre is a good guess that it may learn.
        config.data.shift_jitter = 1.75
    config.tracker.window_power = 1.0
    return config
