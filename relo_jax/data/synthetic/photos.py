"""Sequences composed from a folder of photographs: cut-outs of some move over others, with the motion of compose.py.

A cut-out is a random silhouette over a random window of a photograph: real texture, but no real outline. If the folder
has images with transparency in a subfolder `cutouts`, most objects are made of these, with their own outlines.
Distractors are cut from other windows of the target's photograph (same colours and texture) or from other photographs,
or they are the target's cut-out in other colours. Photographs are decoded on demand at a working size, and the last few
hundred are kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from relo_jax.config.data_options import Options
from relo_jax.data.sequence import Sequence
from relo_jax.data.synthetic import objects, textures
from relo_jax.data.synthetic.compose import Cast, compose
from relo_jax.data.synthetic.composed import as_sequence
from relo_jax.data.synthetic.cutout import PATCH, Cutout, cutout
from relo_jax.data.synthetic.motion import log_uniform
from relo_jax.data.synthetic.procedural import SPLITS, generator
from relo_jax.errors import UserError
from relo_jax.media.images import IMAGE_SUFFIXES, FrameError, decode_with_opencv, read_bytes, read_image

WORKING_SIDE = 320  # shorter side of a decoded photograph, pixels
HELDOUT_EVERY = 10  # every tenth photograph is for held-out sequences
BANK_SIZE = 8  # only the noise and the shades of the texture bank are used
CUTOUTS = "cutouts"  # folder of images with transparency
CUTOUT_SHARE = 0.75  # of the objects, if there are such images


@lru_cache(maxsize=256)
def _photo(path: Path) -> np.ndarray:
    image = read_image(path)
    scale = WORKING_SIDE / min(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return image


def _window(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """A random square of a photograph, uint8 [96, 96, 3]."""
    height, width = photo.shape[:2]
    side = int(min(height, width) * log_uniform(rng, 0.25, 0.9))
    x, y = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
    method = cv2.INTER_AREA if side > PATCH else cv2.INTER_LINEAR
    return cv2.resize(photo[y : y + side, x : x + side], (PATCH, PATCH), interpolation=method)


def cut(rng: np.random.Generator, photo: np.ndarray, shade: np.ndarray | None = None) -> Cutout:
    """A random silhouette over a random square window of a photograph uint8 [h, w, 3].

    shade: relief to multiply it by, uint8 [96, 96, 3].
    """
    rgb = _window(rng, photo)
    if shade is not None:
        rgb = cv2.multiply(rgb, shade, scale=1 / 255)
    return objects.silhouette_cutout(rgb, objects.silhouette(rng))


@lru_cache(maxsize=4096)
def _own_outline(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image with transparency as rgb uint8 [96, 96, 3], alpha uint8 [96, 96] and outline float64 [P, 2].

    Raises:
      FrameError: it does not decode, has no alpha channel, or is transparent everywhere.
    """
    image = decode_with_opencv(read_bytes(path), str(path), cv2.IMREAD_UNCHANGED)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 4:
        raise FrameError("undecodable image", str(path), "has no transparency (RGBA, 8 bits): not a cut-out")
    empty = FrameError("undecodable image", str(path), "nothing in it is opaque: not a cut-out")
    rows, cols = (np.flatnonzero((image[..., 3] > 127).any(axis)) for axis in (1, 0))
    if not len(rows):
        raise empty
    image = image[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    # Resizing premultiplied colours keeps the colours of transparent pixels out of the edges.
    image[..., :3] = cv2.multiply(image[..., :3], cv2.cvtColor(image[..., 3], cv2.COLOR_GRAY2BGR), scale=1 / 255)
    scale = (PATCH - 6) / max(image.shape[:2])
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    patch = np.zeros((PATCH, PATCH, 4), np.uint8)
    x, y = ((PATCH - side) // 2 for side in size)
    patch[y : y + size[1], x : x + size[0]] = small
    alpha = patch[..., 3]
    rgb = patch[..., 2::-1].astype(np.float32) * (255 / np.maximum(alpha, 1))[..., None]
    fine = cv2.resize(alpha, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    contours, _ = cv2.findContours((fine > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:  # only specks, which vanish at this size
        raise empty
    outline = np.concatenate([cv2.approxPolyDP(contour, 1.0, True)[:, 0] for contour in contours]) / 4 + 0.125
    return np.clip(rgb, 0, 255).astype(np.uint8), alpha, outline


def own_cutout(
    rng: np.random.Generator, path: Path, photo: np.ndarray | None = None, shade: np.ndarray | None = None
) -> Cutout:
    """An image with transparency as a cut-out: with p = 0.75 in other colours, with p = 0.5 mirrored.

    Args:
      rng: of colours, texture and mirroring.
      path: the image.
      photo: uint8 [h, w, 3], adds its texture if given.
      shade: uint8 [96, 96, 3], relief to multiply it by if given.

    Raises:
      FrameError: it does not decode, has no alpha channel, or is transparent everywhere.
    """
    rgb, alpha, outline = _own_outline(path)
    if rng.random() < 0.75:
        rgb = cv2.transform(rgb, objects.color_matrix(rng))
    if photo is not None:  # its light and dark, around the image's own colours
        window = _window(rng, photo).astype(np.float32)
        rgb = np.clip(rgb * (window / max(window.mean(), 32)) ** rng.uniform(0.3, 1), 0, 255).astype(np.uint8)
    if shade is not None:
        rgb = cv2.multiply(rgb, shade, scale=1 / 255)
    if rng.random() < 0.5:
        rgb, alpha, outline = rgb[:, ::-1].copy(), alpha[:, ::-1].copy(), [PATCH, 0] + outline * [-1, 1]
    return cutout(rgb, alpha, outline)


@dataclass(frozen=True)
class Photos:
    """Endlessly many sequences from a folder of photographs, as a function of (seed, split, index).

    Attributes:
      paths: photographs.
      cutouts: images with transparency; may be empty.
      seed, split, options: as of `Procedural`.
      files_digest: a digest of the names and sizes of all files in the folder.
    """

    paths: tuple[Path, ...]
    cutouts: tuple[Path, ...] = ()
    seed: int = 0
    split: str = "train"
    options: Options = field(default_factory=Options)
    files_digest: str = ""
    each_once = True  # clip i uses sequence i

    def __len__(self) -> int:
        return 2**31 - 1

    def __getitem__(self, index: int) -> Sequence:
        split, o = SPLITS[self.split], self.options
        rng = generator(self.seed, split, int(index), 2)
        bank = textures.bank(split, BANK_SIZE)

        def random_photo() -> np.ndarray:
            return _photo(self.paths[rng.integers(len(self.paths))])

        def random_cutout() -> Path | None:
            is_cutout = self.cutouts and rng.random() < CUTOUT_SHARE
            return self.cutouts[rng.integers(len(self.cutouts))] if is_cutout else None

        def piece(photo: np.ndarray, path: Path | None = None) -> Cutout:
            shade = bank.shades[rng.integers(len(bank.shades))] if rng.random() < 0.3 else None
            path = path or random_cutout()
            if path is None:
                return cut(rng, photo, shade)
            return own_cutout(rng, path, photo if rng.random() < 0.5 else None, shade)

        own, shape = random_photo(), random_cutout()
        shared_shape = shape if rng.random() < 0.5 else None  # for distractors
        target = piece(own, shape)
        limbs = int(rng.integers(0, o.limbs + 1)) if rng.random() < o.articulated else 0
        cast = Cast(
            target=target,
            limbs=tuple(piece(own) for _ in range(limbs)),
            carriers=(piece(random_photo()),) if rng.random() < 0.2 else (),
            distractors=tuple(
                piece(own if rng.random() < 0.5 else random_photo(), shared_shape if rng.random() < 0.5 else None)
                for _ in range(int(rng.integers(0, o.distractors + 1)))
            ),
            clutter=tuple(piece(random_photo()) for _ in range(int(rng.integers(0, o.clutter // 2 + 1)))),
            occluders=(piece(random_photo()),) if rng.random() < o.occlusion else (),
            shadows=tuple(objects.shadow(rng) for _ in range(int(rng.random() < o.shadow))),
            background=random_photo(),
            sensor_noise=bank.noise,
        )
        return as_sequence(f"photos-{self.split}-{self.seed}-{int(index):06d}", compose(rng, cast, o))


def read_photos(root: str | Path, seed: int = 0, split: str = "train", options: Options | None = None) -> Photos:
    """The sequences composed from a folder of photographs. Every tenth image belongs to the held-out split.

    Images in a subfolder `cutouts` must have transparency, and become objects with their own outlines.

    Raises:
      UserError: the folder is missing, or has fewer than 20 photographs.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of photographs")
    images = sorted(p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    cutouts = [p for p in images if CUTOUTS in p.relative_to(root).parts[:-1]]
    paths = sorted(set(images) - set(cutouts))
    if len(paths) < 2 * HELDOUT_EVERY:
        raise UserError(f"{root}: has {len(paths)} photographs; sequences need at least {2 * HELDOUT_EVERY}")

    def of_split(images: list[Path]) -> tuple[Path, ...]:
        return tuple(p for k, p in enumerate(images) if (k % HELDOUT_EVERY == 0) == (split == "heldout"))

    size = lambda path: path.stat().st_size if path.exists() else -1  # reading a dangling link reports it
    states = "\n".join(f"{p.relative_to(root).as_posix()}\0{size(p)}" for p in images)
    digest = hashlib.blake2b(states.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return Photos(of_split(paths), of_split(cutouts), seed, split, options or Options(), digest)
