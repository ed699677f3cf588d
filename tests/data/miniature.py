"""Datasets in miniature: each in its official layout, with its quirks, in a handful of tiny frames.

    MAKERS["lasot"](root)      # writes it; the root's name is up to the caller

A sequence is a bright box that walks over a textured ground, so that clips of it differ from frame to frame.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, FRAMES = 96, 72, 24  # 20 frames make a sequence eligible for training


def walk(frames: int = FRAMES, seed: int = 0) -> np.ndarray:
    """float64 [F, 4] x, y, w, h of a target that walks inside the frame; two decimals at most, as in files."""
    rng = np.random.default_rng(seed)
    start, speed, size = rng.uniform(8, 20, 2), rng.uniform(0.3, 1.2, 2), rng.uniform(14, 22, 2)
    corners = start + speed * np.arange(frames)[:, None]
    return np.round(np.concatenate([corners, np.broadcast_to(size, (frames, 2))], 1), 2)


def frame(box_xywh, seed: int = 0, number: int = 0) -> np.ndarray:
    """uint8 [H, W, 3] BGR: the ground, and the target where its box is."""
    ground = np.random.default_rng(seed).integers(0, 160, (9, 12, 3), np.uint8)
    image = cv2.resize(ground, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    if np.isfinite(box_xywh).all():
        x, y, w, h = np.round(box_xywh).astype(int)
        cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), (40, 220, 200 + number % 50), -1)
    return image


def write_frames(folder: Path, boxes, pattern: str = "{:08d}.jpg", first: int = 1, seed: int = 0) -> None:
    """The frames of a sequence, numbered from `first`."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, box in enumerate(boxes):
        assert cv2.imwrite(str(folder / pattern.format(first + k)), frame(box, seed, k))


def lines(boxes, separator: str = ",") -> str:
    """Boxes as a text file has them."""
    return "".join(separator.join("NaN" if np.isnan(v) else f"{v:g}" for v in box) + "\n" for box in boxes)


def lasot(root: Path) -> None:
    """Two training sequences and two of the official test list; the target of airplane-1 hides for some frames."""
    for seed, name in enumerate(("airplane-1", "airplane-2", "bear-1", "bear-2")):
        folder, boxes = root / name.split("-")[0] / name, walk(seed=seed)
        write_frames(folder / "img", boxes, seed=seed)
        (folder / "groundtruth.txt").write_text(lines(boxes))
        hidden = [int(name == "airplane-1" and 5 <= k < 8) for k in range(FRAMES)]
        away = [int(name == "airplane-1" and k == 10) for k in range(FRAMES)]
        (folder / "full_occlusion.txt").write_text(",".join(map(str, hidden)))
        (folder / "out_of_view.txt").write_text(",".join(map(str, away)))
        (folder / "nlp.txt").write_text(f"the {name}")


MAKERS = {"lasot": lasot}
