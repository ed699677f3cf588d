"""A scene: cut-outs that move over a background, drawn for any view of any frame.

The description is one affine map an object and frame, so a search crop is drawn straight at its own resolution by
composing the maps with the crop's window; the full frame is the same code with the identity window. Coordinates are
continuous: a pixel of index i covers [i, i + 1], as in a box's x and w.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

from relo_jax.data.synthetic import motion

PATCH = 96  # cut-outs are PATCH x PATCH
_PATCH_MIDDLE, _NOWHERE = np.full(2, PATCH / 2), np.zeros(2)


@dataclass(frozen=True)
class Cutout:
    """levels: premultiplied RGBA uint8 [96, 96, 4], then halved twice; outline: float [P, 2] points of the
    silhouette in the patch; extent: the square root of its bounding box's area."""

    levels: tuple[np.ndarray, ...]
    outline: np.ndarray

    @cached_property
    def extent(self) -> float:
        return float(np.sqrt(np.prod(self.outline.max(0) - self.outline.min(0))))

    @property
    def center(self) -> np.ndarray:
        """Of the bounding box, x and y in the patch."""
        return (self.outline.max(0) + self.outline.min(0)) / 2

    @cached_property
    def hull(self) -> np.ndarray:
        """float [P, 2]: the outline's convex hull, which under affine maps has the outline's bounding box."""
        return cv2.convexHull(self.outline.astype(np.float32))[:, 0].astype(np.float64)

    @cached_property
    def rim(self) -> np.ndarray:
        """float [P, 2]: points all along the silhouette's border, 2 px apart, 1 px inside."""
        alpha = np.pad(self.levels[1][..., 3], 1)
        mask = (alpha > min(127, alpha.max() // 2)).astype(np.uint8)
        rows, cols = np.nonzero(mask - cv2.erode(mask, np.ones((3, 3), np.uint8)))
        return np.stack([cols - 0.5, rows - 0.5], 1) * 2


def cutout(rgb: np.ndarray, alpha: np.ndarray, outline: np.ndarray) -> Cutout:
    """Premultiplies uint8 [96, 96, 3] by uint8 [96, 96] and builds the pyramid."""
    spread = cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB)
    level = cv2.merge([*cv2.split(cv2.multiply(rgb, spread, scale=1 / 255)), alpha])
    levels = [level]
    for _ in range(2):
        level = cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        levels.append(level)
    return Cutout(tuple(levels), outline)


@lru_cache(maxsize=64)
def bend(index: int) -> tuple[np.ndarray, ...]:
    """Smooth displacement fields of at most 1 px, float32 [S, S, 2] at the sizes of the pyramid (96, 48, 24)."""
    rng = np.random.Generator(np.random.Philox(index))
    coarse = rng.normal(0, 1, (4, 4, 2)).astype(np.float32)
    field = cv2.resize(coarse, (PATCH, PATCH), interpolation=cv2.INTER_CUBIC)
    field /= np.abs(field).max()
    return tuple(cv2.resize(field, (PATCH >> k, PATCH >> k), interpolation=cv2.INTER_AREA) for k in range(3))


@lru_cache(maxsize=4)
def _grid(size: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).astype(np.float32)


@dataclass(frozen=True)
class Layer:
    """A cut-out and its maps [F, 2, 3] from patch to frame; gain [F] multiplies its brightness; bending [F] is how
    many pixels of its patch it is bent by the field of number `field`."""

    cutout: Cutout
    maps: np.ndarray
    gain: np.ndarray | None = None
    bending: np.ndarray | None = None
    field: int = 0

    @cached_property
    def level(self) -> np.ndarray:
        """[F] pyramid level fit for the frame's resolution (also for crops, which see what the frame would show)."""
        m = self.maps
        area = np.abs(m[:, 0, 0] * m[:, 1, 1] - m[:, 0, 1] * m[:, 1, 0])
        return (area < 0.38).astype(int) + (area < 0.095)  # the next level from a scale of 0.62 (0.31) downwards


@dataclass(frozen=True)
class Scene:
    """width, height: of a frame; background: uint8 RGB with maps [F, 2, 3] to the frame; layers: back to front;
    target: indices of the layers that are the target; light: [F] or [F, 3] brightness; sensor_noise: uint8 noise around
    128, with its strength; offsets: int [F, 2] where in the noise a frame begins. The camera, last of all: grade, a
    matrix [3, 4] on RGB; blur, in pixels of the frame; quality of a JPEG (0: none); exposure, the share of the time
    between two frames in which the shutter is open and smears what moves; pixel, the side of its pixels in those of
    the frame (0: it resolves whatever a crop enlarges)."""

    width: int
    height: int
    background: np.ndarray
    background_maps: np.ndarray
    layers: tuple[Layer, ...]
    target: tuple[int, ...]
    light: np.ndarray
    sensor_noise: np.ndarray
    sensor_noise_strength: float
    offsets: np.ndarray
    grade: np.ndarray
    blur: float = 0.0
    quality: int = 0
    exposure: float = 0.0
    pixel: float = 0.0

    def __len__(self) -> int:
        return len(self.background_maps)


def render(scene: Scene, index: int, x: float, y: float, scale: float, width: int, height: int) -> np.ndarray:
    """uint8 [height, width, 3]: the view of frame `index` whose corner is at (x, y), `scale` output pixels a pixel.

    The scene goes on outside the frame; blacking out what a cropper would not see is `read_crop`'s.
    """
    view = (scale, x, y)
    middle = np.array([[scene.width, scene.height]]) / 2
    source = motion.apply(motion.invert(scene.background_maps[index : index + 1]), middle)[0, 0]
    way = _way(scene, scene.background_maps, index, source, scale)
    more_x, more_y = _reach(way)  # drawn beyond the view too, since some of that smears into it
    matrix = _pixel_map(scene.background_maps[index], view, 0, -more_x, -more_y)
    size = (width + 2 * more_x, height + 2 * more_y)
    reflect = cv2.BORDER_REFLECT_101
    out = cv2.warpAffine(scene.background, matrix, size, flags=cv2.INTER_LINEAR, borderMode=reflect)
    out = np.ascontiguousarray(smear(out, way)[more_y : more_y + height, more_x : more_x + width])
    for layer in scene.layers:
        _draw(out, layer, index, view, _way(scene, layer.maps, index, _PATCH_MIDDLE, scale))
    return _film(scene, index, out, scale)


def smear(image: np.ndarray, way: np.ndarray) -> np.ndarray:
    """The mean of an image shifted along a straight path (x, y in pixels) that is centred on its place; zeros are
    beyond the image."""
    length = float(np.hypot(*way))
    if length < 1:
        return image
    points = np.linspace(-0.5, 0.5, 2 * int(np.ceil(length)) + 1)[:, None] * way
    reach = int(np.ceil(np.abs(points).max()))
    kernel = np.zeros((2 * reach + 2, 2 * reach + 2), np.float32)
    low = np.floor(points).astype(int)
    part = points - low
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        share = np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1])
        np.add.at(kernel, (low[:, 1] + dy + reach, low[:, 0] + dx + reach), share / len(points))
    return cv2.filter2D(image, -1, kernel[::-1, ::-1], anchor=(reach + 1, reach + 1), borderType=cv2.BORDER_CONSTANT)


def _way(scene: Scene, maps: np.ndarray, index: int, point: np.ndarray, scale: float) -> np.ndarray:
    """How far a point of the source of maps [F, 2, 3] moves while the shutter is open: [2], x and y in output pixels.

    What crosses half of the frame in a frame's time was put elsewhere, as things out of sight are, and did not move.
    """
    if not scene.exposure:
        return _NOWHERE
    first, last = max(index - 1, 0), min(index + 1, len(maps) - 1)
    change = maps[last] - maps[first]
    move = (change[:, :2] @ point + change[:, 2]) / max(last - first, 1)
    return scene.exposure * scale * move if np.abs(move).max() < min(scene.width, scene.height) / 2 else _NOWHERE


def _reach(way: np.ndarray) -> tuple[int, int]:
    """How many pixels beyond its place something is smeared, in x and in y."""
    return tuple(int(np.ceil(abs(w) / 2)) + 1 if np.hypot(*way) >= 1 else 0 for w in way.tolist())


def _film(scene: Scene, index: int, image: np.ndarray, scale: float) -> np.ndarray:
    """What the camera makes of it: blur, pixels, light and colours, grain, compression."""
    height, width = image.shape[:2]
    if scene.blur * scale > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), scene.blur * scale)
    if scene.pixel * scale > 1:
        few = (max(round(width / (scene.pixel * scale)), 1), max(round(height / (scene.pixel * scale)), 1))
        image = cv2.resize(cv2.resize(image, few, interpolation=cv2.INTER_AREA), (width, height))
    image = cv2.transform(image, scene.grade * np.float32(scene.light[index]).reshape(-1, 1))
    if scene.sensor_noise_strength > 0:
        dx, dy = scene.offsets[index]
        noise = scene.sensor_noise[dy : dy + height, dx : dx + width]
        if noise.shape[:2] != (height, width):
            bottom, right = height - noise.shape[0], width - noise.shape[1]
            noise = cv2.copyMakeBorder(noise, 0, bottom, 0, right, cv2.BORDER_REFLECT)
        image = cv2.addWeighted(image, 1, noise, scene.sensor_noise_strength, -128 * scene.sensor_noise_strength)
    if scene.quality:
        _, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, scene.quality))
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image


def _seen(matrix: np.ndarray, view: tuple[float, float, float]) -> tuple[float, ...]:
    """The six numbers of a map to the frame followed by the view (scale, x, y); plain floats, as it is called often."""
    (a, b, c), (d, e, f) = matrix.tolist()
    scale, x, y = view
    return a * scale, b * scale, (c - x) * scale, d * scale, e * scale, (f - y) * scale


def _pixel_map(matrix: np.ndarray, view, level: int = 0, x: int = 0, y: int = 0) -> np.ndarray:
    """OpenCV's map of pixel indices from a pyramid level to the part of the view that begins at pixel (x, y)."""
    a, b, c, d, e, f = _seen(matrix, view)
    k = 2**level
    a, b, d, e = a * k, b * k, d * k, e * k
    return np.array([[a, b, c + 0.5 * (a + b) - 0.5 - x], [d, e, f + 0.5 * (d + e) - 0.5 - y]])


def _draw(out: np.ndarray, layer: Layer, index: int, view: tuple[float, float, float], way: np.ndarray) -> None:
    """Blends a layer, smeared along its way, into the part of `out` that it covers."""
    a, b, c, d, e, f = _seen(layer.maps[index], view)
    height, width = out.shape[:2]
    left = c + PATCH * (min(a, 0) + min(b, 0))
    right = c + PATCH * (max(a, 0) + max(b, 0))
    top = f + PATCH * (min(d, 0) + min(e, 0))
    bottom = f + PATCH * (max(d, 0) + max(e, 0))
    more_x, more_y = _reach(way)
    left, right, top, bottom = left - more_x, right + more_x, top - more_y, bottom + more_y
    x1, x2, y1, y2 = max(int(left), 0), min(int(right) + 1, width), max(int(top), 0), min(int(bottom) + 1, height)
    if x1 >= x2 or y1 >= y2:
        return
    level = int(layer.level[index])
    matrix = _pixel_map(layer.maps[index], view, level, x1 - more_x, y1 - more_y)
    patch = layer.cutout.levels[level]
    if layer.bending is not None:
        size = patch.shape[0]
        reach = np.float32(layer.bending[index] * size / PATCH)
        patch = cv2.remap(patch, _grid(size) + reach * bend(layer.field)[level], None, cv2.INTER_LINEAR)
    size = (x2 - x1 + 2 * more_x, y2 - y1 + 2 * more_y)
    warped = smear(cv2.warpAffine(patch, matrix, size, flags=cv2.INTER_LINEAR), way)
    warped = np.ascontiguousarray(warped[more_y : more_y + y2 - y1, more_x : more_x + x2 - x1])
    color = cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)
    if layer.gain is not None:
        color = cv2.convertScaleAbs(color, alpha=float(layer.gain[index]))
    through = cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(warped, 3)), cv2.COLOR_GRAY2RGB)
    region = out[y1:y2, x1:x2]
    cv2.add(cv2.multiply(region, through, scale=1 / 255), color, dst=region)
