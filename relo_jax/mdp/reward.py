"""The reward is the metric: IoU of each frame plus AUC of the clip (paper, Eq. 5 and 6; the released system, "RL")."""

import jax.numpy as jnp

THRESHOLDS = 21


def clip_auc(iou, auc="thresholds"):
    """Area under the success curve of a clip: the mean over its frames of what each adds to it.

    Args:
      iou: `[..., T]`.
      auc: "thresholds", success rate at 21 thresholds 0, 0.05 ... 1 (strictly greater), trapezoid rule; "continuous",
        the same area for all thresholds from 0 to 1. A frame succeeds at those below its IoU, so that it adds a
        staircase of its IoU to the first, and to the second its IoU itself: the area is then the mean IoU.

    Returns:
      `[...]` in [0, 1].
    """
    if auc == "continuous":
        return iou.mean(-1)
    thresholds = jnp.linspace(0.0, 1.0, THRESHOLDS, dtype=iou.dtype)
    success = (iou[..., None] > thresholds).astype(iou.dtype).mean(-2)
    return jnp.trapezoid(success, dx=1.0 / (THRESHOLDS - 1), axis=-1)


def clip_reward(iou, iou_weight, auc_weight, auc="thresholds"):
    """`r_t = iou_weight * IoU_t + auc_weight * AUC`, one AUC for all frames of a clip. `[..., T]` -> `[..., T]`."""
    return iou_weight * iou + auc_weight * clip_auc(iou, auc)[..., None]
