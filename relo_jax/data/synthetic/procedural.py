"""Procedural sequences: made from a seed, a new one for every clip.

Objects and backgrounds come from the texture bank (textures.py, objects.py), motion from compose.py. In training, four
consecutive sequences share a family of four similar objects, each of which is the target once and a distractor
otherwise; so the objects are painted only once. Held-out sequences have other seeds, other textures, and a family each.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from relo_jax.config.data_options import Options
from relo_jax.data.sequence import Sequence
from relo_jax.data.synthetic import objects, textures
from relo_jax.data.synthetic.compose import Cast, compose
from relo_jax.data.synthetic.composed import as_sequence
from relo_jax.data.synthetic.cutout import Cutout
from relo_jax.data.synthetic.scene import Scene
from relo_jax.errors import UserError, did_you_mean

SPLITS = {"train": 0, "heldout": 1}
FAMILY = 4  # members, and training sequences that share them


def generator(*key: int) -> np.random.Generator:
    """A random generator that depends on the key alone."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


@lru_cache(maxsize=64)
def _family(
    seed: int, split: int, bank_size: int, number: int, count: int
) -> tuple[tuple[Cutout, ...], tuple[Cutout, ...]]:
    """Four objects, of which three resemble the first, and `count` limbs in their colours."""
    bank = textures.bank(split, bank_size)
    rng = generator(seed, split, number, 0)
    first = objects.random_appearance(rng, bank)
    members = [first] + [objects.similar_appearance(rng, first, bank) for _ in range(FAMILY - 1)]
    limbs = [objects.random_appearance(rng, bank) for _ in range(count)]
    limbs = [replace(limb, color=first.color, second_color=first.second_color, hole=0.0) for limb in limbs]
    return tuple(objects.paint(k, bank) for k in members), tuple(objects.paint(k, bank) for k in limbs)


def _background(rng: np.random.Generator, bank: textures.Bank) -> np.ndarray:
    index = bank.scenic[rng.integers(len(bank.scenic))] if rng.random() < 0.85 else rng.integers(len(bank.textures))
    image = cv2.transform(bank.textures[index], objects.color_matrix(rng))
    if rng.random() < 0.25:
        image = cv2.blur(image, (int(rng.integers(2, 8)),) * 2)
    return cv2.flip(image, 1) if rng.random() < 0.5 else image


def _with_contrast(background: np.ndarray, target: Cutout) -> np.ndarray:
    """The background, darker or brighter if a uniform target has almost its colour."""
    small = target.levels[2].reshape(-1, 4).astype(np.float32)
    color = small[small[:, 3] > 200, :3]
    mean = np.array(cv2.mean(background)[:3])
    if len(color) and np.abs(color.mean(0) - mean).mean() + color.std(0).mean() < 35:
        if mean.mean() > 110:
            return cv2.convertScaleAbs(background, alpha=0.5)
        return cv2.add(background, (80,) * 4)  # type: ignore[call-overload]
    return background


def _cast(
    rng: np.random.Generator,
    split: int,
    members: tuple[Cutout, ...],
    limbs: tuple[Cutout, ...],
    target: int,
    options: Options,
) -> Cast:
    bank = textures.bank(split, options.bank_size)
    stock = objects.stock(bank, split)
    others = [members[k] for k in rng.permutation(FAMILY) if k != target]
    distractors = int(rng.integers(0, options.distractors + 1))
    clutter = int(rng.integers(0, options.clutter + 1))
    occluders = int(rng.integers(1, 3)) if rng.random() < options.occlusion else 0
    picks = rng.integers(len(stock), size=clutter + occluders + 1)
    return Cast(
        target=members[target],
        limbs=limbs[: int(rng.integers(0, len(limbs) + 1))] if rng.random() < options.articulated else (),
        distractors=tuple(others[k % len(others)] for k in range(distractors)),  # may repeat
        clutter=tuple(stock[k] for k in picks[:clutter]),
        occluders=tuple(stock[k] for k in picks[clutter:-1]),
        carriers=(stock[picks[-1]],) if rng.random() < 0.2 else (),
        shadows=tuple(objects.shadow(rng) for _ in range(int(rng.random() < options.shadow))),
        background=_with_contrast(_background(rng, bank), members[target]),
        sensor_noise=bank.noise,
    )


@dataclass(frozen=True)
class Procedural:
    """Endlessly many sequences: `Procedural(seed, "train")[index]` depends on its arguments alone."""

    seed: int = 0
    split: str = "train"
    options: Options = field(default_factory=Options)
    each_once = True  # clip i uses sequence i

    def __post_init__(self):
        if self.split not in SPLITS:
            raise UserError(f"unknown procedural split {self.split!r}{did_you_mean(self.split, SPLITS)}")
        if self.seed < 0:
            raise UserError(f"procedural seed {self.seed}: give a number of at least 0")

    def __len__(self) -> int:
        return 2**31 - 1

    def name(self, index: int) -> str:
        """The name of sequence `index`; does not compose the sequence."""
        return f"procedural-{self.split}-{self.seed}-{index:06d}"

    def __getitem__(self, index: int) -> Sequence:
        return as_sequence(self.name(index), self.scene(index))

    def scene(self, index: int) -> Scene:
        """The scene that sequence `index` is rendered from."""
        split, index = SPLITS[self.split], int(index)
        number, target = divmod(index, FAMILY) if self.split == "train" else (index, 0)
        members, limbs = _family(self.seed, split, self.options.bank_size, number, self.options.limbs)
        rng = generator(self.seed, split, index, 1)
        return compose(rng, _cast(rng, split, members, limbs, target, self.options), self.options)


def heldout(seed: int, count: int, options: Options | None = None) -> list[Sequence]:
    """The first `count` held-out sequences of a seed, for evaluation. Crops are cut from whole frames, as in videos."""
    source = Procedural(seed, "heldout", options or Options())
    return [replace(source[index], read_crop=None) for index in range(count)]


def sequence(seed: int, index: int, num_frames: int = 120, split: str = "train", **options: Any) -> Sequence:
    """A single procedural sequence; `options` are fields of `Options`."""
    return Procedural(seed, split, Options(num_frames=num_frames, **options))[index]
