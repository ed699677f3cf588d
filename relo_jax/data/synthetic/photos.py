"""Sequences composed from a folder of pictures: cut-outs of some move over others, by the motion of compose.py.

A cut-out is a random silhouette over a random window of a photograph, so it has real texture and no real outline; or,
where the folder has pictures with transparency in its folder `cutouts`, mostly one of those, with its own outline.
Distractors are cut from other windows of the target's own photograph (same palette, same texture), are the target's
own picture in other colours, or come from others. Pictures are decoded when needed, at a working size, and the last
few hundred are kept.
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
from relo_jax.data.synthetic.motion import log_uniform
from relo_jax.data.synthetic.procedural import SPLITS, generator
from relo_jax.data.synthetic.scene import PATCH, Cutout, cutout
from relo_jax.errors import UserError
from relo_jax.media.images import IMAGE_SUFFIXES, FrameError, read_bytes, read_image

WORKING_SIDE = 320  # shorter side of a decoded photograph, pixels
HELDOUT_SHARE = 10  # every tenth photograph is kept for held-out sequences
NOISE_BANK = 8  # textures made for the sake of the camera's noise and the reliefs
CUTOUTS = "cutouts"  # folder of pictures with transparency
CUTOUT_SHARE = 0.75  # of the pieces, where there are such pictures


@lru_cache(maxsize=256)
def _photo(path: Path) -> np.ndarray:
    image = read_image(path)
    scale = WORKING_SIDE / min(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return image


def _window(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """A random square of the photograph, uint8 [96, 96, 3]."""
    height, width = photo.shape[:2]
    side = int(min(height, width) * log_uniform(rng, 0.25, 0.9))
    x, y = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
    method = cv2.INTER_AREA if side > PATCH else cv2.INTER_LINEAR
    return cv2.resize(photo[y : y + side, x : x + side], (PATCH, PATCH), interpolation=method)


def cut(rng: np.random.Generator, photo: np.ndarray, shade: np.ndarray | None = None) -> Cutout:
    """A random silhouette over a random square window of the photograph."""
    rgb = _window(rng, photo)
    if shade is not None:
        rgb = cv2.multiply(rgb, shade, scale=1 / 255)
    return objects.silhouette_cutout(rgb, objects.silhouette(rng))


@lru_cache(maxsize=4096)
def _own_outline(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture with transparency as (rgb uint8 [96, 96, 3], alpha uint8 [96, 96], outline float64 [P, 2]).

    Raises:
      FrameError: it does not decode, has no transparency, or nothing in it is opaque.
    """
    data = read_bytes(path)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:  # such as a header that tells of more pixels than OpenCV takes
        image = None
    if image is None:
        raise FrameError("undecodable image", str(path), "does not decode as an image")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 4:
        raise FrameError("undecodable image", str(path), "has no transparency (RGBA, 8 bits): not a cut-out")
    nothing = FrameError("undecodable image", str(path), "nothing in it is opaque: not a cut-out")
    rows, cols = (np.flatnonzero((image[..., 3] > 127).any(axis)) for axis in (1, 0))
    if not len(rows):
        raise nothing
    image = image[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    # Colours are spread with their opacity, or what is hidden would bleed into the edge.
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
    if not contours:  # specks, of which nothing is left at this size
        raise nothing
    outline = np.concatenate([cv2.approxPolyDP(contour, 1.0, True)[:, 0] for contour in contours]) / 4 + 0.125
    return np.clip(rgb, 0, 255).astype(np.uint8), alpha, outline


def own_cutout(
    rng: np.random.Generator, path: Path, photo: np.ndarray | None = None, shade: np.ndarray | None = None
) -> Cutout:
    """A picture with transparency, three times in four in other colours, as a cut-out.

    Args:
      rng: what colours.
      path: the picture.
      photo: lends its texture where given, uint8 `[h, w, 3]`.
      shade: relief that is multiplied onto it where given, uint8 `[96, 96, 3]`.

    Raises:
      FrameError: the picture is none with transparency.
    """
    rgb, alpha, outline = _own_outline(path)
    if rng.random() < 0.75:
        rgb = cv2.transform(rgb, objects.color_matrix(rng))
    if photo is not None:  # light and dark of it around the picture's own colours
        window = _window(rng, photo).astype(np.float32)
        rgb = np.clip(rgb * (window / max(window.mean(), 32)) ** rng.uniform(0.3, 1), 0, 255).astype(np.uint8)
    if shade is not None:
        rgb = cv2.multiply(rgb, shade, scale=1 / 255)
    if rng.random() < 0.5:
        rgb, alpha, outline = rgb[:, ::-1].copy(), alpha[:, ::-1].copy(), [PATCH, 0] + outline * [-1, 1]
    return cutout(rgb, alpha, outline)


@dataclass(frozen=True)
class Photos:
    """An endless indexable of sequences over a folder of pictures, deterministic by (seed, split, index).

    paths: photographs. cutouts: pictures with transparency, where there are any. files_digest: of all their names in
    the folder, and their sizes.
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
        bank = textures.bank(split, NOISE_BANK)

        def other() -> np.ndarray:
            return _photo(self.paths[rng.integers(len(self.paths))])

        def figure() -> Path | None:
            some = self.cutouts and rng.random() < CUTOUT_SHARE
            return self.cutouts[rng.integers(len(self.cutouts))] if some else None

        def piece(photo: np.ndarray, path: Path | None = None) -> Cutout:
            shade = bank.shades[rng.integers(len(bank.shades))] if rng.random() < 0.3 else None
            path = path or figure()
            if path is None:
                return cut(rng, photo, shade)
            return own_cutout(rng, path, photo if rng.random() < 0.5 else None, shade)

        own, shape = other(), figure()
        alike = shape if rng.random() < 0.5 else None  # of the distractors
        cast = Cast(
            target=piece(own, shape),
            limbs=tuple(piece(own) for _ in range(int(rng.integers(0, 3)))) if rng.random() < 0.35 else (),
            carriers=(piece(other()),) if rng.random() < 0.2 else (),
            distractors=tuple(
                piece(own if rng.random() < 0.5 else other(), alike if rng.random() < 0.5 else None)
                for _ in range(int(rng.integers(0, o.distractors + 1)))
            ),
            clutter=tuple(piece(other()) for _ in range(int(rng.integers(0, o.clutter // 2 + 1)))),
            occluders=(piece(other()),) if rng.random() < o.occlusion else (),
            shadows=tuple(objects.shadow(rng) for _ in range(int(rng.random() < o.shadow))),
            background=other(),
            sensor_noise=bank.noise,
        )
        return as_sequence(f"photos-{self.split}-{self.seed}-{int(index):06d}", compose(rng, cast, o))


def read_photos(root: str | Path, seed: int = 0, split: str = "train", options: Options | None = None) -> Photos:
    """The composed sequences of a folder of pictures; every tenth one belongs to the held-out split.

    Pictures below a folder `cutouts` of it have transparency, and give cut-outs their outlines; all others are
    photographs.

    Raises:
      UserError: no such folder, or fewer than 20 photographs in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of photographs")
    images = sorted(p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    cutouts = [p for p in images if CUTOUTS in p.relative_to(root).parts[:-1]]
    paths = sorted(set(images) - set(cutouts))
    if len(paths) < 2 * HELDOUT_SHARE:
        raise UserError(f"{root}: has {len(paths)} photographs, composing needs at least {2 * HELDOUT_SHARE}")

    def kept(images: list[Path]) -> tuple[Path, ...]:
        return tuple(p for k, p in enumerate(images) if (k % HELDOUT_SHARE == 0) == (split == "heldout"))

    size = lambda path: path.stat().st_size if path.exists() else -1  # a link to nothing is told of where it is read
    states = "\n".join(f"{p.relative_to(root).as_posix()}\0{size(p)}" for p in images)
    digest = hashlib.blake2b(states.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return Photos(kept(paths), kept(cutouts), seed, split, options or Options(), digest)
