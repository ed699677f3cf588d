"""The policy gradient without sampling: what REINFORCE estimates, in closed form.

Search regions that were cut around the ground truth depend on no action. The regression head has then already said
which box each of the N cells of a frame stands for, so the reward of every action is known, and an expectation over
the policy is a sum over N cells.

The reward of frame t is `r_t = w IoU_t(a_t) + u AUC(a_1 ... a_T)` with one AUC for all frames. A success curve is a
mean over frames, so AUC is one too: `AUC = 1/T sum_s g(IoU_s(a_s))`, where `g` is the area under the success curve of
a frame by itself. Actions are drawn independently given the logits. What `r_t` is on average when frame t takes
action a:

    Q_t(a) = w IoU_t(a) + u/T g(IoU_t(a)) + u/T sum_{s != t} E[g(IoU_s)]

REINFORCE, in the release and here, weighs `grad log pi(a_t)` with the reward of frame t alone. The mean of that is

    E[(r_t - v_t) grad log pi_t(a_t)] = sum_a pi_t(a) Q_t(a) grad log pi_t(a) = sum_a Q_t(a) grad pi_t(a),

with Q held fixed: the baseline drops out, and so does the third term of Q, since neither depends on a. What is left of
the AUC is frame t's own share u/T. (The gradient of the expected mean reward itself, 1/T sum_t r_t, would have u there:
all T frames have the AUC in their rewards. What frame t does for the others' rewards is no part of the estimator as the
release writes it, and no part of this one. `auc_weight` times T asks for it.)

Exact are, for raw advantages, the gradients of policy and value loss and the values of reward, IoU, AUC and advantage:
each equals the mean of its sampled counterpart. The value head learns the expected reward, which has the same gradient
as learning sampled ones. Standardised advantages are divided by the deviation of a batch of samples, and a mean of
ratios has no closed form: here they are divided by the deviation that infinitely many samples of these clips would
have. The sampled estimate comes the closer to it the more frames the batch has.
"""

import jax
import jax.numpy as jnp

from relo_jax.mdp.reward import clip_auc


def action_values(probs, iou, *, iou_weight, auc_weight, auc="thresholds"):
    """`Q_t(a)` of all actions, and what the luck of the other frames adds to the variance of the reward.

    Args:
      probs: `[B, T, N]`, the policy.
      iou: `[B, T, N]`, of the box of each cell with the ground truth.
      iou_weight, auc_weight, auc: of the reward; see `relo_jax.mdp.reward`.

    Returns:
      `[B, T, N]`, and the variance of `u/T sum_{s != t} g(IoU_s)`, `[B, T]`.
    """
    frames = iou.shape[-2]
    alone = clip_auc(iou[..., None], auc)  # g, [B, T, N]
    mean = jnp.sum(probs * alone, -1)
    variance = jnp.sum(probs * jnp.square(alone - mean[..., None]), -1)
    of_others = lambda x: x.sum(-1, keepdims=True) - x
    share = auc_weight / frames
    values = iou_weight * iou + share * (alone + of_others(mean)[..., None])
    return values, share**2 * of_others(variance)


def expected_loss(
    logits, value, iou, *, iou_weight, auc_weight, auc="thresholds", value_weight=0.5, normalize_advantage=False
):
    """The mean of `reinforce_loss` over the actions, with its gradient.

    Args:
      logits: `[B, T, N]`.
      value: `[B, T]`, of no use to the policy.
      iou: `[B, T, N]`, of the box of each cell; a constant of the loss.
      iou_weight, auc_weight, auc: of the reward.
      value_weight: weight of the value loss.
      normalize_advantage: subtract mean and divide by standard deviation (+ 1e-8) of the advantage over B, T and the
        policy.

    Returns:
      total loss, dict of `policy_loss` and `value_loss` (less the reward's variance, which no value could explain), and
      the expected reward `[B, T]`.
    """
    probs = jax.nn.softmax(logits, -1)
    fixed = jax.lax.stop_gradient(probs)
    iou = jax.lax.stop_gradient(iou)
    values, noise = action_values(fixed, iou, iou_weight=iou_weight, auc_weight=auc_weight, auc=auc)
    reward = jnp.sum(fixed * values, -1)
    advantage = values - jax.lax.stop_gradient(value)[..., None]
    if normalize_advantage:
        mean = jnp.sum(fixed * advantage, -1).mean()
        variance = (jnp.sum(fixed * jnp.square(advantage - mean), -1) + noise).mean()
        advantage = (advantage - mean) / (jnp.sqrt(variance) + 1e-8)
    policy_loss = -jnp.mean(jnp.sum(probs * advantage, -1))
    value_loss = jnp.mean(jnp.square(value - reward))
    metrics = {"policy_loss": policy_loss, "value_loss": value_loss}
    return policy_loss + value_weight * value_loss, metrics, reward
