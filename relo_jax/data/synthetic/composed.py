"""A composed scene as a sequence: the target's boxes, whether it can be seen, and crops drawn without their frames."""

from __future__ import annotations

import numpy as np

from relo_jax.data.sequence import Sequence
from relo_jax.data.synthetic import motion
from relo_jax.data.synthetic.scene import PATCH, Layer, Scene, bend, render
from relo_jax.geometry.crop import crop_window

SEEN = 0.4  # of the target's surface, for a frame to count as visible
SMALLEST = 4.0  # pixels, side of a visible box


def target_boxes(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """(boxes_xywh float64 [F, 4], visible bool [F]): the bounding box of the silhouette's part inside the frame.

    Visible: at least two fifths of the target lie inside the frame and in front of everything, and the box has an
    area. Hidden parts do not shrink the box, what lies outside the frame does.
    """
    limit = np.array([scene.width, scene.height], np.float64)
    target = [scene.layers[k] for k in scene.target]
    low, high = target_extremes(scene)
    crossing = np.flatnonzero(((low < 0) | (high > limit)).any(1))
    low, high = np.clip(low, 0, limit), np.clip(high, 0, limit)
    if len(crossing):
        # The outline's corners do not tell how wide the part inside is; the points all along it do.
        ends = [_extremes(_moved(layer, layer.cutout.rim, crossing), limit) for layer in target]
        first, last = np.min([e[0] for e in ends], 0) - 0.5, np.max([e[1] for e in ends], 0) + 0.5
        # None of them inside: what was clipped has no area, and lies on the border beside the target.
        inside = np.isfinite(first)
        low[crossing] = np.where(inside, np.clip(first, low[crossing], limit), low[crossing])
        high[crossing] = np.where(inside, np.clip(last, low[crossing], high[crossing]), high[crossing])
    boxes = np.concatenate([low, high - low], 1)
    return boxes, (_seen_share(scene) >= SEEN) & (boxes[:, 2:].min(1) >= SMALLEST)


def target_extremes(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the bounding box of the target's silhouette, inside the frame or not: each [F, 2], x and y."""
    ends = [
        _extremes(_moved(layer, layer.cutout.outline if layer.bending is not None else layer.cutout.hull))
        for layer in (scene.layers[k] for k in scene.target)
    ]
    return np.min([e[0] for e in ends], 0), np.max([e[1] for e in ends], 0)


def _moved(layer: Layer, points: np.ndarray, frames=slice(None)) -> np.ndarray:
    """Where points [P, 2] of the patch lie in the frames: [2, F, P]."""
    maps = layer.maps[frames]
    placed = np.stack([maps[:, k, :2] @ points.T + maps[:, k, 2:] for k in range(2)])
    if layer.bending is not None:
        # The bent patch shows at p what was at p + d(p), so a point goes to p - d(p) to first order.
        at = np.clip(points.astype(int), 0, PATCH - 1)
        move = -bend(layer.field)[0][at[:, 1], at[:, 0]].T
        placed += np.stack([layer.bending[frames, None] * (maps[:, k, :2] @ move) for k in range(2)])
    return placed


def _extremes(points: np.ndarray, limit: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest x, y of points [2, F, P], each [F, 2]; with `limit` of those inside the frame only
    (infinities of the wrong sign where there are none)."""
    if limit is None:
        return points.min(2).T, points.max(2).T
    outside = ~((points >= 0) & (points <= limit[:, None, None])).all(0)
    return np.where(outside, np.inf, points).min(2).T, np.where(outside, -np.inf, points).max(2).T


def _seen_share(scene: Scene) -> np.ndarray:
    """[F]: how much of the target's body is inside the frame and not behind another layer, from 24 points or so."""
    body = scene.layers[scene.target[0]]
    alpha = body.cutout.levels[2][..., 3]
    rows, cols = np.nonzero(alpha > min(127, alpha.max() // 2))
    pick = np.arange(0, len(rows), len(rows) // 24 + 1)
    x, y = (body.maps[:, k, :2] @ (np.stack([cols[pick], rows[pick]]) * 4 + 2) + body.maps[:, k, 2:] for k in range(2))
    seen = (x >= 0) & (x < scene.width) & (y >= 0) & (y < scene.height)
    for layer in scene.layers[max(scene.target) + 1 :]:
        if layer.cutout.levels[2][..., 3].max() > 128:  # not a shadow
            seen &= ~_covers(layer, x, y)
    return seen.mean(1)


def _covers(layer: Layer, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which of the frame's points (x, y), each [F, P], lie under the layer: bool [F, P]."""
    alpha = layer.cutout.levels[2][..., 3]
    size = alpha.shape[0]
    # The maps to the cells of the mask, with a border of transparent cells around it for all points beyond.
    maps = motion.invert(layer.maps)[..., None] * (size / PATCH)
    column, row = (np.clip(maps[:, k, 0] * x + maps[:, k, 1] * y + maps[:, k, 2] + 1, 0, size + 1) for k in range(2))
    return np.pad(alpha > 128, 1)[row.astype(np.intp), column.astype(np.intp)]


def as_sequence(name: str, scene: Scene, category: str | None = None) -> Sequence:
    """The scene as a Sequence whose crops are drawn without their frames."""
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
    """Zeros outside the frame, by the cropper's rule (which loses a border column or row where the crop passes it)."""
    size = crop.shape[0]
    right = width - 1 if x + size / scale >= width else width
    bottom = height - 1 if y + size / scale >= height else height
    crop[:, : max(0, round(-x * scale))] = 0
    crop[: max(0, round(-y * scale))] = 0
    crop[:, max(0, round((right - x) * scale)) :] = 0
    crop[max(0, round((bottom - y) * scale)) :] = 0
