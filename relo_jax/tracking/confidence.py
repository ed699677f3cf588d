"""How sure the tracker is: the probability that a frame's box is right, weighed from four kinds of evidence.

The policy alone says little of it: a softmax has to point somewhere, and one that was taught by reward grows certain
of its choice whether the target is there or not. So four things are looked at (`EVIDENCE`, in this order):

    mass      log-odds of the policy's probability of the chosen cell and its neighbours: here, or elsewhere as well?
    value     the value head's expected reward, the baseline of REINFORCE: how well do such frames end?
    likeness  cosine between the features here and those at the first frame's answer: does it look like what was given?
    nearness  1 minus the distance from the middle of the search region, in its sides: is it where it was?

and the score is `sigmoid(bias + sum_k weight_k evidence_k)`. No weight is negative: more of any evidence never lowers
it. These weights belong to a checkpoint's: `relo calibrate` fits them (relo_jax/eval/calibration.py) and writes them
into the config's section "tracker" as `score_bias`, `score_local_probability` and so on. A checkpoint without them scores by the
mass alone, which is in [0, 1] but no probability of anything; nothing else is computed then.

All of this is of a policy. A model that says where by its centre map (`model.localizer`) has that map's height at the
chosen cell for a score, in (0, 1) and no probability either.
"""

import jax
import jax.numpy as jnp
import numpy as np

EVIDENCE = ("local_probability", "value", "appearance_similarity", "center_proximity")
FIELDS = ("score_bias", *(f"score_{name}" for name in EVIDENCE))  # of the section "tracker"
UNCALIBRATED = dict(zip(FIELDS, (0.0, 1.0, 0.0, 0.0, 0.0), strict=True))  # the mass alone, as it is
_COLLECTION = "score"  # of the variables
_LARGEST = 14.0  # log-odds of one in a million


def is_calibrated(options):
    """Whether a tracker's options hold a fit of `relo calibrate`: a score that is a probability."""
    return any(options.get(name, default) != default for name, default in UNCALIBRATED.items())


def with_weights(variables, options):
    """The network's variables, and the score's weights among them if there are any.

    They are weights like the others: arrays, so that other values compile nothing anew; and where there are none,
    neither is what they weigh.

    Args:
      variables: `{"params", "batch_stats"}`.
      options: all options of a tracker.

    Returns:
      dict.
    """
    network = {name: tree for name, tree in variables.items() if name != _COLLECTION}
    if not is_calibrated(options):
        return network
    return {**network, _COLLECTION: {name: np.float32(options[name]) for name in FIELDS}}


def is_enabled(variables):
    """Whether the evidence is to be computed; known while tracing."""
    return _COLLECTION in variables


def probability(evidence, weights):
    """The score.

    Args:
      evidence: `[..., 4]`, see `EVIDENCE`.
      weights: dict of FIELDS, or variables that have them.

    Returns:
      `[...]` in [0, 1].
    """
    weights = weights.get(_COLLECTION, weights)
    logit = weights["score_bias"] + sum(weights[f"score_{name}"] * evidence[..., k] for k, name in enumerate(EVIDENCE))
    return 0.5 * (1 + jnp.tanh(0.5 * logit))


def near_cells(action, grid):
    """The 3 x 3 cells around one, those on the map: action `[B]` -> bool `[B, N]`."""
    cells = jnp.arange(grid * grid)
    row, column = cells // grid, cells % grid
    return (jnp.abs(row - action[:, None] // grid) <= 1) & (jnp.abs(column - action[:, None] % grid) <= 1)


def local_probability(logits, action, grid):
    """The policy's probability of a cell and its neighbours: is the answer *there*, or could it be elsewhere?

    A target lies across several cells whose boxes agree, so that the one cell's probability is low even when all is
    clear; the mass of the 3 x 3 cells around it is not, and falls when a second place looks as good.

    Args:
      logits: `[B, N]`, before the window.
      action: `[B]`.
      grid: H = W.

    Returns:
      `[B]` in [0, 1].
    """
    return jnp.minimum(jnp.sum(jax.nn.softmax(logits, axis=-1) * near_cells(action, grid), axis=-1), 1.0)


def gather(logits, value, features, reference, box_cxcywh_norm, action, grid):
    """The evidence of one frame.

    Args:
      logits: `[B, N]`, before the window.
      value: `[B]`.
      features: `[B, N, D]`.
      reference: `[B, D]`, see `appearance_at`.
      box_cxcywh_norm: `[B, 4]`, the answer.
      action: `[B]`, its cell.
      grid: H = W.

    Returns:
      float32 `[B, 4]`.
    """
    near = near_cells(action, grid)
    here, elsewhere = (jax.nn.logsumexp(jnp.where(part, logits, -jnp.inf), axis=-1) for part in (near, ~near))
    log_odds = jnp.clip(here - elsewhere, -_LARGEST, _LARGEST)
    similarity = jnp.where(near, jnp.einsum("bnd,bd->bn", _unit(features), reference), -1.0).max(-1)
    proximity = 1 - jnp.linalg.norm(box_cxcywh_norm[:, :2] - 0.5, axis=-1)
    return jnp.stack([log_odds, value, similarity, proximity], axis=-1)


def appearance_at(features, action):
    """What the target looks like at a cell: features `[B, N, D]`, action `[B]` -> `[B, D]` of length 1."""
    return _unit(jnp.take_along_axis(features, action[:, None, None], axis=1)[:, 0])


def _unit(x):
    x = x.astype(jnp.float32)
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-6)
