"""The policy gradient from sampled actions: REINFORCE with a value baseline (Williams, 1992; paper, Eq. 7 to 9), and
with the mean reward of other samples for a baseline (RLOO; Kool et al., 2019, "Buy 4 REINFORCE samples").

`relo_jax.mdp.expected_gradient` has the gradient that both estimate.
"""

import jax
import jax.numpy as jnp

from relo_jax.mdp import action as act


def advantages(reward, value, normalize, alive=None):
    """`A = r - v`, detached; standardised over all B x T entries where asked for.

    Args:
      reward, value: `[B, T]`.
      normalize: divide by the sample standard deviation (+ 1e-8) after subtracting the mean, as the release does and
        the paper does not say.
      alive: bool `[B, T]`, which entries there are; None: all.

    Returns:
      `[B, T]`.
    """
    advantage = jax.lax.stop_gradient(reward - value)
    if normalize:
        deviation = jnp.std(advantage, ddof=1, where=alive)
        advantage = (advantage - jnp.mean(advantage, where=alive)) / (deviation + 1e-8)
    return advantage


def reinforce_loss(logits, value, action, reward, *, value_weight=0.5, normalize_advantage=False, alive=None):
    """`-mean(A log pi(a)) + value_weight * mean((v - r)^2)`, up to a constant.

    The policy term is written as the release writes it, with the ratio `pi(a) / stop_gradient(pi(a))` in place of
    `log pi(a)`: the gradient is the same, its value is `-mean(A)`.

    Args:
      logits: `[B, T, N]`.
      value: `[B, T]`, the baseline.
      action: `[B, T]` int, as drawn.
      reward: `[B, T]`, a constant of the loss.
      value_weight: weight of the value loss.
      normalize_advantage: see `advantages`.
      alive: bool `[B, T]`, frames that the episodes lasted; None: all. The others count in the means, as zeros, so that
        a frame weighs the same however many others are lost.

    Returns:
      total loss, dict of `policy_loss` and `value_loss`.
    """
    reward = jax.lax.stop_gradient(reward)
    mean = lambda x: jnp.mean(x if alive is None else jnp.where(alive, x, 0))
    advantage = advantages(reward, value, normalize_advantage, alive)
    log_prob = act.log_prob(logits, action)
    policy_loss = -mean(advantage * jnp.exp(log_prob - jax.lax.stop_gradient(log_prob)))
    value_loss = mean(jnp.square(value - reward))
    return policy_loss + value_weight * value_loss, {"policy_loss": policy_loss, "value_loss": value_loss}


def rloo_loss(logits, value, actions, rewards, *, value_weight=0.5, normalize_advantage=False):
    """`-mean(A log pi(a)) + value_weight * mean((v - r)^2)` with `A` = reward minus the mean of the other samples'.

    The others were drawn independently, so the baseline adds no bias. It is there from the first step on, where a value
    head has first to be learnt; that one is trained all the same, as it tells what a frame is worth when tracking.

    Args:
      logits: `[B, T, N]`.
      value: `[B, T]`, of no use to the policy.
      actions: `[K, B, T]` int, K at least 2 clips of actions for each clip, as drawn.
      rewards: `[K, B, T]`, constants of the loss.
      value_weight: weight of the value loss.
      normalize_advantage: divide by the sample standard deviation (+ 1e-8) over all K x B x T entries. Their mean is 0.

    Returns:
      total loss, dict of `policy_loss` and `value_loss`.
    """
    rewards = jax.lax.stop_gradient(rewards)
    others = (rewards.sum(0) - rewards) / (len(rewards) - 1)
    advantage = advantages(rewards, others, normalize_advantage)
    log_prob = act.log_prob(jnp.broadcast_to(logits, (*actions.shape, logits.shape[-1])), actions)
    policy_loss = -jnp.mean(advantage * jnp.exp(log_prob - jax.lax.stop_gradient(log_prob)))
    value_loss = jnp.mean(jnp.square(value - rewards))
    return policy_loss + value_weight * value_loss, {"policy_loss": policy_loss, "value_loss": value_loss}


def explained_variance(value, reward, alive=None):
    """`1 - Var(r - v) / Var(r)`: 1 for a perfect baseline, 0 for a constant one. `[B, T]` each -> `[]`."""
    return 1.0 - jnp.var(reward - value, where=alive) / (jnp.var(reward, where=alive) + 1e-8)
