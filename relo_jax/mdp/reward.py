"""The reward is the metric: IoU of each frame plus AUC of the clip (paper, Eq. 5 and 6)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

THRESHOLDS = 21


def clip_auc(iou: Float[Array, "*batch T"], auc: str = "thresholds") -> Float[Array, "*batch"]:
    """Area under the success curve of a clip, in [0, 1].

    Args:
      iou: of each frame with the ground truth.
      auc: "thresholds": success rates at the 21 thresholds 0, 0.05 ... 1 (strictly greater), trapezoid rule.
        "continuous": the same area over all thresholds from 0 to 1, which is the mean IoU.
    """
    if auc == "continuous":
        return iou.mean(-1)
    thresholds = jnp.linspace(0.0, 1.0, THRESHOLDS, dtype=iou.dtype)
    success = (iou[..., None] > thresholds).astype(iou.dtype).mean(-2)
    return jnp.trapezoid(success, dx=1.0 / (THRESHOLDS - 1), axis=-1)


def clip_reward(
    iou: Float[Array, "*batch T"], iou_weight: float, auc_weight: float, auc: str = "thresholds"
) -> Float[Array, "*batch T"]:
    """`r_t = iou_weight * IoU_t + auc_weight * AUC`, with one AUC for all frames of a clip."""
    return iou_weight * iou + auc_weight * clip_auc(iou, auc)[..., None]
