"""How sure the tracker is: the probability that a frame's box is right, from four kinds of evidence.

The policy alone says little: a softmax has to point somewhere, and a policy taught by reward grows certain of its
choice whether the target is there or not. So four kinds of evidence are weighed (`EVIDENCE`, in this order):

    local_probability      log-odds of the policy's probability of the chosen cell and its neighbours
    value                  the value head's expected reward, the baseline of REINFORCE
    appearance_similarity  cosine between the features at the chosen cell and those at the first frame's
    center_proximity       1 minus the distance of the box from the middle of the search region, in its sides

The score is `sigmoid(bias + sum_k weight_k evidence_k)`. No weight is negative, so that more evidence never lowers the
score. The weights belong to a checkpoint: `relo calibrate` fits them (relo_jax/eval/calibration.py) and writes them
into the config's section "tracker" as `score_bias`, `score_local_probability` and so on. Without them the score is the
local probability, which is in [0, 1] but not the probability of being right; the other evidence is not computed then.

A model that localises by its centre map (`localizer`) has no policy: its score is the map's height at the chosen cell.

One low score does not mean that the target is lost. `found` changes only when `found_frames` frames in a row lie on the
other side of `found_threshold`. `Steady` keeps what that takes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from ml_collections import ConfigDict

EVIDENCE = ("local_probability", "value", "appearance_similarity", "center_proximity")
FIELDS = ("score_bias", *(f"score_{name}" for name in EVIDENCE))  # of the section "tracker"
FITTED = (*FIELDS, "found_threshold", "found_frames")  # what a calibration writes
UNCALIBRATED = dict(zip(FIELDS, (0.0, 1.0, 0.0, 0.0, 0.0), strict=True))  # the local probability as it is
_COLLECTION = "score"  # of the variables
LARGEST_LOG_ODDS = 14.0  # of one in a million


def is_calibrated(options: dict | ConfigDict) -> bool:
    """Whether a tracker's options hold weights of `relo calibrate`, so that the score is a probability."""
    return any(options.get(name, default) != default for name, default in UNCALIBRATED.items())


def with_weights(variables: dict, options: dict) -> dict:
    """The network's variables, with the score's weights if the options have some.

    As arrays among the variables, other weights need no compilation. Without weights the evidence is not computed.

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


def is_enabled(variables: dict) -> bool:
    """Whether the evidence is computed; known while tracing."""
    return _COLLECTION in variables


def probability(evidence: Float[Array | np.ndarray, "*batch 4"], weights: dict) -> Float[Array, "*batch"]:
    """The score.

    Args:
      evidence: see `EVIDENCE`.
      weights: dict of FIELDS, or variables that have them.

    Returns:
      in [0, 1].
    """
    weights = weights.get(_COLLECTION, weights)
    logit = weights["score_bias"] + sum(weights[f"score_{name}"] * evidence[..., k] for k, name in enumerate(EVIDENCE))
    return 0.5 * (1 + jnp.tanh(0.5 * logit))


class Steady:
    """The scores of K targets without their short changes: found is `level >= found_threshold`.

    The level is the last one, limited to the range of the last n scores. So it crosses a threshold exactly when n
    scores in a row are on the other side of it, for every threshold at once. With n = 1 it is the score.

    Args:
      targets: K.
      frames: n, option `found_frames`.
    """

    def __init__(self, targets: int, frames: int):
        self._level, self._recent = np.ones(targets), np.ones((targets, frames))

    def begin(self, target: int | slice = slice(None)) -> None:
        """A target, or all of them, begins anew and counts as found."""
        self._level[target], self._recent[target] = 1.0, 1.0

    def advance(self, scores: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
        """The levels after one more frame.

        Args:
          scores: in [0, 1], of this frame.
        """
        self._recent = np.concatenate([self._recent[:, 1:], np.asarray(scores, np.float64)[:, None]], axis=1)
        self._level = np.clip(self._level, self._recent.min(1), self._recent.max(1))
        return self._level.copy()


def levels(scores: Float[np.ndarray, " F"], frames: int) -> Float[np.ndarray, " F"]:
    """The levels of `Steady` over the scores of one video, from the frame after the given box."""
    steady = Steady(1, frames)
    return np.array([steady.advance(score[None])[0] for score in np.asarray(scores, np.float64)])


def near_cells(action: Int[Array, " B"], grid: int) -> Bool[Array, "B N"]:
    """The 3 x 3 cells around the chosen one, as far as they are on the map."""
    cells = jnp.arange(grid * grid)
    row, column = cells // grid, cells % grid
    return (jnp.abs(row - action[:, None] // grid) <= 1) & (jnp.abs(column - action[:, None] % grid) <= 1)


def local_probability(logits: Float[Array, "B N"], action: Int[Array, " B"], grid: int) -> Float[Array, " B"]:
    """The policy's probability of a cell and its neighbours.

    A target covers several cells whose boxes agree, so that the probability of one cell is low even when the place is
    clear. That of the 3 x 3 cells around it is not, and it falls when a second place looks as good.

    Args:
      logits: before the window.
      action: the cell.
      grid: H = W.

    Returns:
      in [0, 1].
    """
    return jnp.minimum(jnp.sum(jax.nn.softmax(logits, axis=-1) * near_cells(action, grid), axis=-1), 1.0)


def gather(
    logits: Float[Array, "B N"],
    value: Float[Array, " B"],
    features: Float[Array, "B N D"],
    reference: Float[Array, "B D"],
    box_cxcywh_norm: Float[Array, "B 4"],
    action: Int[Array, " B"],
    grid: int,
) -> Float[Array, "B 4"]:
    """The evidence of one frame.

    Args:
      logits: before the window.
      value: expected reward.
      features: of the search region.
      reference: `appearance_at` of the first search frame.
      box_cxcywh_norm: the chosen box.
      action: its cell.
      grid: H = W.
    """
    near = near_cells(action, grid)
    here, elsewhere = (jax.nn.logsumexp(jnp.where(part, logits, -jnp.inf), axis=-1) for part in (near, ~near))
    log_odds = jnp.clip(here - elsewhere, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
    similarity = jnp.where(near, jnp.einsum("bnd,bd->bn", _unit(features), reference), -1.0).max(-1)
    proximity = 1 - jnp.linalg.norm(box_cxcywh_norm[:, :2] - 0.5, axis=-1)
    return jnp.stack([log_odds, value, similarity, proximity], axis=-1)


def appearance_at(features: Float[Array, "B N D"], action: Int[Array, " B"]) -> Float[Array, "B D"]:
    """The features at a cell, scaled to length 1."""
    return _unit(jnp.take_along_axis(features, action[:, None, None], axis=1)[:, 0])


def _unit(x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    x = x.astype(jnp.float32)
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-6)
