"""Stage 1, the warm-up: encoder and box regression, supervised at the target (paper, Section 3.3).

The paper decodes the box at the cell of the ground-truth centre, so nothing trains the model to localise. The release
decodes at the argmax of a centre map that it trains with a focal loss: `decode_at = "argmax"`,
`center_focal_weight = 1`.

With `train = "center"` only that map is trained, on the frozen encoder and boxes of a finished warm-up and on the same
frames as the RL stage's policy. It is the supervised baseline of the reward.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from relo_jax.geometry import boxes
from relo_jax.mdp import action as act
from relo_jax.mdp import reward
from relo_jax.model import RELO
from relo_jax.train.features import ClipFeatures, encode
from relo_jax.train.groups import apply_heads, split_groups
from relo_jax.train.state import Step, make_step_on_features, make_update, trained, variables_of

Metrics = dict[str, jax.Array]


def gaussian_heatmap(box_xywh: jax.Array, grid: int, min_overlap: float = 0.7, peak: str = "rounded") -> jax.Array:
    """CenterNet's target: a Gaussian around the centre's cell.

    Args:
      box_xywh: `[..., 4]`, relative to the crop.
      grid: H = W.
      min_overlap: the Gaussian's radius is the shift at which a box keeps this IoU (Law and Deng, 2018).
      peak: "rounded", the cell whose index is nearest to the centre, as in the release; or "cell", the one that
        contains it, at which `decode_at="center"` trains the boxes.

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


def focal_loss(center: jax.Array, heatmap: jax.Array) -> jax.Array:
    """CenterNet's focal loss (alpha 2, beta 4), divided by the number of peaks, `[]`.

    Args:
      center: `[..., H, W]` in (0, 1), clamped away from both ends.
      heatmap: `[..., H, W]`; cells that equal 1 are the peaks.
    """
    peak = heatmap == 1.0
    positive = jnp.where(peak, jnp.log(center) * jnp.square(1 - center), 0.0)
    negative = jnp.where(peak, 0.0, jnp.log1p(-center) * jnp.square(center) * (1 - heatmap) ** 4)
    return -(positive.sum() + negative.sum()) / jnp.maximum(peak.sum(), 1)


def warmup_loss(
    size: jax.Array, offset: jax.Array, center: jax.Array | None, box_xywh: jax.Array, *, giou_weight: float,
    l1_weight: float, center_focal_weight: float, decode_at: str, heatmap_peak: str = "rounded",
    group: int = 0,
) -> tuple[jax.Array, Metrics]:  # fmt: skip
    """The warm-up loss of B x T frames.

    Args:
      size, offset: `[B, T, H, W, 2]` of the regression head.
      center: `[B, T, H, W]` centre map, or None if neither loss nor decoding needs it.
      box_xywh: `[B, T, 4]`, ground truth relative to the crop.
      giou_weight, l1_weight: 2 and 5 in paper and release.
      center_focal_weight: 0 in the paper, 1 in the release.
      decode_at: "center" (paper) or "argmax" of the centre map (release).
      heatmap_peak: see `gaussian_heatmap`.
      group: clips whose peaks the focal loss counts together; 0: all.

    Returns:
      The total loss, and metrics: `giou_loss`, `l1_loss` and `iou` at the decoded cell. With a centre map also
      `center_loss`, and at the map's highest cell `argmax_iou` and `argmax_auc`, the counterparts of a policy's
      `greedy_iou` and `greedy_auc`.
    """
    grid = size.shape[-3]
    truth = jnp.clip(boxes.xywh_to_xyxy(box_xywh), 0.0, 1.0)
    decoded = lambda action: boxes.cxcywh_to_xyxy(act.decode_boxes(size, offset, action))
    action = act.center_action(box_xywh, grid)
    metrics: dict[str, jax.Array] = {}
    if center is not None:
        peak = act.greedy(center.reshape(*center.shape[:2], -1))
        peak_iou = jnp.asarray(boxes.iou_xyxy(decoded(peak), truth))
        metrics |= {"argmax_iou": peak_iou.mean(), "argmax_auc": reward.clip_auc(peak_iou).mean()}
        if decode_at == "argmax":
            action = peak
    predicted = decoded(action)
    giou_loss = (1 - boxes.giou_xyxy(predicted, truth)).mean()
    l1_loss = jnp.abs(predicted - truth).mean()
    total = giou_weight * giou_loss + l1_weight * l1_loss
    metrics |= {"giou_loss": giou_loss, "l1_loss": l1_loss, "iou": boxes.iou_xyxy(predicted, truth).mean()}
    if center is not None and center_focal_weight:
        # The release divides by the peaks of one frame of a GPU's clips, and averages the frames, then the GPUs.
        maps = split_groups((center, gaussian_heatmap(box_xywh, grid, peak=heatmap_peak)), group)
        metrics["center_loss"] = jax.vmap(jax.vmap(focal_loss, in_axes=1))(*maps).mean()
        total = total + center_focal_weight * metrics["center_loss"]
    return total, metrics


def _maps(model, config, variables, batch, key=None):
    """The regression head's maps for a batch of clips, with an encoder that learns.

    Args:
      config: the run's config.
      variables: of the whole model.
      batch: clips, see `relo_jax.data.clips.read`.
      key: of drop path; None in evaluation, with running statistics.

    Returns:
      (size, offset, center) as `warmup_loss` takes them, and the running statistics after the batch.
    """
    train = key is not None
    needs_center = bool(config.warmup.center_focal_weight) or config.warmup.decode_at == "argmax"

    def encoder(module):
        templates = module.encode_templates(batch["template_images"], batch["template_boxes_xywh"], train)
        return module.encode_clip(templates, batch["search_images"], train)[0]

    def heads(module, features):
        return *module.boxes(features, train), module.center(features, train) if needs_center else None

    features = model.apply(variables, rngs={"drop_path": key} if train else None, method=encoder)
    paths = ("regression/offset", "regression/size", *(["regression/center"] if needs_center else []))
    return apply_heads(model, config, variables, heads, features, paths, train)


def loss_fields(config: ConfigDict) -> dict[str, Any]:
    """The keyword arguments of `warmup_loss` from a config."""
    fields = config.warmup
    box_scale = 0.0 if fields.train == "center" else 1.0  # frozen boxes have no loss
    return dict(
        giou_weight=box_scale * fields.giou_weight,
        l1_weight=box_scale * fields.l1_weight,
        center_focal_weight=fields.center_focal_weight,
        decode_at=fields.decode_at,
        heatmap_peak=fields.heatmap_peak,
        group=config.group_size,
    )


def step_features(
    model: RELO, config: ConfigDict, variables: dict, batch: dict[str, jax.Array], key: jax.Array
) -> ClipFeatures:
    """What the update of the centre map alone sees of a batch; arguments as of `relo_jax.train.rl.step_features`."""
    return encode(model, config, variables, batch, key)


def make_heads_update(model: RELO, config: ConfigDict, tx: optax.GradientTransformation) -> Step:
    """The update of the centre map alone, `(state, ClipFeatures) -> (state, metrics)`, to be compiled."""

    def loss_fn(params, state, frames, key):
        loss, batch_stats, metrics = _center_loss(
            model, config, variables_of(state.replace(params=params)), frames, True
        )
        return loss, (batch_stats, metrics)

    return make_update(config, tx, loss_fn)


def _center_loss(model, config, variables, frames, train):
    """The loss of the centre map on given features, the running statistics after it, and metrics."""
    heads = lambda module, features: module.center(features, train)
    center, batch_stats = apply_heads(model, config, variables, heads, frames.features, trained(config), train)
    loss, metrics = warmup_loss(frames.size, frames.offset, center, frames.box_xywh, **loss_fields(config))
    return loss, batch_stats, metrics


def make_step(model: RELO, config: ConfigDict, tx: optax.GradientTransformation) -> Step:
    """The jitted warm-up update, over `config.accumulate_steps` parts, which donates the state's buffers; see
    `relo_jax.train.state.make_update`."""

    def loss_fn(params, state, batch, key):
        maps, batch_stats = _maps(model, config, variables_of(state.replace(params=params)), batch, key)
        loss, metrics = warmup_loss(*maps, batch["search_boxes_xywh"], **loss_fields(config))
        return loss, (batch_stats, metrics)

    if config.warmup.train != "center":
        return jax.jit(make_update(config, tx, loss_fn, config.accumulate_steps), donate_argnums=0)
    # `encode` splits the batch of a frozen encoder itself, and the centre map gets the whole batch.
    features = functools.partial(step_features, model, config)
    return make_step_on_features(features, make_heads_update(model, config, tx))


def heads_metrics(model: RELO, config: ConfigDict, variables: dict, frames: ClipFeatures) -> Metrics:
    """Metrics of a centre map in held-out clips, given their features; with running statistics."""
    loss, _, metrics = _center_loss(model, config, variables, frames, False)
    return {**metrics, "loss": loss}


def make_eval(model: RELO, config: ConfigDict) -> Callable[[dict, dict[str, jax.Array]], Metrics]:
    """A jitted `evaluate(variables, batch) -> metrics` on held-out clips, with running statistics."""

    def evaluate(variables, batch):
        if config.warmup.train == "center":
            return heads_metrics(model, config, variables, encode(model, config, variables, batch))
        maps, _ = _maps(model, config, variables, batch)
        loss, metrics = warmup_loss(*maps, batch["search_boxes_xywh"], **loss_fields(config))
        return {**metrics, "loss": loss}

    return jax.jit(evaluate)
