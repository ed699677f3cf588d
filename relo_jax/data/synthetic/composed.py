"""A composed scene as a sequence: boxes and visibility of the target, and crops rendered without their frames."""

from __future__ import annotations

import numpy as np

from relo_jax.data.sequence import Sequence
from relo_jax.data.synthetic import motion
from relo_jax.data.synthetic.cutout import PATCH, bend_field
from relo_jax.data.synthetic.scene import Layer, Scene, render
from relo_jax.geometry.crop import crop_window

MIN_VISIBLE_SHARE = 0.4  # of the target's surface in a frame that counts as visible
MIN_SIDE = 4.0  # pixels, of a visible box


def target_boxes(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Ground truth: boxes_xywh float64 [F, 4] and visible bool [F].

    A box encloses the part of the target's silhouette inside the frame, occluded parts included. The target is visible
    if at least two fifths of it are inside the frame and not occluded, and no side of the box is below 4 pixels.
    """
    limit = np.array([scene.width, scene.height], np.float64)
    target = [scene.layers[k] for k in scene.target]
    low, high = target_extremes(scene)
    crossing = np.flatnonzero(((low < 0) | (high > limit)).any(1))
    low, high = np.clip(low, 0, limit), np.clip(high, 0, limit)
    if len(crossing):
        # The corners of the outline do not tell how wide the part inside is; the points all along the border do.
        ends = [_extremes(_placed(layer, layer.cutout.rim, crossing), limit) for layer in target]
        first, last = np.min([e[0] for e in ends], 0) - 0.5, np.max([e[1] for e in ends], 0) + 0.5
        # If no point is inside, the clipped box has no area and lies on the frame's border beside the target.
        inside = np.isfinite(first)
        low[crossing] = np.where(inside, np.clip(first, low[crossing], limit), low[crossing])
        high[crossing] = np.where(inside, np.clip(last, low[crossing], high[crossing]), high[crossing])
    boxes = np.concatenate([low, high - low], 1)
    return boxes, (_visible_share(scene) >= MIN_VISIBLE_SHARE) & (boxes[:, 2:].min(1) >= MIN_SIDE)


def target_extremes(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Two corners of the bounding box of the target's silhouette, also outside the frame: each [F, 2], x and y."""
    ends = [
        _extremes(_placed(layer, layer.cutout.outline if layer.bending is not None else layer.cutout.hull))
        for layer in (scene.layers[k] for k in scene.target)
    ]
    return np.min([e[0] for e in ends], 0), np.max([e[1] for e in ends], 0)


def _placed(layer: Layer, points: np.ndarray, frames: slice | np.ndarray = slice(None)) -> np.ndarray:
    """Positions in the frames of points [P, 2] of the patch: [2, F, P]."""
    maps = layer.maps[frames]
    placed = np.stack([maps[:, k, :2] @ points.T + maps[:, k, 2:] for k in range(2)])
    if layer.bending is not None:
        # The bent patch shows at p what was at p + d(p), so a point moves to p - d(p), to first order.
        at = np.clip(points.astype(int), 0, PATCH - 1)
        move = -bend_field(layer.field)[0][at[:, 1], at[:, 0]].T
        placed += np.stack([layer.bending[frames, None] * (maps[:, k, :2] @ move) for k in range(2)])
    return placed


def _extremes(points: np.ndarray, limit: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The minimum and maximum x, y of points [2, F, P], each [F, 2].

    With `limit`, only points inside the frame count; if there are none, the minimum is inf and the maximum -inf.
    """
    if limit is None:
        return points.min(2).T, points.max(2).T
    outside = ~((points >= 0) & (points <= limit[:, None, None])).all(0)
    return np.where(outside, np.inf, points).min(2).T, np.where(outside, -np.inf, points).max(2).T


def _visible_share(scene: Scene) -> np.ndarray:
    """[F]: the share of the target's body inside the frame and not occluded, estimated at about 24 points."""
    body = scene.layers[scene.target[0]]
    alpha = body.cutout.levels[2][..., 3]
    rows, cols = np.nonzero(alpha > min(127, alpha.max() // 2))
    pick = np.arange(0, len(rows), len(rows) // 24 + 1)
    x, y = (body.maps[:, k, :2] @ (np.stack([cols[pick], rows[pick]]) * 4 + 2) + body.maps[:, k, 2:] for k in range(2))
    visible = (x >= 0) & (x < scene.width) & (y >= 0) & (y < scene.height)
    for layer in scene.layers[max(scene.target) + 1 :]:
        if layer.cutout.levels[2][..., 3].max() > 128:  # not a shadow
            visible &= ~_covers(layer, x, y)
    return visible.mean(1)


def _covers(layer: Layer, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether the layer covers the frame's points (x, y), each [F, P]: bool [F, P]."""
    alpha = layer.cutout.levels[2][..., 3]
    size = alpha.shape[0]
    # Maps to the cells of the mask, which gets a border of transparent cells for the points outside.
    maps = motion.invert(layer.maps)[..., None] * (size / PATCH)
    column, row = (np.clip(maps[:, k, 0] * x + maps[:, k, 1] * y + maps[:, k, 2] + 1, 0, size + 1) for k in range(2))
    return np.pad(alpha > 128, 1)[row.astype(np.intp), column.astype(np.intp)]


def as_sequence(name: str, scene: Scene, category: str | None = None) -> Sequence:
    """The scene as a Sequence whose crops are rendered without their frames."""
    boxes, visible = target_boxes(scene)

    def read_frame(index: int) -> np.ndarray:
        return render(scene, index, 0, 0, 1, scene.width, scene.height)

    def read_crop(index: int, box_xywh: np.ndarray, factor: float, size: int) -> tuple[np.ndarray, float]:
        x, y, side = crop_window(box_xywh, factor)
        scale = size / side
        crop = render(scene, index, x, y, scale, size, size)
        _black_outside(crop, x, y, scale, scene.width, scene.height)
        return crop, scale

    return Sequence(name, boxes, visible, read_frame, read_crop, category, frame_size=(scene.height, scene.width))


def _black_outside(crop: np.ndarray, x: int, y: int, scale: float, width: int, height: int) -> None:
    """Sets a crop to zero outside the frame, by the cropper's rule: it loses a column or row at a border it crosses."""
    size = crop.shape[0]
    right = width - 1 if x + size / scale >= width else width
    bottom = height - 1 if y + size / scale >= height else height
    crop[:, : max(0, round(-x * scale))] = 0
    crop[: max(0, round(-y * scale))] = 0
    crop[:, max(0, round((right - x) * scale)) :] = 0
    crop[max(0, round((bottom - y) * scale)) :] = 0
