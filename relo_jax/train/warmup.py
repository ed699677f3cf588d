"""Stage 1, the warm-up: encoder and box regression, supervised where the target is (paper, Section 3.3).

The paper decodes the box at the cell of the ground-truth centre; nothing teaches the model *where* to look. The release
decodes at the argmax of a centre map that it trains with a focal loss: `decode_at = "argmax"`,
`center_focal_weight = 1` (the released system, "Warm-up").
"""

import jax
import jax.numpy as jnp

from relo_jax import boxes
from relo_jax.mdp import action as act
from relo_jax.train.state import make_step as make_update


def gaussian_heatmap(box_xywh, grid, min_overlap=0.7):
    """CenterNet's target: a Gaussian at the rounded centre cell, as wide as still overlaps the box by `min_overlap`.

    Args:
      box_xywh: `[..., 4]`, relative to the crop.
      grid: H = W.
      min_overlap: IoU that a box moved by the Gaussian's radius keeps (Law and Deng, 2018).

    Returns:
      `[..., H, W]` in [0, 1].
    """
    box = box_xywh * grid
    width, height = box[..., 2], box[..., 3]
    total, area, keep = height + width, width * height, min_overlap
    root = lambda a, b, c: (b + jnp.sqrt(jnp.square(b) - 4 * a * c)) / 2
    radius = jnp.minimum(
        jnp.minimum(root(1, total, area * (1 - keep) / (1 + keep)), root(4, 2 * total, (1 - keep) * area)),
        root(4 * keep, -2 * keep * total, (keep - 1) * area),
    )
    radius = jnp.floor(jnp.maximum(radius, 0.0))[..., None, None]
    center = jnp.round(box[..., :2] + 0.5 * box[..., 2:])
    cells = jnp.arange(grid, dtype=box.dtype)
    dx = (cells - center[..., 0, None])[..., None, :]
    dy = (cells - center[..., 1, None])[..., :, None]
    sigma = (2 * radius + 1) / 6
    heat = jnp.exp(-(jnp.square(dx) + jnp.square(dy)) / (2 * jnp.square(sigma)))
    return jnp.where((jnp.abs(dx) <= radius) & (jnp.abs(dy) <= radius), heat, 0.0)


def focal_loss(center, heatmap):
    """CenterNet's focal loss (alpha 2, beta 4), divided by the number of peaks.

    Args:
      center: `[..., H, W]` in (0, 1), clamped away from both ends.
      heatmap: `[..., H, W]`; cells that equal 1 are the peaks.

    Returns:
      `[]`.
    """
    peak = heatmap == 1.0
    positive = jnp.where(peak, jnp.log(center) * jnp.square(1 - center), 0.0)
    negative = jnp.where(peak, 0.0, jnp.log1p(-center) * jnp.square(center) * (1 - heatmap) ** 4)
    return -(positive.sum() + negative.sum()) / jnp.maximum(peak.sum(), 1)


def warmup_loss(size, offset, center, box_xywh, *, giou_weight, l1_weight, center_focal_weight, decode_at):
    """The warm-up loss of B x T frames.

    Args:
      size, offset: `[B, T, H, W, 2]` of the regression head.
      center: `[B, T, H, W]` centre map, or None where neither the loss nor the decoding asks for it.
      box_xywh: `[B, T, 4]`, ground truth relative to the crop.
      giou_weight, l1_weight: 2 and 5 in paper and release.
      center_focal_weight: 0 in the paper, 1 in the release.
      decode_at: "center" (paper) or "argmax" of the centre map (release).

    Returns:
      total loss, dict of metrics: `giou_loss`, `l1_loss`, `iou` (at the decoded cell) and, with a centre map,
      `center_loss` and `argmax_iou`.
    """
    grid = size.shape[-3]
    truth = jnp.clip(boxes.xywh_to_xyxy(box_xywh), 0.0, 1.0)
    decoded = lambda action: boxes.cxcywh_to_xyxy(act.decode_boxes(size, offset, action))
    action = act.center_action(box_xywh, grid)
    metrics = {}
    if center is not None:
        peak = act.greedy(center.reshape(*center.shape[:2], -1))
        metrics["argmax_iou"] = boxes.iou_xyxy(decoded(peak), truth).mean()
        if decode_at == "argmax":
            action = peak
    predicted = decoded(action)
    giou_loss = (1 - boxes.giou_xyxy(predicted, truth)).mean()
    l1_loss = jnp.abs(predicted - truth).mean()
    total = giou_weight * giou_loss + l1_weight * l1_loss
    metrics |= {"giou_loss": giou_loss, "l1_loss": l1_loss, "iou": boxes.iou_xyxy(predicted, truth).mean()}
    if center_focal_weight:
        # The release divides by the peaks of one frame's batch and then averages the frames.
        per_frame = jax.vmap(focal_loss, in_axes=1)(center, gaussian_heatmap(box_xywh, grid))
        metrics["center_loss"] = per_frame.mean()
        total = total + center_focal_weight * metrics["center_loss"]
    return total, metrics


def _maps(model, config, variables, batch, *, train, rngs=None, mutable=False):
    """Size, offset and centre maps of a batch of clips; `(maps, updated collections)` with `mutable`."""
    needs_center = bool(config.warmup.center_focal_weight) or config.warmup.decode_at == "argmax"

    def forward(module):
        templates = module.encode_templates(batch["template_images"], batch["template_boxes_xywh"], train)
        features, _ = module.encode_clip(templates, batch["search_images"], train)
        return *module.boxes(features, train), module.center(features, train) if needs_center else None

    return model.apply(variables, rngs=rngs, mutable=mutable, method=forward)


def loss_fields(config):
    """The keyword arguments of `warmup_loss` from a config."""
    fields = config.warmup
    return dict(
        giou_weight=fields.giou_weight,
        l1_weight=fields.l1_weight,
        center_focal_weight=fields.center_focal_weight,
        decode_at=fields.decode_at,
    )


def make_step(model, config, tx):
    """The jitted warm-up update, over `config.accumulate_steps` parts; see `relo_jax.train.state.make_step`."""

    def loss_fn(params, state, batch, key):
        variables = {"params": {**state.frozen_params, **params}, "batch_stats": state.batch_stats}
        maps, updated = _maps(
            model, config, variables, batch, train=True, rngs={"drop_path": key}, mutable=["batch_stats"]
        )
        loss, metrics = warmup_loss(*maps, batch["search_boxes_xywh"], **loss_fields(config))
        return loss, ({**state.batch_stats, **updated["batch_stats"]}, metrics)

    return make_update(config, tx, loss_fn, config.accumulate_steps)


def make_eval(model, config):
    """A jitted `evaluate(variables, batch) -> metrics` on held-out clips, with running statistics."""

    def evaluate(variables, batch):
        maps = _maps(model, config, variables, batch, train=False)
        loss, metrics = warmup_loss(*maps, batch["search_boxes_xywh"], **loss_fields(config))
        return {**metrics, "loss": loss}

    return jax.jit(evaluate)
