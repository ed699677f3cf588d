"""The policy gradient without sampling: the expectation that REINFORCE estimates, in closed form.

A search region that was cut around the ground truth depends on no action. The regression head has already decoded the
box of each of the N cells of a frame, so the reward of every action is known, and an expectation over the policy is a
sum over N cells.

The reward of frame t is `r_t = w IoU_t(a_t) + u AUC(a_1 ... a_T)` with one AUC for all frames. A success curve is a
mean over frames, and so is its area: `AUC = 1/T sum_s g(IoU_s(a_s))`, where `g` is the area under the success curve of
a single frame. Actions are independent given the logits. The mean reward of frame t when it takes action a is

    Q_t(a) = w IoU_t(a) + u/T g(IoU_t(a)) + u/T sum_{s != t} E[g(IoU_s)]

REINFORCE, in the release and here, weights `grad log pi(a_t)` with the reward of frame t alone. Its mean is

    E[(r_t - v_t) grad log pi_t(a_t)] = sum_a pi_t(a) Q_t(a) grad log pi_t(a) = sum_a Q_t(a) grad pi_t(a),

with Q held fixed: the baseline drops out, and so does the third term of Q, since neither depends on a. Only frame t's
own share u/T of the AUC remains. (The gradient of the expected mean reward, 1/T sum_t r_t, would have u in its place,
because all T frames have the AUC in their rewards. The release's estimator ignores the effect of frame t on the other
frames' rewards, and so does this one; multiply `auc_weight` by T to include it.)

For raw advantages, the gradients of policy and value loss and the values of reward, IoU, AUC and advantage are exact:
each equals the mean of its sampled counterpart. The value head learns the expected reward, which has the same gradient
as learning sampled ones. Standardised advantages are divided by the standard deviation of a batch of samples, and the
mean of such ratios has no closed form. Here they are divided by the deviation of infinitely many samples of these
clips, which the sampled estimate approaches as the batch grows.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from relo_jax.mdp.reward import clip_auc


def action_values(
    probs: Float[Array, "B T N"], iou: Float[Array, "B T N"], *, iou_weight: float, auc_weight: float,
    auc: str = "thresholds",
) -> tuple[Float[Array, "B T N"], Float[Array, "B T"]]:  # fmt: skip
    """`Q_t(a)` of all actions, and the variance that the other frames' actions add to the reward.

    Args:
      probs: the policy.
      iou: of the box of each cell with the ground truth.
      iou_weight, auc_weight, auc: of the reward; see `relo_jax.mdp.reward`.

    Returns:
      `Q_t(a)`, and the variance of `u/T sum_{s != t} g(IoU_s)`.
    """
    frames = iou.shape[-2]
    frame_auc = clip_auc(iou[..., None], auc)  # g
    mean = jnp.sum(probs * frame_auc, -1)
    variance = jnp.sum(probs * jnp.square(frame_auc - mean[..., None]), -1)
    of_others = lambda x: x.sum(-1, keepdims=True) - x
    share = auc_weight / frames
    values = iou_weight * iou + share * (frame_auc + of_others(mean)[..., None])
    return values, share**2 * of_others(variance)


def expected_loss(
    logits: Float[Array, "B T N"], value: Float[Array, "B T"], iou: Float[Array, "B T N"], *, iou_weight: float,
    auc_weight: float, auc: str = "thresholds", value_weight: float = 0.5, normalize_advantage: bool = False,
    group: int = 0,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]], Float[Array, "B T"]]:  # fmt: skip
    """The mean of `reinforce_loss` over the actions, with its gradient.

    Args:
      value: does not affect the policy's gradient.
      iou: of the box of each cell; a constant of the loss.
      iou_weight, auc_weight, auc: of the reward.
      value_weight: weight of the value loss.
      normalize_advantage: standardise the advantage: subtract its mean and divide by its standard deviation (+ 1e-8)
        over B, T and the policy.
      group: standardise over each group of so many clips by itself; 0: over all B.

    Returns:
      The total loss, a dict of `policy_loss` and `value_loss` (without the reward's variance, which no value could
      explain), and the expected reward.
    """
    probs = jax.nn.softmax(logits, -1)
    fixed = jax.lax.stop_gradient(probs)
    iou = jax.lax.stop_gradient(iou)
    values, noise = action_values(fixed, iou, iou_weight=iou_weight, auc_weight=auc_weight, auc=auc)
    reward = jnp.sum(fixed * values, -1)
    advantage = values - jax.lax.stop_gradient(value)[..., None]
    if normalize_advantage:
        mean = _group_mean(jnp.sum(fixed * advantage, -1), group)
        variance = _group_mean(jnp.sum(fixed * jnp.square(advantage - mean), -1) + noise, group)
        advantage = (advantage - mean) / (jnp.sqrt(variance) + 1e-8)
    policy_loss = -jnp.mean(jnp.sum(probs * advantage, -1))
    value_loss = jnp.mean(jnp.square(value - reward))
    metrics = {"policy_loss": policy_loss, "value_loss": value_loss}
    return policy_loss + value_weight * value_loss, metrics, reward


def _group_mean(x, group):
    """The mean of `[B, T]` over each group of clips, `[B, 1, 1]`; over all, `[]`, without groups."""
    return jnp.repeat(x.reshape(-1, group * x.shape[-1]).mean(-1), group)[:, None, None] if group else x.mean()
