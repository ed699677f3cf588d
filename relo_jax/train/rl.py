"""Stage 2, the RL stage: policy and value heads learn where to look from the reward alone (paper, Section 3.2).

Encoder and regression head are frozen: they are inputs without gradients, moments or stored activations. The search
regions are cut around the ground truth with jitter, as in the release, so the state does not depend on earlier actions.
"""

import jax
import jax.numpy as jnp

from relo_jax import boxes
from relo_jax.mdp import action as act
from relo_jax.mdp import expected, policy_gradient, reward
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


def cell_iou(size, offset, box_xywh):
    """`frame_iou` of all N actions: `[B, T, N]`."""
    every = boxes.cxcywh_to_xyxy(act.decode_all(size, offset))
    return boxes.iou_xyxy(every, jnp.clip(boxes.xywh_to_xyxy(box_xywh), 0.0, 1.0)[..., None, :])


def rl_loss(logits, value, size, offset, action, box_xywh, config):
    """REINFORCE's loss of sampled actions, with what one wants to see of a policy.

    Args:
      logits: `[B, T, N]`; value: `[B, T]`; size, offset: `[B, T, H, W, 2]`; action: `[B, T]` int, as drawn.
      box_xywh: `[B, T, 4]`, ground truth relative to the crop.
      config: section `rl` of the run's config.

    Returns:
      total loss, dict of metrics.
    """
    iou = frame_iou(size, offset, action, box_xywh)
    rewards = reward.clip_reward(iou, config.iou_weight, config.auc_weight, config.auc)
    total, metrics = policy_gradient.reinforce_loss(
        logits,
        value,
        action,
        rewards,
        value_weight=config.value_weight,
        normalize_advantage=config.normalize_advantage,
    )
    return total, metrics | policy_metrics(logits, value, rewards, iou.mean(), reward.clip_auc(iou, config.auc).mean())


def policy_metrics(logits, value, rewards, iou, auc):
    """Means of reward, IoU, AUC and entropy, and how well the value foretells the rewards."""
    return {
        "reward": rewards.mean(),
        "iou": iou,
        "auc": auc,
        "entropy": act.entropy(logits).mean(),
        "explained_variance": policy_gradient.explained_variance(value, rewards),
    }


def estimator_loss(key, logits, value, size, offset, box_xywh, config):
    """`rl_loss` by the estimator of the policy gradient that the config names; arguments as there, key to sample with.

    "reinforce" draws one action a frame and "rloo" `config.samples`; "expected" draws none.
    """
    if config.estimator == "reinforce":
        return rl_loss(logits, value, size, offset, act.sample(key, logits), box_xywh, config)
    options = dict(value_weight=config.value_weight, normalize_advantage=config.normalize_advantage)
    iou = cell_iou(size, offset, box_xywh)
    if config.estimator == "rloo":
        actions = act.sample_many(key, logits, config.samples)
        drawn = jnp.take_along_axis(iou[None], actions[..., None], axis=-1)[..., 0]
        rewards = reward.clip_reward(drawn, config.iou_weight, config.auc_weight, config.auc)
        total, metrics = policy_gradient.rloo_loss(logits, value, actions, rewards, **options)
        mean_iou, auc = drawn.mean(), reward.clip_auc(drawn, config.auc).mean()
    else:
        weights = dict(iou_weight=config.iou_weight, auc_weight=config.auc_weight, auc=config.auc)
        total, metrics, rewards = expected.expected_loss(logits, value, iou, **weights, **options)
        probs = jax.nn.softmax(logits, -1)
        mean_iou = jnp.sum(probs * iou, -1).mean()
        auc = jnp.sum(probs * reward.clip_auc(iou[..., None], config.auc), -1).mean()
    return total, metrics | policy_metrics(logits, value, rewards, mean_iou, auc)


def entropy_bonus(logits, config, step):
    """Weight times the mean entropy of the policy: what `rl.entropy_weight` takes off the loss at a step.

    The weight goes in a straight line from `entropy_weight` at the first step to `entropy_weight_end` after the last.

    Args:
      logits: `[B, T, N]`.
      config: the run's config; `rl` and `total_steps` are read.
      step: updates done; may be traced.
    """
    start, end = config.rl.entropy_weight, config.rl.entropy_weight_end
    return (start + (end - start) * step / config.total_steps) * act.entropy(logits).mean()


def greedy_metrics(logits, size, offset, box_xywh):
    """Mean IoU and AUC of the greedy policy, by the paper's thresholds whatever the reward is."""
    iou = frame_iou(size, offset, act.greedy(logits), box_xywh)
    return {"greedy_iou": iou.mean(), "greedy_auc": reward.clip_auc(iou).mean()}


def make_step(model, config, tx):
    """The jitted update; see `relo_jax.train.state.make_step`."""

    def loss_fn(params, state, batch, key):
        drop_key, action_key = jax.random.split(key)
        frozen = {"params": state.frozen_params, "batch_stats": state.batch_stats}
        features, size, offset = encode(model, config, frozen, batch, drop_key)

        def heads(module):
            return module.policy_logits(features, True), module.value(features, True)

        trained = {"params": params, "batch_stats": state.batch_stats}
        (logits, value), updated = model.apply(trained, method=heads, mutable=["batch_stats"])
        box = batch["search_boxes_xywh"]
        loss, metrics = estimator_loss(action_key, logits, value, size, offset, box, config.rl)
        if config.rl.entropy_weight or config.rl.entropy_weight_end:
            loss -= entropy_bonus(logits, config, state.step)
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
