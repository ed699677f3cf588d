"""The policy gradient from sampled actions, with one of two baselines.

`reinforce_loss`: REINFORCE with a learnt value (Williams, 1992; paper, Eq. 7 to 9). `rloo_loss`: the mean reward of the
other samples (RLOO; Kool et al., 2019, "Buy 4 REINFORCE samples"). Both estimate the gradient that
`relo_jax.mdp.expected_gradient` computes in closed form.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from relo_jax.mdp import action as act

Losses = tuple[Float[Array, ""], dict[str, Float[Array, ""]]]


def advantages(
    reward: Float[Array, "*K B T"], value: Float[Array, "*K B T"], normalize: bool,
    alive: Bool[Array, "B T"] | None = None, group: int = 0,
) -> Float[Array, "*K B T"]:  # fmt: skip
    """`A = r - v`, without a gradient.

    Args:
      reward, value: of each frame.
      normalize: standardise over all entries: subtract the mean and divide by the sample standard deviation (+ 1e-8).
        The release does, the paper does not mention it.
      alive: the entries that count in mean and deviation; None: all.
      group: standardise over each group of so many clips by itself, as the release does on each GPU; 0: over all.
    """
    advantage = jax.lax.stop_gradient(reward - value)
    if not normalize:
        return advantage
    if not group:
        return _standardized(advantage, alive)
    in_groups = lambda x: x.reshape(*x.shape[:-2], -1, group, x.shape[-1])
    by_group = jax.vmap(_standardized, in_axes=(-3, None if alive is None else 0), out_axes=-3)
    return by_group(in_groups(advantage), None if alive is None else in_groups(alive)).reshape(advantage.shape)


def _standardized(advantage, alive):
    deviation = jnp.std(advantage, ddof=1, where=alive)
    return (advantage - jnp.mean(advantage, where=alive)) / (deviation + 1e-8)


def reinforce_loss(
    logits: Float[Array, "B T N"], value: Float[Array, "B T"], action: Integer[Array, "B T"],
    reward: Float[Array, "B T"], *, value_weight: float = 0.5, normalize_advantage: bool = False,
    alive: Bool[Array, "B T"] | None = None, group: int = 0,
) -> Losses:  # fmt: skip
    """`-mean(A log pi(a)) + value_weight * mean((v - r)^2)`, up to a constant.

    The policy term has the ratio `pi(a) / stop_gradient(pi(a))` in place of `log pi(a)`, as in the release: its
    gradient is the same, and its value is `-mean(A)`.

    Args:
      value: the baseline.
      action: as sampled.
      reward: a constant of the loss.
      value_weight: weight of the value loss.
      normalize_advantage, group: see `advantages`.
      alive: the frames before the episode ended; None: all. The others count as zeros in the means, so that the weight
        of a frame does not depend on how many others are lost.

    Returns:
      The total loss, and a dict of `policy_loss` and `value_loss`.
    """
    reward = jax.lax.stop_gradient(reward)
    mean = lambda x: jnp.mean(x if alive is None else jnp.where(alive, x, 0))
    advantage = advantages(reward, value, normalize_advantage, alive, group)
    log_prob = act.log_prob(logits, action)
    policy_loss = -mean(advantage * jnp.exp(log_prob - jax.lax.stop_gradient(log_prob)))
    value_loss = mean(jnp.square(value - reward))
    return policy_loss + value_weight * value_loss, {"policy_loss": policy_loss, "value_loss": value_loss}


def rloo_loss(
    logits: Float[Array, "B T N"], value: Float[Array, "B T"], actions: Integer[Array, "K B T"],
    rewards: Float[Array, "K B T"], *, value_weight: float = 0.5, normalize_advantage: bool = False, group: int = 0,
) -> Losses:  # fmt: skip
    """`-mean(A log pi(a)) + value_weight * mean((v - r)^2)` with `A` = reward minus the mean of the other samples'.

    The samples are independent, so the baseline adds no bias, and it works from the first step, when a value head has
    learnt nothing yet. The value head is trained nevertheless: when tracking, it estimates what a frame is worth.

    Args:
      value: only trained; not the baseline.
      actions: K >= 2 independent samples for each frame.
      rewards: constants of the loss.
      value_weight: weight of the value loss.
      normalize_advantage: divide by the sample standard deviation (+ 1e-8) over all entries. Their mean is 0.
      group: see `advantages`.

    Returns:
      The total loss, and a dict of `policy_loss` and `value_loss`.
    """
    rewards = jax.lax.stop_gradient(rewards)
    others = (rewards.sum(0) - rewards) / (len(rewards) - 1)
    advantage = advantages(rewards, others, normalize_advantage, group=group)
    log_prob = act.log_prob(jnp.broadcast_to(logits, (*actions.shape, logits.shape[-1])), actions)
    policy_loss = -jnp.mean(advantage * jnp.exp(log_prob - jax.lax.stop_gradient(log_prob)))
    value_loss = jnp.mean(jnp.square(value - rewards))
    return policy_loss + value_weight * value_loss, {"policy_loss": policy_loss, "value_loss": value_loss}


def explained_variance(
    value: Float[Array, "B T"], reward: Float[Array, "*K B T"], alive: Bool[Array, "B T"] | None = None
) -> Float[Array, ""]:
    """`1 - Var(r - v) / Var(r)` over the entries that are `alive`: 1 for a perfect baseline, 0 for a constant one."""
    return 1.0 - jnp.var(reward - value, where=alive) / (jnp.var(reward, where=alive) + 1e-8)
