"""The input of policy and value head: the features and boxes of clips.

Encoder and regression head are frozen in the RL stage and need no gradients, moments or stored activations, unless
`config.rl.train` says otherwise (see `encode_with_gradient`). Search regions are cut around the jittered ground truth,
as in the release, so the state does not depend on earlier actions; or, in closed-loop rollouts, around the box that the
policy chose in the previous frame.
"""

import flax.struct
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from relo_jax.mdp import action as act
from relo_jax.mdp.rollout import ClosedLoopBatch, rollout, target_in_regions
from relo_jax.model import RELO
from relo_jax.train.mesh import join_batch, split_batch


@flax.struct.dataclass
class ClipFeatures:
    """T frames of B clips, for the policy and value head."""

    features: jax.Array  # [B, T, N, D]
    size: jax.Array  # [B, T, H, W, 2]
    offset: jax.Array  # [B, T, H, W, 2]
    box_xywh: jax.Array  # [B, T, 4], ground truth relative to the search region
    # Only in closed-loop rollouts:
    action: jax.Array | None = None  # [B, T] int, as taken
    alive: jax.Array | None = None  # [B, T] bool, false once the target is lost


def encode(
    model: RELO, config: ConfigDict, variables: dict, batch: dict[str, jax.Array], key: jax.Array | None = None,
    action_key: jax.Array | None = None,
) -> ClipFeatures:  # fmt: skip
    """Encodes clips without a gradient: teacher-forced, by either path of `rl.path`, or in the closed loop.

    The batch goes through the encoder in `config.accumulate_steps` parts, one after the other. The trained heads get
    the features of the whole batch, so their BatchNorm and the advantage's standardisation are exact: the parts only
    save memory.

    Args:
      config: the run's config; reads `rl.path`, `rl.rollout`, `rl.drop_path` and `accumulate_steps`.
      variables: of the whole model; teacher-forced clips need only encoder and regression head.
      batch: clips, see `relo_jax.data.clips.read`.
      key: of drop path, which is active only with `rl.drop_path`, as in the release; None in evaluation.
      action_key: samples the actions of closed-loop rollouts; None takes the most probable ones.
    """
    one_part = _encode
    if config.rl.rollout == "closed_loop":
        one_part, batch = _roll_out, batch | {"noise": _gumbel_noise(model, batch, action_key)}
    parts = config.accumulate_steps
    if parts == 1:
        return one_part(model, config, variables, batch, key)
    key_of = lambda index: None if key is None else jax.random.fold_in(key, index)
    one = lambda inputs: one_part(model, config, variables, inputs[0], key_of(inputs[1]))
    return join_batch(jax.lax.map(one, (split_batch(batch, parts), jnp.arange(parts))))


def _encode(model, config, variables, batch, key):
    """`encode` of one part, teacher-forced."""
    return jax.lax.stop_gradient(_encode_by(config.rl.path, model, config, variables, batch, key, no_gradient=True))


def encode_with_gradient(
    model: RELO, config: ConfigDict, variables: dict, batch: dict[str, jax.Array], key: jax.Array
) -> ClipFeatures:
    """`encode` for an encoder that is trained: a whole teacher-forced batch, by the clip path.

    The frame path computes the same, but evaluates the last block only for the tokens that the heads read, and is slow
    to differentiate (`relo_jax.model.RELO.frame`). The regression head uses its running statistics, as when frozen and
    in tracking: the batches of the RL stage are small, and the rewards depend on the boxes.
    """
    return _encode_by("clip", model, config, variables, batch, key)


def _encode_by(path, model, config, variables, batch, key, no_gradient=False):
    """Features and boxes of teacher-forced clips, by a path of `rl.path`; no_gradient: see `RELO.encode_clip`."""
    train = config.rl.drop_path and key is not None
    keys = jax.random.split(key, 2) if train else (None, None)
    apply = lambda method, *args, k=None: model.apply(variables, *args, rngs=_rngs(k), method=method)
    templates = apply("encode_templates", batch["template_images"], batch["template_boxes_xywh"], train, k=keys[0])
    search = batch["search_images"]
    if path == "clip":
        features, _ = apply("encode_clip", templates, search, train, no_gradient, k=keys[1])
    else:
        features = _scan_frames(model, variables, templates, search, keys[1])
    return ClipFeatures(features, *apply("boxes", features), batch["search_boxes_xywh"])


def _rngs(key):
    return None if key is None else {"drop_path": key}


def _scan_frames(model, variables, templates, search, key):
    """Features `[B, T, N, D]`, one frame at a time: the scan carries the temporal tokens."""
    batch, frames = search.shape[:2]

    def body(carry, inputs):
        tokens, first = carry
        images, index = inputs
        train = key is not None
        rngs = {"drop_path": jax.random.fold_in(key, index)} if train else None
        features, tokens = model.apply(variables, templates, images, tokens, first, train, rngs=rngs, method="frame")
        return (tokens, jnp.zeros_like(first)), features

    start = model.apply(variables, batch, method="initial_tokens"), jnp.ones(batch, bool)
    _, features = jax.lax.scan(body, start, (jnp.moveaxis(search, 1, 0), jnp.arange(frames)))
    return jnp.moveaxis(features, 0, 1)


def _gumbel_noise(model, batch, key):
    """Noise `[B, T, N]` that makes the greedy action of the noisy logits a sample (Gumbel, 1954); zeros without a key.

    It is drawn for the whole batch at once, so that actions do not depend on the number of parts.
    """
    shape = *batch["flips"].shape, model.config.grid**2
    return jnp.zeros(shape) if key is None else jax.random.gumbel(key, shape)


def _roll_out(model, config, variables, batch, key):
    """`encode` of one part, in the closed loop.

    Actions are sampled with the running statistics of the policy's BatchNorm, as in tracking. The statistics of the
    batch itself cover all frames, and the first frame needs an action before the second exists. The acting policy thus
    differs from the one in the loss, and more so early on, while the running statistics are fresh.
    """
    train = config.rl.drop_path and key is not None
    keys = jax.random.split(key, 2) if train else (None, None)
    variables, grid = jax.lax.stop_gradient(variables), (model.config.grid,) * 2
    closed_loop = ClosedLoopBatch.of(batch)
    apply = lambda method, *args, k=None: model.apply(variables, *args, rngs=_rngs(k), method=method)
    templates = apply("encode_templates", batch["template_images"], batch["template_boxes_xywh"], train, k=keys[0])

    def policy(memory, crops, noise):
        tokens, first, index = memory
        frame_key = jax.random.fold_in(keys[1], index) if train else None
        features, tokens = apply("frame", templates, crops, tokens, first, train, k=frame_key)
        action = act.greedy(apply("policy_logits", features) + noise)
        box = act.decode_box(*apply("box_at", features, action), action, grid)
        return (tokens, jnp.zeros_like(first), index + 1), box, (features, action)

    count = len(closed_loop.start_box_xywh)
    memory = apply("initial_tokens", count), jnp.ones(count, bool), 0
    (features, action), episode = rollout(policy, memory, closed_loop, batch["noise"], model.config.search_size)
    # Frames after the end repeat the first one, so that batch statistics contain only regions on the canvas.
    features = jnp.where(episode.alive[..., None, None], features, features[:, :1])
    box = target_in_regions(closed_loop, episode, model.config.search_size)
    return jax.lax.stop_gradient(ClipFeatures(features, *apply("boxes", features), box, action, episode.alive))
