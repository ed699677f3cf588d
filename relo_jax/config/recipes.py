"""The recipes that the files of `configs/` start from: the paper's, and the tiny starter's."""

from ml_collections import ConfigDict

from relo_jax.config.fields import base, steps
from relo_jax.config.validation import check_value


def paper(stage: str) -> ConfigDict:
    """The paper's schedule of a stage, for a `get_config(stage)`: 90 epochs, learning rate x 0.1 after the 72nd.

    Raises:
      UserError: neither `warmup` nor `rl`.
    """
    config = base()
    check_value("stage", stage, str)
    config.stage = stage
    if stage == "rl":
        config.batch_size = config.optimizer.reference_batch = 16  # release: 2 a GPU on 8 GPUs
        config.total_steps = steps(epochs=90, clips=2_500, batch_size=16)
        config.eval_every = 1_000
        config.data.epoch = 2_500
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
