"""Sequences composed from a folder of photographs: cut-outs of some move over others, by the motion of compose.py.

A cut-out is a random silhouette over a random window of a photograph, so it has real texture and no real outline.
Distractors are cut from other windows of the target's own photograph (same palette, same texture) or from others.
Photographs are decoded when needed, at a working size, and the last few hundred are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from relo_jax.data import objects, textures
from relo_jax.data.compose import Cast, Options, compose
from relo_jax.data.composed import as_sequence
from relo_jax.data.images import IMAGE_SUFFIXES, read_image
from relo_jax.data.motion import log_uniform
from relo_jax.data.procedural import SPLITS, generator
from relo_jax.data.scene import PATCH, Cutout
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError

WORKING_SIDE = 320  # shorter side of a decoded photograph, pixels
HELDOUT_SHARE = 10  # every tenth photograph is kept for held-out sequences
NOISE_BANK = 8  # textures made for the sake of the camera's noise and the reliefs


@lru_cache(maxsize=256)
def _photo(path: Path) -> np.ndarray:
    image = read_image(path)
    scale = WORKING_SIDE / min(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return image


def cut(rng: np.random.Generator, photo: np.ndarray, shade: np.ndarray | None = None) -> Cutout:
    """A random silhouette over a random square window of the photograph."""
    height, width = photo.shape[:2]
    side = int(min(height, width) * log_uniform(rng, 0.25, 0.9))
    x, y = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
    window = photo[y : y + side, x : x + side]
    method = cv2.INTER_AREA if side > PATCH else cv2.INTER_LINEAR
    rgb = cv2.resize(window, (PATCH, PATCH), interpolation=method)
    if shade is not None:
        rgb = cv2.multiply(rgb, shade, scale=1 / 255)
    return objects.silhouette_cutout(rgb, objects.silhouette(rng))


@dataclass(frozen=True)
class Photos:
    """An endless indexable of sequences over a folder of photographs, deterministic by (seed, split, index)."""

    paths: tuple[Path, ...]
    seed: int = 0
    split: str = "train"
    options: Options = field(default_factory=Options)
    each_once = True  # clip i uses sequence i

    def __len__(self) -> int:
        return 2**31 - 1

    def __getitem__(self, index: int) -> Sequence:
        split, o = SPLITS[self.split], self.options
        rng = generator(self.seed, split, int(index), 2)
        bank = textures.bank(split, NOISE_BANK)

        def other() -> np.ndarray:
            return _photo(self.paths[rng.integers(len(self.paths))])

        def piece(photo: np.ndarray) -> Cutout:
            return cut(rng, photo, bank.shades[rng.integers(len(bank.shades))] if rng.random() < 0.3 else None)

        own = other()
        cast = Cast(
            target=piece(own),
            limbs=tuple(piece(own) for _ in range(int(rng.integers(0, 3)))) if rng.random() < 0.35 else (),
            carriers=(piece(other()),) if rng.random() < 0.2 else (),
            distractors=tuple(
                piece(own if rng.random() < 0.5 else other()) for _ in range(int(rng.integers(0, o.distractors + 1)))
            ),
            clutter=tuple(piece(other()) for _ in range(int(rng.integers(0, o.clutter // 2 + 1)))),
            occluders=(piece(other()),) if rng.random() < o.occlusion else (),
            shadows=tuple(objects.shadow(rng) for _ in range(int(rng.random() < o.shadow))),
            background=other(),
            grain=bank.noise,
        )
        return as_sequence(f"photos-{self.split}-{self.seed}-{int(index):06d}", compose(rng, cast, o))


def read_photos(root: str | Path, seed: int = 0, split: str = "train", options: Options | None = None) -> Photos:
    """The composed sequences of a folder of photographs; every tenth one belongs to the held-out split.

    Raises:
      UserError: no such folder, or fewer than 20 photographs in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of photographs")
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    if len(paths) < 2 * HELDOUT_SHARE:
        raise UserError(f"{root}: has {len(paths)} photographs, composing needs at least {2 * HELDOUT_SHARE}")
    kept = paths[::HELDOUT_SHARE] if split == "heldout" else [p for k, p in enumerate(paths) if k % HELDOUT_SHARE]
    return Photos(tuple(kept), seed, split, options or Options())
