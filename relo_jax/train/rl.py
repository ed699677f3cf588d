"""Stage 2, the RL stage: policy and value heads learn where to look from the reward alone (paper, Section 3.2).

Encoder and regression head are frozen; what the heads see of a clip comes from `relo_jax.train.features`. Here are the
losses: REINFORCE, which is the paper's, and other estimators of its gradient; and `end_to_end_loss`, which the paper
leaves to future work: with `config.rl.train` the reward teaches the encoder too.
"""

import jax
import jax.numpy as jnp

from relo_jax.geometry import boxes
from relo_jax.mdp import action as act
from relo_jax.mdp import expected_gradient, policy_gradient, reward
from relo_jax.train.features import encode, encode_with_gradient
from relo_jax.train.state import make_step as make_update
from relo_jax.train.state import variables_of
from relo_jax.train.warmup import warmup_loss


def frame_iou(size, offset, action, box_xywh, alive=None):
    """IoU of the chosen boxes with the ground truth, both relative to the crop. `[B, T]`.

    Where no action has a say in what the crop shows, the ground truth counts as far as it is inside. In closed-loop
    rollouts (`alive` is given) all of it does, and lost frames have an IoU of 0.
    """
    predicted = boxes.cxcywh_to_xyxy(act.decode_boxes(size, offset, action))
    if alive is not None:
        return jnp.where(alive, boxes.iou_xyxy(predicted, boxes.xywh_to_xyxy(box_xywh)), 0.0)
    return boxes.iou_xyxy(predicted, jnp.clip(boxes.xywh_to_xyxy(box_xywh), 0.0, 1.0))


def cell_iou(size, offset, box_xywh):
    """`frame_iou` of all N actions: `[B, T, N]`."""
    every = boxes.cxcywh_to_xyxy(act.decode_all(size, offset))
    return boxes.iou_xyxy(every, jnp.clip(boxes.xywh_to_xyxy(box_xywh), 0.0, 1.0)[..., None, :])


def rl_loss(logits, value, size, offset, action, box_xywh, config, alive=None):
    """REINFORCE's loss of sampled actions, with what one wants to see of a policy.

    Args:
      logits: `[B, T, N]`; value: `[B, T]`; size, offset: `[B, T, H, W, 2]`; action: `[B, T]` int, as drawn.
      box_xywh: `[B, T, 4]`, ground truth relative to the crop.
      config: section `rl` of the run's config.
      alive: bool `[B, T]` of closed-loop rollouts: a lost frame has no reward, and takes its share of the clip's AUC.

    Returns:
      total loss, dict of metrics.
    """
    iou = frame_iou(size, offset, action, box_xywh, alive)
    rewards = reward.clip_reward(iou, config.iou_weight, config.auc_weight, config.auc)
    if alive is not None:
        rewards = jnp.where(alive, rewards, 0.0)
    total, metrics = policy_gradient.reinforce_loss(
        logits,
        value,
        action,
        rewards,
        value_weight=config.value_weight,
        normalize_advantage=config.normalize_advantage,
        alive=alive,
    )
    auc = reward.clip_auc(iou, config.auc)
    return total, metrics | policy_metrics(logits, value, rewards, iou.mean(), auc.mean(), alive)


def policy_metrics(logits, value, rewards, iou, auc, alive=None):
    """Means of reward, IoU, AUC and entropy, and how well the value foretells the rewards; the share of lost frames."""
    metrics = {
        "reward": rewards.mean(),
        "iou": iou,
        "auc": auc,
        "entropy": act.entropy(logits).mean(where=alive),
        "explained_variance": policy_gradient.explained_variance(value, rewards, alive),
    }
    return metrics if alive is None else metrics | {"lost": jnp.mean(~alive)}


def estimator_loss(key, logits, value, frames, config):
    """`rl_loss` by the estimator of the policy gradient that the config names.

    "reinforce" draws one action a frame, unless the frames come with those that were taken, and "rloo"
    `config.samples`; "expected" draws none.

    Args:
      key: to draw with.
      logits: `[B, T, N]`; value: `[B, T]`.
      frames: `relo_jax.train.features.ClipFeatures`.
      config: section `rl` of the run's config.

    Returns:
      as `rl_loss`.
    """
    size, offset, box_xywh = frames.size, frames.offset, frames.box_xywh
    if config.estimator == "reinforce":
        action = act.sample(key, logits) if frames.action is None else frames.action
        return rl_loss(logits, value, size, offset, action, box_xywh, config, frames.alive)
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
        total, metrics, rewards = expected_gradient.expected_loss(logits, value, iou, **weights, **options)
        probs = jax.nn.softmax(logits, -1)
        mean_iou = jnp.sum(probs * iou, -1).mean()
        auc = jnp.sum(probs * reward.clip_auc(iou[..., None], config.auc), -1).mean()
    return total, metrics | policy_metrics(logits, value, rewards, mean_iou, auc)


def entropy_bonus(logits, config, step, alive=None):
    """Weight times the mean entropy of the policy: what `rl.entropy_weight` takes off the loss at a step.

    The weight goes in a straight line from `entropy_weight` at the first step to `entropy_weight_end` after the last.

    Args:
      logits: `[B, T, N]`.
      config: the run's config; `rl` and `total_steps` are read.
      step: updates done; may be traced.
      alive: bool `[B, T]`, which frames there are; None: all.
    """
    start, end = config.rl.entropy_weight, config.rl.entropy_weight_end
    return (start + (end - start) * step / config.total_steps) * act.entropy(logits).mean(where=alive)


def greedy_metrics(logits, frames):
    """Mean IoU and AUC of the greedy policy, by the paper's thresholds whatever the reward is."""
    iou = frame_iou(frames.size, frames.offset, act.greedy(logits), frames.box_xywh, frames.alive)
    return {"greedy_iou": iou.mean(), "greedy_auc": reward.clip_auc(iou).mean()}


def heads_loss(model, config, params, batch_stats, frames, key, step):
    """The loss of policy and value heads on frames that went through what is frozen.

    Args:
      model, config: the network, and the run's config.
      params: of the heads; batch_stats: of all modules.
      frames: `relo_jax.train.features.ClipFeatures`.
      key: to draw actions with.
      step: updates done.

    Returns:
      total loss, (batch_stats, dict of metrics).
    """

    def heads(module):
        return module.policy_logits(frames.features, True), module.value(frames.features, True)

    trained = {"params": params, "batch_stats": batch_stats}
    (logits, value), updated = model.apply(trained, method=heads, mutable=["batch_stats"])
    loss, metrics = estimator_loss(key, logits, value, frames, config.rl)
    if config.rl.entropy_weight or config.rl.entropy_weight_end:
        loss -= entropy_bonus(logits, config, step, frames.alive)
    return loss, ({**batch_stats, **updated["batch_stats"]}, metrics | greedy_metrics(logits, frames))


def end_to_end_loss(model, config, variables, batch, key, step):
    """The loss of the heads where the encoder learns from it as well, anchored by the warm-up's box losses.

    The gradients of policy and value go through their features into the encoder. The rewards are constants of every
    estimator's loss: no box becomes better in order to be worth more. What keeps the boxes true while the features move
    from under them is the warm-up's loss at the true centre, `config.rl.box_weight` times.

    Args:
      model, config: the network, and the run's config.
      variables: of the whole model.
      batch: of teacher-forced clips, or a part of one.
      key: of drop path and actions.
      step: updates done.

    Returns:
      as `heads_loss`; among the metrics `giou_loss`, `l1_loss` and `center_iou`, the IoU at the true centre.
    """
    drop_key, action_key = jax.random.split(key)
    frames = encode_with_gradient(model, config, variables, batch, drop_key)
    loss, (batch_stats, metrics) = heads_loss(
        model, config, variables["params"], variables["batch_stats"], frames, action_key, step
    )
    weights = dict(giou_weight=config.warmup.giou_weight, l1_weight=config.warmup.l1_weight)
    box_loss, of_boxes = warmup_loss(
        frames.size, frames.offset, None, frames.box_xywh, center_focal_weight=0.0, decode_at="center", **weights
    )
    metrics |= {name: of_boxes[name] for name in ("giou_loss", "l1_loss")} | {"center_iou": of_boxes["iou"]}
    return loss + config.rl.box_weight * box_loss, (batch_stats, metrics)


def make_step(model, config, tx):
    """The jitted update; see `relo_jax.train.state.make_step`.

    Of an encoder that learns, the gradient is accumulated over `config.accumulate_steps` parts, as in the warm-up; one
    that is frozen needs no such approximation (`relo_jax.train.features.encode`).
    """

    def heads(params, state, batch, key):
        drop_key, action_key = jax.random.split(key)
        frames = encode(model, config, variables_of(state.replace(params=params)), batch, drop_key, action_key)
        return heads_loss(model, config, params, state.batch_stats, frames, action_key, state.step)

    def end_to_end(params, state, batch, key):
        return end_to_end_loss(model, config, variables_of(state.replace(params=params)), batch, key, state.step)

    if config.rl.train == "heads":
        return make_update(config, tx, heads)
    return make_update(config, tx, end_to_end, config.accumulate_steps)


def make_eval(model, config):
    """A jitted `evaluate(variables, batch) -> metrics` of the greedy policy on held-out clips."""

    def evaluate(variables, batch):
        frames = encode(model, config, variables, batch)
        if frames.alive is None:
            return greedy_metrics(model.apply(variables, frames.features, method="policy_logits"), frames)
        iou = frame_iou(frames.size, frames.offset, frames.action, frames.box_xywh, frames.alive)
        metrics = {"greedy_iou": iou.mean(), "greedy_auc": reward.clip_auc(iou).mean()}
        return metrics | {"lost": jnp.mean(~frames.alive)}

    return jax.jit(evaluate)
