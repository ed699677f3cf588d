"""A scene: cut-outs that move over a background, rendered for any view of any frame.

Each object has an affine map for each frame. A search crop is rendered directly at its own resolution, by composing
these maps with the crop's window; the full frame is the special case of the identity window. Coordinates are
continuous: the pixel of index i covers [i, i + 1], as in a box's x and w.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from relo_jax.data.synthetic import motion
from relo_jax.data.synthetic.cutout import PATCH, Cutout, bent, turned
from relo_jax.data.synthetic.lighting import Light, shine
from relo_jax.data.synthetic.spray import Cloud, cover

_PATCH_CENTER, _NO_MOTION = np.full(2, PATCH / 2), np.zeros(2)


@dataclass(frozen=True)
class Layer:
    """A cut-out and its motion.

    Attributes:
      cutout: the object.
      maps: [F, 2, 3], affine maps from the patch to the frame.
      gain: [F], factor on the brightness.
      bending: [F], amplitude of the bend in pixels of the patch; None for a rigid object.
      field: number of the bend field.
      turn: [F], angle in radians by which a round body has turned about its upright axis; None if it never turns.
    """

    cutout: Cutout
    maps: np.ndarray
    gain: np.ndarray | None = None
    bending: np.ndarray | None = None
    field: int = 0
    turn: np.ndarray | None = None

    @cached_property
    def level(self) -> np.ndarray:
        """[F]: the pyramid level for the frame's resolution. A crop uses it too, so it shows no more than the frame."""
        m = self.maps
        area = np.abs(m[:, 0, 0] * m[:, 1, 1] - m[:, 0, 1] * m[:, 1, 0])
        return (area < 0.38).astype(int) + (area < 0.095)  # a coarser level below a scale of 0.62 (0.31)


@dataclass(frozen=True)
class Scene:
    """Everything that the frames are rendered from.

    Attributes:
      width, height: of a frame.
      background: uint8 [h, w, 3] RGB.
      background_maps: [F, 2, 3], affine maps from the background to the frame.
      layers: from back to front.
      target: indices of the layers that are the target; the first is its body.
      light: [F] or [F, 3], brightness of the scene.
      sensor_noise: uint8 [h, w, 3], noise around 128.
      sensor_noise_strength: factor on the noise.
      noise_offsets: int [F, 2], the corner (x, y) in `sensor_noise` that a frame begins at.
      grade: [3, 4], colour matrix of the camera on RGB.
      blur: of the camera, in pixels of the frame.
      quality: of JPEG compression; 0 for none.
      exposure: share of the time between two frames in which the shutter is open; causes motion blur.
      pixel: side of the camera's pixels in pixels of the frame; 0 means that crops are as sharp as they are rendered.
      lights: lights and shadows that move over the frame.
      clouds: spray, smoke and dust, from back to front.
    """

    width: int
    height: int
    background: np.ndarray
    background_maps: np.ndarray
    layers: tuple[Layer, ...]
    target: tuple[int, ...]
    light: np.ndarray
    sensor_noise: np.ndarray
    sensor_noise_strength: float
    noise_offsets: np.ndarray
    grade: np.ndarray
    blur: float = 0.0
    quality: int = 0
    exposure: float = 0.0
    pixel: float = 0.0
    lights: tuple[Light, ...] = ()
    clouds: tuple[Cloud, ...] = ()

    def __len__(self) -> int:
        return len(self.background_maps)


def render(scene: Scene, index: int, x: float, y: float, scale: float, width: int, height: int) -> np.ndarray:
    """Renders a view of frame `index`: uint8 [height, width, 3].

    The scene continues outside the frame; `composed.as_sequence` makes that part of a crop black.

    Args:
      scene: what is shown.
      index: of the frame.
      x, y: upper left corner of the view in the frame.
      scale: output pixels in a pixel of the frame.
      width, height: of the output.
    """
    view = (scale, x, y)
    middle = np.array([[scene.width, scene.height]]) / 2
    source = motion.apply(motion.invert(scene.background_maps[index : index + 1]), middle)[0, 0]
    shift = _shutter_motion(scene, scene.background_maps, index, source, scale)
    margin_x, margin_y = _blur_margins(shift)  # rendered too, since motion blurs some of it into the view
    matrix = _pixel_map(scene.background_maps[index], view, 0, -margin_x, -margin_y)
    size = (width + 2 * margin_x, height + 2 * margin_y)
    reflect = cv2.BORDER_REFLECT_101
    out = cv2.warpAffine(scene.background, matrix, size, flags=cv2.INTER_LINEAR, borderMode=reflect)
    out = np.ascontiguousarray(motion_blur(out, shift)[margin_y : margin_y + height, margin_x : margin_x + width])
    for layer in scene.layers:
        _draw(out, layer, index, view, _shutter_motion(scene, layer.maps, index, _PATCH_CENTER, scale))
    if scene.clouds:
        out = cover(out, scene.clouds, index, x, y, scale)
    if scene.lights:
        out = shine(out, scene.lights, index, x, y, scale)
    return _apply_camera(scene, index, out, scale)


def motion_blur(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Averages an image over a straight motion by `shift` (x, y in pixels), centred on its position.

    Beyond the image are zeros.
    """
    length = float(np.hypot(*shift))
    if length < 1:
        return image
    points = np.linspace(-0.5, 0.5, 2 * int(np.ceil(length)) + 1)[:, None] * shift
    radius = int(np.ceil(np.abs(points).max()))
    kernel = np.zeros((2 * radius + 2, 2 * radius + 2), np.float32)
    low = np.floor(points).astype(int)
    part = points - low
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        weight = np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1])
        np.add.at(kernel, (low[:, 1] + dy + radius, low[:, 0] + dx + radius), weight / len(points))
    anchor = (radius + 1, radius + 1)
    return cv2.filter2D(image, -1, kernel[::-1, ::-1], anchor=anchor, borderType=cv2.BORDER_CONSTANT)


def _shutter_motion(scene: Scene, maps: np.ndarray, index: int, point: np.ndarray, scale: float) -> np.ndarray:
    """The motion of a point while the shutter is open: [2], x and y in output pixels.

    A point that crosses half of the frame between two frames was moved there while it was out of sight, and counts as
    at rest.

    Args:
      maps: [F, 2, 3], from the point's patch or background to the frame.
    """
    if not scene.exposure:
        return _NO_MOTION
    first, last = max(index - 1, 0), min(index + 1, len(maps) - 1)
    change = maps[last] - maps[first]
    move = (change[:, :2] @ point + change[:, 2]) / max(last - first, 1)
    return scene.exposure * scale * move if np.abs(move).max() < min(scene.width, scene.height) / 2 else _NO_MOTION


def _blur_margins(shift: np.ndarray) -> tuple[int, int]:
    """How many pixels motion blur extends an object to each side, in x and in y."""
    x, y = (int(np.ceil(abs(v) / 2)) + 1 if np.hypot(*shift) >= 1 else 0 for v in shift.tolist())
    return x, y


def _apply_camera(scene: Scene, index: int, image: np.ndarray, scale: float) -> np.ndarray:
    """Applies the camera: blur, pixels, light and colours, sensor noise, compression."""
    height, width = image.shape[:2]
    if scene.blur * scale > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), scene.blur * scale)
    if scene.pixel * scale > 1:
        few = (max(round(width / (scene.pixel * scale)), 1), max(round(height / (scene.pixel * scale)), 1))
        image = cv2.resize(cv2.resize(image, few, interpolation=cv2.INTER_AREA), (width, height))
    image = cv2.transform(image, scene.grade * np.float32(scene.light[index]).reshape(-1, 1))
    if scene.sensor_noise_strength > 0:
        dx, dy = scene.noise_offsets[index]
        noise = scene.sensor_noise[dy : dy + height, dx : dx + width]
        if noise.shape[:2] != (height, width):
            bottom, right = height - noise.shape[0], width - noise.shape[1]
            noise = cv2.copyMakeBorder(noise, 0, bottom, 0, right, cv2.BORDER_REFLECT)
        image = cv2.addWeighted(image, 1, noise, scene.sensor_noise_strength, -128 * scene.sensor_noise_strength)
    if scene.quality:
        _, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, scene.quality))
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)  # type: ignore[assignment]
    return image


def _to_view(matrix: np.ndarray, view: tuple[float, float, float]) -> tuple[float, ...]:
    """The six numbers of a map to the frame composed with the view (scale, x, y); plain floats are faster here."""
    (a, b, c), (d, e, f) = matrix.tolist()
    scale, x, y = view
    return a * scale, b * scale, (c - x) * scale, d * scale, e * scale, (f - y) * scale


def _pixel_map(
    matrix: np.ndarray, view: tuple[float, float, float], level: int = 0, x: int = 0, y: int = 0
) -> np.ndarray:
    """The map of pixel indices (as OpenCV counts) from a pyramid level to the part of the view from pixel (x, y) on."""
    a, b, c, d, e, f = _to_view(matrix, view)
    k = 2**level
    a, b, d, e = a * k, b * k, d * k, e * k
    return np.array([[a, b, c + 0.5 * (a + b) - 0.5 - x], [d, e, f + 0.5 * (d + e) - 0.5 - y]])


def _draw(out: np.ndarray, layer: Layer, index: int, view: tuple[float, float, float], shift: np.ndarray) -> None:
    """Blends a layer, with motion blur along `shift`, into the part of `out` that it covers."""
    a, b, c, d, e, f = _to_view(layer.maps[index], view)
    height, width = out.shape[:2]
    left = c + PATCH * (min(a, 0) + min(b, 0))
    right = c + PATCH * (max(a, 0) + max(b, 0))
    top = f + PATCH * (min(d, 0) + min(e, 0))
    bottom = f + PATCH * (max(d, 0) + max(e, 0))
    margin_x, margin_y = _blur_margins(shift)
    left, right, top, bottom = left - margin_x, right + margin_x, top - margin_y, bottom + margin_y
    x1, x2, y1, y2 = max(int(left), 0), min(int(right) + 1, width), max(int(top), 0), min(int(bottom) + 1, height)
    if x1 >= x2 or y1 >= y2:
        return
    level = int(layer.level[index])
    matrix = _pixel_map(layer.maps[index], view, level, x1 - margin_x, y1 - margin_y)
    patch = layer.cutout.levels[level]
    if layer.turn is not None:
        patch = turned(layer.cutout, level, float(layer.turn[index]))
    if layer.bending is not None:
        patch = bent(patch, float(layer.bending[index]), layer.field)
    size = (x2 - x1 + 2 * margin_x, y2 - y1 + 2 * margin_y)
    warped = motion_blur(cv2.warpAffine(patch, matrix, size, flags=cv2.INTER_LINEAR), shift)
    warped = np.ascontiguousarray(warped[margin_y : margin_y + y2 - y1, margin_x : margin_x + x2 - x1])
    color = cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)
    if layer.gain is not None:
        color = cv2.convertScaleAbs(color, alpha=float(layer.gain[index]))
    transparency = cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(warped, 3)), cv2.COLOR_GRAY2RGB)
    region = out[y1:y2, x1:x2]
    cv2.add(cv2.multiply(region, transparency, scale=1 / 255), color, dst=region)
