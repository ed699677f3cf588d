"""What policy and value learn from: clips that went through the encoder and the regression head.

Both are frozen, inputs of the RL stage without gradients, moments or stored activations; unless `config.rl.train` asks
for more, see `encode_with_gradient`. Search regions are either cut around the ground truth with jitter, as in the
release, so that the state does not depend on earlier actions; or, in closed-loop rollouts, each around the box that the
policy chose in the frame before.
"""

import flax.struct
import jax
import jax.numpy as jnp

from relo_jax.mdp import action as act
from relo_jax.mdp.rollout import ClosedLoopBatch, rollout, target_in_regions
from relo_jax.train.mesh import join_batch, split_batch


@flax.struct.dataclass
class ClipFeatures:
    """T frames of B clips, as the heads need them."""

    features: jax.Array  # [B, T, N, D]
    size: jax.Array  # [B, T, H, W, 2]
    offset: jax.Array  # [B, T, H, W, 2]
    box_xywh: jax.Array  # [B, T, 4], ground truth relative to the search region
    # Of closed-loop rollouts alone:
    action: jax.Array | None = None  # [B, T] int, as taken
    alive: jax.Array | None = None  # [B, T] bool, false from where the target was lost


def encode(model, config, variables, batch, key=None, action_key=None):
    """The frames of clips: all at once, by `lax.scan` over frames (`rl.path`), or as the policy goes (`rl.rollout`).

    The batch goes through the encoder in `config.accumulate_steps` parts, one after the other. The heads' BatchNorm
    and the advantage's standardisation see the whole batch all the same: what is trained needs the features alone. So
    this is no approximation of a large batch, but the large batch in less memory.

    Args:
      model, config: the network, and the run's config (`rl.path`, `rl.rollout`, `rl.drop_path`, `accumulate_steps`).
      variables: of the whole model; a teacher-forced clip needs encoder and regression head alone.
      batch: of clips, see `relo_jax.data.clips.read.draw`.
      key: PRNG key of drop path, active only with `rl.drop_path`, as in the release; None in evaluation.
      action_key: to draw the actions of closed-loop rollouts with; None takes the most probable ones.

    Returns:
      ClipFeatures, into which no gradient flows.
    """
    one_part = _encode
    if config.rl.rollout == "closed_loop":
        one_part, batch = _roll_out, batch | {"noise": _noise(model, batch, action_key)}
    parts = config.accumulate_steps
    if parts == 1:
        return one_part(model, config, variables, batch, key)
    key_of = lambda index: None if key is None else jax.random.fold_in(key, index)
    one = lambda inputs: one_part(model, config, variables, inputs[0], key_of(inputs[1]))
    return join_batch(jax.lax.map(one, (split_batch(batch, parts), jnp.arange(parts))))


def _encode(model, config, variables, batch, key):
    """`encode`, of one part and teacher-forced."""
    return jax.lax.stop_gradient(_encode_by(config.rl.path, model, config, variables, batch, key, no_gradient=True))


def encode_with_gradient(model, config, variables, batch, key):
    """`encode` for an encoder that learns: a whole teacher-forced batch, by the clip path.

    The frame path computes the same, but keeps of the last block only what the heads read and is slow to differentiate
    (`relo_jax.model.RELO.frame`). The regression head goes by its running statistics, as where it is frozen and when
    tracking: batches of the RL stage are small, and the boxes are what the rewards are made of.
    """
    return _encode_by("clip", model, config, variables, batch, key)


def _encode_by(path, model, config, variables, batch, key, no_gradient=False):
    """The frames of a teacher-forced clip, by one of the paths of `rl.path`; no_gradient: see `RELO.encode_clip`."""
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
    """Features `[B, T, N, D]`, one frame at a time: the unrolled MDP, tokens as carry."""
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


def _noise(model, batch, key):
    """What makes the greedy action a drawn one when added to the logits (Gumbel, 1954), `[B, T, N]`; zeros for none.

    Drawn for the whole batch at once, so that an action does not depend on the parts that it goes through in.
    """
    shape = *batch["flips"].shape, model.config.grid**2
    return jnp.zeros(shape) if key is None else jax.random.gumbel(key, shape)


def _roll_out(model, config, variables, batch, key):
    """`encode`, of one part and in the closed loop.

    Actions are drawn with the running statistics of the policy's BatchNorm, as when tracking: a batch's own are those
    of all frames, of which the first has to be acted on before the second is there. So the policy that acts is not
    quite the one that the loss is of, and the further from it the newer the running statistics are.
    """
    train = config.rl.drop_path and key is not None
    keys = jax.random.split(key, 2) if train else (None, None)
    variables, world, grid = jax.lax.stop_gradient(variables), ClosedLoopBatch.of(batch), (model.config.grid,) * 2
    apply = lambda method, *args, k=None: model.apply(variables, *args, rngs=_rngs(k), method=method)
    templates = apply("encode_templates", batch["template_images"], batch["template_boxes_xywh"], train, k=keys[0])

    def policy(memory, crops, noise):
        tokens, first, index = memory
        frame_key = jax.random.fold_in(keys[1], index) if train else None
        features, tokens = apply("frame", templates, crops, tokens, first, train, k=frame_key)
        action = act.greedy(apply("policy_logits", features) + noise)
        box = act.decode_box(*apply("box_at", features, action), action, grid)
        return (tokens, jnp.zeros_like(first), index + 1), box, (features, action)

    count = len(world.start_box_xywh)
    memory = apply("initial_tokens", count), jnp.ones(count, bool), 0
    (features, action), episode = rollout(policy, memory, world, batch["noise"], model.config.search_size)
    # Batch statistics are of what was really seen: a frame after the end counts as the first once more.
    features = jnp.where(episode.alive[..., None, None], features, features[:, :1])
    box = target_in_regions(world, episode, model.config.search_size)
    return jax.lax.stop_gradient(ClipFeatures(features, *apply("boxes", features), box, action, episode.alive))
