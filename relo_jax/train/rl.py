"""Stage 2, the RL stage: policy and value head learn to localise from the reward alone (paper, Section 3.2).

Encoder and regression head are frozen; `relo_jax.train.features` gives their outputs. This module has the losses:
REINFORCE, as in the paper, other estimators of its gradient, and `end_to_end_loss`, which trains the encoder from the
reward too (`config.rl.train`) and which the paper leaves to future work.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from relo_jax.geometry import boxes
from relo_jax.mdp import action as act
from relo_jax.mdp import expected_gradient, policy_gradient, reward
from relo_jax.model import RELO
from relo_jax.train.features import ClipFeatures, encode, encode_with_gradient
from relo_jax.train.groups import apply_heads
from relo_jax.train.state import Step, make_step_on_features, make_update, variables_of
from relo_jax.train.warmup import warmup_loss

Metrics = dict[str, jax.Array]


def frame_iou(
    size: jax.Array, offset: jax.Array, action: jax.Array, box_xywh: jax.Array, alive: jax.Array | None = None
) -> jax.Array:
    """IoU of the chosen boxes with the ground truth, both relative to the crop, `[B, T]`.

    In teacher-forced clips no action affects the crop, so the ground truth is clipped to it. In closed-loop rollouts
    (`alive` is given) it is not, and lost frames have an IoU of 0.
    """
    predicted = boxes.cxcywh_to_xyxy(act.decode_boxes(size, offset, action))
    if alive is not None:
        return jnp.where(alive, boxes.iou_xyxy(predicted, boxes.xywh_to_xyxy(box_xywh)), 0.0)
    return jnp.asarray(boxes.iou_xyxy(predicted, jnp.clip(boxes.xywh_to_xyxy(box_xywh), 0.0, 1.0)))


def cell_iou(size: jax.Array, offset: jax.Array, box_xywh: jax.Array) -> jax.Array:
    """`frame_iou` of all N actions in teacher-forced clips, `[B, T, N]`."""
    decoded = boxes.cxcywh_to_xyxy(act.decode_all(size, offset))
    return jnp.asarray(boxes.iou_xyxy(decoded, jnp.clip(boxes.xywh_to_xyxy(box_xywh), 0.0, 1.0)[..., None, :]))


def rl_loss(
    logits: jax.Array, value: jax.Array, size: jax.Array, offset: jax.Array, action: jax.Array, box_xywh: jax.Array,
    config: ConfigDict, alive: jax.Array | None = None, group: int = 0,
) -> tuple[jax.Array, Metrics]:  # fmt: skip
    """REINFORCE's loss of sampled actions.

    Args:
      logits: `[B, T, N]`; value: `[B, T]`; size, offset: `[B, T, H, W, 2]`; action: `[B, T]` int, as sampled.
      box_xywh: `[B, T, 4]`, ground truth relative to the crop.
      config: section `rl` of the run's config.
      alive: bool `[B, T]` of closed-loop rollouts. A lost frame has no reward, and lowers the AUC of its clip.
      group: clips over which advantages are standardised; 0: all.

    Returns:
      The total loss, and metrics.
    """
    iou = frame_iou(size, offset, action, box_xywh, alive)
    rewards = reward.clip_reward(iou, config.iou_weight, config.auc_weight, config.auc)
    if alive is not None:
        rewards = jnp.where(alive, rewards, 0.0)
    weights = dict(value_weight=config.value_weight, normalize_advantage=config.normalize_advantage)
    total, metrics = policy_gradient.reinforce_loss(logits, value, action, rewards, **weights, alive=alive, group=group)
    auc = reward.clip_auc(iou, config.auc)
    return total, metrics | policy_metrics(logits, value, rewards, iou.mean(), auc.mean(), alive)


def policy_metrics(
    logits: jax.Array, value: jax.Array, rewards: jax.Array, iou: jax.Array, auc: jax.Array,
    alive: jax.Array | None = None,
) -> Metrics:  # fmt: skip
    """Means of reward, IoU, AUC and entropy; the explained variance of the rewards; the share of lost frames."""
    metrics = {
        "reward": rewards.mean(),
        "iou": iou,
        "auc": auc,
        "entropy": act.entropy(logits).mean(where=alive),
        "explained_variance": policy_gradient.explained_variance(value, rewards, alive),
    }
    return metrics if alive is None else metrics | {"lost": jnp.mean(~alive)}


def estimator_loss(
    key: jax.Array, logits: jax.Array, value: jax.Array, frames: ClipFeatures, config: ConfigDict, group: int = 0
) -> tuple[jax.Array, Metrics]:
    """`rl_loss` with the estimator of the policy gradient that the config names.

    "reinforce" samples one action a frame, unless `frames` has those of a rollout; "rloo" samples `config.samples`;
    "expected" samples none.

    Args:
      key: of the samples.
      logits: `[B, T, N]`; value: `[B, T]`.
      config: section `rl` of the run's config.
      group: clips over which advantages are standardised; 0: all.
    """
    size, offset, box_xywh = frames.size, frames.offset, frames.box_xywh
    if config.estimator == "reinforce":
        action = act.sample(key, logits) if frames.action is None else frames.action
        return rl_loss(logits, value, size, offset, action, box_xywh, config, frames.alive, group)
    options = dict(value_weight=config.value_weight, normalize_advantage=config.normalize_advantage, group=group)
    iou = cell_iou(size, offset, box_xywh)
    if config.estimator == "rloo":
        actions = act.sample_many(key, logits, config.samples)
        sampled_iou = jnp.take_along_axis(iou[None], actions[..., None], axis=-1)[..., 0]
        rewards = reward.clip_reward(sampled_iou, config.iou_weight, config.auc_weight, config.auc)
        total, metrics = policy_gradient.rloo_loss(logits, value, actions, rewards, **options)
        mean_iou, auc = sampled_iou.mean(), reward.clip_auc(sampled_iou, config.auc).mean()
    else:
        weights = dict(iou_weight=config.iou_weight, auc_weight=config.auc_weight, auc=config.auc)
        total, metrics, rewards = expected_gradient.expected_loss(logits, value, iou, **weights, **options)
        probs = jax.nn.softmax(logits, -1)
        mean_iou = jnp.sum(probs * iou, -1).mean()
        auc = jnp.sum(probs * reward.clip_auc(iou[..., None], config.auc), -1).mean()
    return total, metrics | policy_metrics(logits, value, rewards, mean_iou, auc)


def entropy_bonus(
    logits: jax.Array, config: ConfigDict, step: int | jax.Array, alive: jax.Array | None = None
) -> jax.Array:
    """The policy's mean entropy times its weight, which is subtracted from the loss.

    The weight changes linearly from `rl.entropy_weight` at the first step to `rl.entropy_weight_end` after the last.

    Args:
      logits: `[B, T, N]`.
      config: the run's config.
      step: number of updates done; may be traced.
      alive: bool `[B, T]`, the frames that count; None: all.
    """
    start, end = config.rl.entropy_weight, config.rl.entropy_weight_end
    return (start + (end - start) * step / config.total_steps) * act.entropy(logits).mean(where=alive)


def greedy_metrics(logits: jax.Array, frames: ClipFeatures) -> Metrics:
    """Mean IoU and AUC of the greedy policy. The AUC has the paper's thresholds, whatever the reward has."""
    iou = frame_iou(frames.size, frames.offset, act.greedy(logits), frames.box_xywh, frames.alive)
    return {"greedy_iou": iou.mean(), "greedy_auc": reward.clip_auc(iou).mean()}


def heads_loss(
    model: RELO, config: ConfigDict, params: dict, batch_stats: dict, frames: ClipFeatures, key: jax.Array,
    step: int | jax.Array,
) -> tuple[jax.Array, tuple[dict, Metrics]]:  # fmt: skip
    """The loss of policy and value head, given the features.

    Args:
      config: the run's config.
      params: of the heads; batch_stats: of all modules.
      key: samples the actions.
      step: number of updates done.

    Returns:
      The total loss, and (batch_stats, metrics).
    """

    def heads(module, features):
        return module.policy_logits(features, True), module.value(features, True)

    variables = {"params": params, "batch_stats": batch_stats}
    (logits, value), batch_stats = apply_heads(model, config, variables, heads, frames.features, ("policy", "value"))
    loss, metrics = estimator_loss(key, logits, value, frames, config.rl, config.group_size)
    if config.rl.entropy_weight or config.rl.entropy_weight_end:
        loss -= entropy_bonus(logits, config, step, frames.alive)
    return loss, (batch_stats, metrics | greedy_metrics(logits, frames))


def end_to_end_loss(
    model: RELO, config: ConfigDict, variables: dict, batch: dict[str, jax.Array], key: jax.Array,
    step: int | jax.Array,
) -> tuple[jax.Array, tuple[dict, Metrics]]:  # fmt: skip
    """The loss of the heads where it trains the encoder too, plus the warm-up's box loss.

    The gradients of policy and value flow through the features into the encoder. The rewards are constants of every
    estimator's loss, so they do not train the boxes. The warm-up's loss at the true centre, with the weight
    `config.rl.box_weight`, keeps the boxes accurate while the features change.

    Args:
      config: the run's config.
      variables: of the whole model.
      batch: teacher-forced clips, or a part of a batch of them.
      key: of drop path and actions.
      step: number of updates done.

    Returns:
      As `heads_loss`; the metrics include `giou_loss`, `l1_loss` and `center_iou`, the IoU at the true centre.
    """
    drop_key, action_key = jax.random.split(key)
    frames = encode_with_gradient(model, config, variables, batch, drop_key)
    loss, (batch_stats, metrics) = heads_loss(
        model, config, variables["params"], variables["batch_stats"], frames, action_key, step
    )
    weights = dict(giou_weight=config.warmup.giou_weight, l1_weight=config.warmup.l1_weight)
    box_loss, box_metrics = warmup_loss(
        frames.size, frames.offset, None, frames.box_xywh, center_focal_weight=0.0, decode_at="center", **weights
    )
    metrics |= {name: box_metrics[name] for name in ("giou_loss", "l1_loss")} | {"center_iou": box_metrics["iou"]}
    return loss + config.rl.box_weight * box_loss, (batch_stats, metrics)


def step_features(
    model: RELO, config: ConfigDict, variables: dict, batch: dict[str, jax.Array], key: jax.Array
) -> ClipFeatures:
    """What the update of the heads sees of a batch; see `relo_jax.train.features.encode`.

    Args:
      key: of the step, see `relo_jax.train.state.step_key`.
    """
    return encode(model, config, variables, batch, *jax.random.split(key))


def make_heads_update(model: RELO, config: ConfigDict, tx: optax.GradientTransformation) -> Step:
    """The update of policy and value head, `(state, ClipFeatures) -> (state, metrics)`, to be compiled."""

    def loss(params, state, frames, key):
        _, action_key = jax.random.split(key)
        return heads_loss(model, config, params, state.batch_stats, frames, action_key, state.step)

    return make_update(config, tx, loss)


def make_step(model: RELO, config: ConfigDict, tx: optax.GradientTransformation) -> Step:
    """The jitted update, which donates the state's buffers; see `relo_jax.train.state.make_update`.

    Only a trained encoder accumulates its gradient over `config.accumulate_steps` parts, as in the warm-up. With a
    frozen one the parts are exact (`relo_jax.train.features.encode`).
    """

    def end_to_end(params, state, batch, key):
        return end_to_end_loss(model, config, variables_of(state.replace(params=params)), batch, key, state.step)

    if config.rl.train != "heads":
        return jax.jit(make_update(config, tx, end_to_end, config.accumulate_steps), donate_argnums=0)
    features = functools.partial(step_features, model, config)
    return make_step_on_features(features, make_heads_update(model, config, tx))


def heads_metrics(model: RELO, config: ConfigDict, variables: dict, frames: ClipFeatures) -> Metrics:
    """Metrics of the greedy policy in held-out clips, given their features."""
    if frames.action is None or frames.alive is None:
        logits = jnp.asarray(model.apply(variables, frames.features, method="policy_logits"))
        return greedy_metrics(logits, frames)
    iou = frame_iou(frames.size, frames.offset, frames.action, frames.box_xywh, frames.alive)
    metrics = {"greedy_iou": iou.mean(), "greedy_auc": reward.clip_auc(iou).mean()}
    return metrics | {"lost": jnp.mean(~frames.alive)}


def make_eval(model: RELO, config: ConfigDict) -> Callable[[dict, dict[str, jax.Array]], Metrics]:
    """A jitted `evaluate(variables, batch) -> metrics` of the greedy policy on held-out clips."""
    return jax.jit(
        lambda variables, batch: heads_metrics(model, config, variables, encode(model, config, variables, batch))
    )
