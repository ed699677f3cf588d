"""Stage 1, the warm-up: encoder and box regression, supervised where the target is (paper, Section 3.3).

The paper decodes the box at the cell of the ground-truth centre; nothing teaches the model *where* to look. The release
decodes at the argmax of a centre map that it trains with a focal loss: `decode_at = "argmax"`,
`center_focal_weight = 1` (the released system, "Warm-up").

With `train = "center"` that map is all that is trained, on the frozen encoder and boxes of a finished warm-up and on
the very frames that the RL stage would give its policy: the hand-made opponent of the reward, with the same means.
"""

import jax
import jax.numpy as jnp

from relo_jax.geometry import boxes
from relo_jax.mdp import action as act
from relo_jax.mdp import reward
from relo_jax.train.features import encode
from relo_jax.train.state import make_step as make_update
from relo_jax.train.state import variables_of


def gaussian_heatmap(box_xywh, grid, min_overlap=0.7, peak="rounded"):
    """CenterNet's target: a Gaussian around the centre's cell, as wide as still overlaps the box by `min_overlap`.

    Args:
      box_xywh: `[..., 4]`, relative to the crop.
      grid: H = W.
      min_overlap: IoU that a box moved by the Gaussian's radius keeps (Law and Deng, 2018).
      peak: "rounded", the cell whose number is nearest to the centre (the release), or "cell", the one that holds it,
        where `decode_at="center"` has the boxes learnt.

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
    center = box[..., :2] + 0.5 * box[..., 2:]
    center = jnp.round(center) if peak == "rounded" else jnp.clip(jnp.floor(center), 0, grid - 1)
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


def warmup_loss(
    size, offset, center, box_xywh, *, giou_weight, l1_weight, center_focal_weight, decode_at, heatmap_peak="rounded"
):
    """The warm-up loss of B x T frames.

    Args:
      size, offset: `[B, T, H, W, 2]` of the regression head.
      center: `[B, T, H, W]` centre map, or None where neither the loss nor the decoding asks for it.
      box_xywh: `[B, T, 4]`, ground truth relative to the crop.
      giou_weight, l1_weight: 2 and 5 in paper and release.
      center_focal_weight: 0 in the paper, 1 in the release.
      decode_at: "center" (paper) or "argmax" of the centre map (release).
      heatmap_peak: see `gaussian_heatmap`.

    Returns:
      total loss, dict of metrics: `giou_loss`, `l1_loss`, `iou` (at the decoded cell) and, with a centre map,
      `center_loss`, and `argmax_iou` and `argmax_auc` at its highest cell, which compare with the `greedy_iou` and
      `greedy_auc` of a policy.
    """
    grid = size.shape[-3]
    truth = jnp.clip(boxes.xywh_to_xyxy(box_xywh), 0.0, 1.0)
    decoded = lambda action: boxes.cxcywh_to_xyxy(act.decode_boxes(size, offset, action))
    action = act.center_action(box_xywh, grid)
    metrics = {}
    if center is not None:
        peak = act.greedy(center.reshape(*center.shape[:2], -1))
        peak_iou = boxes.iou_xyxy(decoded(peak), truth)
        metrics |= {"argmax_iou": peak_iou.mean(), "argmax_auc": reward.clip_auc(peak_iou).mean()}
        if decode_at == "argmax":
            action = peak
    predicted = decoded(action)
    giou_loss = (1 - boxes.giou_xyxy(predicted, truth)).mean()
    l1_loss = jnp.abs(predicted - truth).mean()
    total = giou_weight * giou_loss + l1_weight * l1_loss
    metrics |= {"giou_loss": giou_loss, "l1_loss": l1_loss, "iou": boxes.iou_xyxy(predicted, truth).mean()}
    if center_focal_weight:
        # The release divides by the peaks of one frame's batch and then averages the frames.
        per_frame = jax.vmap(focal_loss, in_axes=1)(center, gaussian_heatmap(box_xywh, grid, peak=heatmap_peak))
        metrics["center_loss"] = per_frame.mean()
        total = total + center_focal_weight * metrics["center_loss"]
    return total, metrics


def _maps(model, config, variables, batch, key=None):
    """What the heads say of a batch of clips.

    Args:
      model, config: the network, and the run's config.
      variables: of the whole model.
      batch: of clips, see `relo_jax.data.clips.read.draw`.
      key: PRNG key of drop path; None in evaluation, with running statistics.

    Returns:
      (size, offset, centre maps as `warmup_loss` takes them), and the running statistics after the batch.
    """
    train = key is not None
    if config.warmup.train == "center":
        frames = encode(model, config, variables, batch, key)
        center, updated = model.apply(variables, frames.features, train, mutable=["batch_stats"], method="center")
        return (frames.size, frames.offset, center), updated["batch_stats"]
    needs_center = bool(config.warmup.center_focal_weight) or config.warmup.decode_at == "argmax"

    def forward(module):
        templates = module.encode_templates(batch["template_images"], batch["template_boxes_xywh"], train)
        features, _ = module.encode_clip(templates, batch["search_images"], train)
        return *module.boxes(features, train), module.center(features, train) if needs_center else None

    rngs = {"drop_path": key} if train else None
    maps, updated = model.apply(variables, rngs=rngs, mutable=["batch_stats"], method=forward)
    return maps, {**variables["batch_stats"], **updated["batch_stats"]}


def loss_fields(config):
    """The keyword arguments of `warmup_loss` from a config."""
    fields = config.warmup
    of_boxes = 0.0 if fields.train == "center" else 1.0  # they cannot change
    return dict(
        giou_weight=of_boxes * fields.giou_weight,
        l1_weight=of_boxes * fields.l1_weight,
        center_focal_weight=fields.center_focal_weight,
        decode_at=fields.decode_at,
        heatmap_peak=fields.heatmap_peak,
    )


def make_step(model, config, tx):
    """The jitted warm-up update, over `config.accumulate_steps` parts; see `relo_jax.train.state.make_step`."""
    # Where the encoder is frozen it takes the parts by itself, and the centre map sees the whole batch.
    parts = 1 if config.warmup.train == "center" else config.accumulate_steps

    def loss_fn(params, state, batch, key):
        maps, batch_stats = _maps(model, config, variables_of(state.replace(params=params)), batch, key)
        loss, metrics = warmup_loss(*maps, batch["search_boxes_xywh"], **loss_fields(config))
        return loss, (batch_stats, metrics)

    return make_update(config, tx, loss_fn, parts)


def make_eval(model, config):
    """A jitted `evaluate(variables, batch) -> metrics` on held-out clips, with running statistics."""

    def evaluate(variables, batch):
        maps, _ = _maps(model, config, variables, batch)
        loss, metrics = warmup_loss(*maps, batch["search_boxes_xywh"], **loss_fields(config))
        return {**metrics, "loss": loss}

    return jax.jit(evaluate)
