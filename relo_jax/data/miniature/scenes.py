"""The frames and boxes of miniature sequences: a bright box that moves over a textured background."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, FRAMES = 96, 72, 24  # 20 frames make a sequence eligible for training


def walk(frames: int = FRAMES, seed: int = 0) -> np.ndarray:
    """float64 [F, 4] x, y, w, h of a target that moves inside the frame, with at most two decimals, as in files."""
    rng = np.random.default_rng(seed)
    start, speed, size = rng.uniform(8, 20, 2), rng.uniform(0.3, 1.2, 2), rng.uniform(14, 22, 2)
    corners = start + speed * np.arange(frames)[:, None]
    return np.round(np.concatenate([corners, np.broadcast_to(size, (frames, 2))], 1), 2)


def frame(box_xywh: np.ndarray, seed: int = 0, number: int = 0) -> np.ndarray:
    """uint8 [H, W, 3] BGR: the background, and the target at its box."""
    background = np.random.default_rng(seed).integers(0, 160, (9, 12, 3), np.uint8)
    image = cv2.resize(background, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    if np.isfinite(box_xywh).all():
        x, y, w, h = np.round(box_xywh).astype(int)
        cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), (40, 220, 200 + number % 50), -1)
    return image


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes an image in the format of the file's suffix.

    Raises:
      OSError: it could not be written.
    """
    if not cv2.imwrite(str(path), image):
        raise OSError(f"{path} could not be written")


def write_frames(
    folder: Path, boxes: Iterable[np.ndarray], pattern: str = "{:08d}.jpg", first: int = 1, seed: int = 0
) -> None:
    """The frames of a sequence, numbered from `first`."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, box in enumerate(boxes):
        write_image(folder / pattern.format(first + k), frame(box, seed, k))


def lines(boxes: Iterable[np.ndarray], separator: str = ",") -> str:
    """The lines of an annotation file."""
    return "".join(separator.join("NaN" if np.isnan(v) else f"{v:g}" for v in box) + "\n" for box in boxes)
