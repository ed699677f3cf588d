"""Stage 2, the RL stage: policy and value heads learn where to look from the reward alone (paper, Section 3.2).

Encoder and regression head are frozen: they are inputs without gradients, moments or stored activations. The search
regions are cut around the ground truth with jitter, as in the release, so the state does not depend on earlier actions.
"""

import jax
import jax.numpy as jnp

from relo_jax import boxes
from relo_jax.mdp import action as act
from relo_jax.mdp import policy_gradient, reward
from relo_jax.train.mesh import join_batch, split_batch
from relo_jax.train.state import make_step as make_update


def encode(model, config, variables, batch, key=None):
    """Frozen features and box maps of all frames, by the clip path or by `lax.scan` over frames (`rl.path`).

    The batch goes through the encoder in `config.accumulate_steps` parts, one after the other. The heads' BatchNorm
    and the advantage's standardisation see the whole batch all the same: what is trained needs the features alone. So
    this is no approximation of a large batch, but the large batch in less memory.

    Args:
      model, config: the network, and the run's config (`rl.path`, `rl.drop_path`, `accumulate_steps`).
      variables: of the whole model.
      batch: of clips, see `relo_jax.data.clips`.
      key: PRNG key of drop path, active only with `rl.drop_path`, as in the release; None in evaluation.

    Returns:
      features `[B, T, N, D]`, size and offset `[B, T, H, W, 2]`; no gradient flows into them.
    """
    parts = config.accumulate_steps
    if parts == 1:
        return _encode(model, config, variables, batch, key)
    key_of = lambda index: None if key is None else jax.random.fold_in(key, index)
    one = lambda inputs: _encode(model, config, variables, inputs[0], key_of(inputs[1]))
    return join_batch(jax.lax.map(one, (split_batch(batch, parts), jnp.arange(parts))))


def _encode(model, config, variables, batch, key):
    """`encode`, of one part."""
    train = config.rl.drop_path and key is not None
    keys = jax.random.split(key, 2) if train else (None, None)
    rngs = lambda k: None if k is None else {"drop_path": k}
    apply = lambda method, *args, k=None: model.apply(variables, *args, rngs=rngs(k), method=method)
    templates = apply("encode_templates", batch["template_images"], batch["template_boxes_xywh"], train, k=keys[0])
    search = batch["search_images"]
    if config.rl.path == "clip":
        features, _ = apply("encode_clip", templates, search, train, k=keys[1])
    else:
        features = _scan_frames(model, variables, templates, search, keys[1])
    return jax.lax.stop_gradient((features, *apply("boxes", features)))


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


def frame_iou(size, offset, action, box_xywh):
    """IoU of the chosen boxes with the part of the ground truth inside the crop, both relative to it. `[B, T]`."""
    predicted = boxes.cxcywh_to_xyxy(act.decode_boxes(size, offset, action))
    return boxes.iou_xyxy(predicted, jnp.clip(boxes.xywh_to_xyxy(box_xywh), 0.0, 1.0))


def rl_loss(logits, value, size, offset, action, box_xywh, config):
    """Loss of sampled actions, with what one wants to see of a policy.

    Args:
      logits: `[B, T, N]`; value: `[B, T]`; size, offset: `[B, T, H, W, 2]`; action: `[B, T]` int, as drawn.
      box_xywh: `[B, T, 4]`, ground truth relative to the crop.
      config: section `rl` of the run's config.

    Returns:
      total loss, dict of metrics.
    """
    iou = frame_iou(size, offset, action, box_xywh)
    rewards = reward.clip_reward(iou, config.iou_weight, config.auc_weight)
    total, metrics = policy_gradient.reinforce_loss(
        logits,
        value,
        action,
        rewards,
        value_weight=config.value_weight,
        normalize_advantage=config.normalize_advantage,
    )
    metrics |= {
        "reward": rewards.mean(),
        "iou": iou.mean(),
        "auc": reward.clip_auc(iou).mean(),
        "entropy": act.entropy(logits).mean(),
        "explained_variance": policy_gradient.explained_variance(value, rewards),
    }
    return total, metrics


def greedy_metrics(logits, size, offset, box_xywh):
    """Mean IoU and AUC of the greedy policy."""
    iou = frame_iou(size, offset, act.greedy(logits), box_xywh)
    return {"greedy_iou": iou.mean(), "greedy_auc": reward.clip_auc(iou).mean()}


def make_step(model, config, tx):
    """The jitted REINFORCE update; see `relo_jax.train.state.make_step`."""

    def loss_fn(params, state, batch, key):
        drop_key, action_key = jax.random.split(key)
        frozen = {"params": state.frozen_params, "batch_stats": state.batch_stats}
        features, size, offset = encode(model, config, frozen, batch, drop_key)

        def heads(module):
            return module.policy_logits(features, True), module.value(features, True)

        trained = {"params": params, "batch_stats": state.batch_stats}
        (logits, value), updated = model.apply(trained, method=heads, mutable=["batch_stats"])
        action = act.sample(action_key, logits)
        box = batch["search_boxes_xywh"]
        loss, metrics = rl_loss(logits, value, size, offset, action, box, config.rl)
        metrics |= greedy_metrics(logits, size, offset, box)
        return loss, ({**state.batch_stats, **updated["batch_stats"]}, metrics)

    return make_update(config, tx, loss_fn)


def make_eval(model, config):
    """A jitted `evaluate(variables, batch) -> metrics` of the greedy policy on held-out clips."""

    def evaluate(variables, batch):
        features, size, offset = encode(model, config, variables, batch)
        logits = model.apply(variables, features, method="policy_logits")
        return greedy_metrics(logits, size, offset, batch["search_boxes_xywh"])

    return jax.jit(evaluate)
