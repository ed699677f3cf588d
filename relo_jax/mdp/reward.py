"""The reward is the metric: IoU of each frame plus AUC of the clip (paper, Eq. 5 and 6; the released system, "RL")."""

import jax.numpy as jnp

THRESHOLDS = 21


def clip_auc(iou):
    """Area under the success curve of a clip.

    Success rate at 21 thresholds 0, 0.05 ... 1 (strictly greater), trapezoid rule.

    Args:
      iou: `[..., T]`.

    Returns:
      `[...]` in [0, 1].
    """
    thresholds = jnp.linspace(0.0, 1.0, THRESHOLDS, dtype=iou.dtype)
    success = (iou[..., None] > thresholds).astype(iou.dtype).mean(-2)
    return jnp.trapezoid(success, dx=1.0 / (THRESHOLDS - 1), axis=-1)


def clip_reward(iou, iou_weight, auc_weight):
    """`r_t = iou_weight * IoU_t + auc_weight * AUC`, one AUC for all frames of a clip. `[..., T]` -> `[..., T]`."""
    return iou_weight * iou + auc_weight * clip_auc(iou)[..., None]
