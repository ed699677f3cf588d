"""Procedural sequences: made from a seed, no two alike, a new one for every clip.

Objects and backgrounds come from the texture bank (textures.py, objects.py), motion from compose.py. In training, a
family of look-alikes plays in four consecutive sequences, each time with another member as the target: the paint is
shared, and what was a target becomes a distractor. Held-out sequences have other seeds, other
textures, and a family each.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import cv2
import numpy as np

from relo_jax.config.data_options import Options
from relo_jax.data.sequence import Sequence
from relo_jax.data.synthetic import objects, textures
from relo_jax.data.synthetic.compose import Cast, compose
from relo_jax.data.synthetic.composed import as_sequence
from relo_jax.data.synthetic.scene import Cutout, Scene
from relo_jax.errors import UserError

SPLITS = {"train": 0, "heldout": 1}
FAMILY = 4  # members, and training sequences that share them


def generator(*key: int) -> np.random.Generator:
    """The random numbers of a key, whatever was drawn before."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


@lru_cache(maxsize=64)
def _family(seed: int, split: int, bank_size: int, number: int) -> tuple[tuple[Cutout, ...], tuple[Cutout, ...]]:
    """(four objects of which three resemble the first, two limbs in their colours)."""
    bank = textures.bank(split, bank_size)
    rng = generator(seed, split, number, 0)
    look = objects.random_look(rng, bank)
    looks = [look] + [objects.look_alike(rng, look, bank) for _ in range(FAMILY - 1)]
    limbs = [objects.random_look(rng, bank) for _ in range(2)]
    limbs = [replace(limb, color=look.color, second_color=look.second_color, hole=0.0) for limb in limbs]
    return tuple(objects.paint(k, bank) for k in looks), tuple(objects.paint(k, bank) for k in limbs)


def _background(rng: np.random.Generator, bank: textures.Bank) -> np.ndarray:
    pick = bank.scenic[rng.integers(len(bank.scenic))] if rng.random() < 0.85 else rng.integers(len(bank.textures))
    image = cv2.transform(bank.textures[pick], objects.color_matrix(rng))
    if rng.random() < 0.25:
        image = cv2.blur(image, (int(rng.integers(2, 8)),) * 2)
    return cv2.flip(image, 1) if rng.random() < 0.5 else image


def _apart(background: np.ndarray, target: Cutout) -> np.ndarray:
    """The background, made darker or brighter where a plain target of its own colour could not be seen on it."""
    small = target.levels[2].reshape(-1, 4).astype(np.float32)
    color = small[small[:, 3] > 200, :3]
    mean = np.array(cv2.mean(background)[:3])
    if len(color) and np.abs(color.mean(0) - mean).mean() + color.std(0).mean() < 35:
        return cv2.convertScaleAbs(background, alpha=0.5) if mean.mean() > 110 else cv2.add(background, (80,) * 4)
    return background


def _cast(rng: np.random.Generator, split: int, family, member: int, options: Options) -> Cast:
    bank = textures.bank(split, options.bank_size)
    stock = objects.stock(bank, split)
    relatives, limbs = family
    others = [relatives[k] for k in rng.permutation(FAMILY) if k != member]
    alike = int(rng.integers(0, options.distractors + 1))
    around = int(rng.integers(0, options.clutter + 1))
    before = int(rng.integers(1, 3)) if rng.random() < options.occlusion else 0
    picks = rng.integers(len(stock), size=around + before + 1)
    # More distractors than relatives: some come twice.
    return Cast(
        target=relatives[member],
        limbs=limbs[: int(rng.integers(0, 3))] if rng.random() < 0.35 else (),
        distractors=tuple(others[k % len(others)] for k in range(alike)),
        clutter=tuple(stock[k] for k in picks[:around]),
        occluders=tuple(stock[k] for k in picks[around:-1]),
        carriers=(stock[picks[-1]],) if rng.random() < 0.2 else (),
        shadows=tuple(objects.shadow(rng) for _ in range(int(rng.random() < options.shadow))),
        background=_apart(_background(rng, bank), relatives[member]),
        sensor_noise=bank.noise,
    )


@dataclass(frozen=True)
class Procedural:
    """An endless indexable of sequences: `Procedural(seed, "train")[index]`, the same for the same arguments."""

    seed: int = 0
    split: str = "train"
    options: Options = field(default_factory=Options)
    each_once = True  # clip i uses sequence i

    def __post_init__(self):
        if self.split not in SPLITS:
            raise UserError(f"procedural split {self.split!r}: known are {', '.join(SPLITS)}")
        if self.seed < 0:
            raise UserError(f"procedural seed {self.seed}: give 0 or more")

    def __len__(self) -> int:
        return 2**31 - 1

    def name(self, index: int) -> str:
        """The name of sequence `index`, without making it."""
        return f"procedural-{self.split}-{self.seed}-{index:06d}"

    def __getitem__(self, index: int) -> Sequence:
        return as_sequence(self.name(index), self.scene(index))

    def scene(self, index: int) -> Scene:
        """The description that sequence `index` is drawn from."""
        split, index = SPLITS[self.split], int(index)
        number, member = divmod(index, FAMILY) if self.split == "train" else (index, 0)
        family = _family(self.seed, split, self.options.bank_size, number)
        rng = generator(self.seed, split, index, 1)
        cast = _cast(rng, split, family, member, self.options)
        return compose(rng, cast, self.options)


def heldout(seed: int, count: int, options: Options | None = None) -> list[Sequence]:
    """The first `count` held-out sequences of a seed, for evaluation: cut from whole frames, as a user's video is."""
    source = Procedural(seed, "heldout", options or Options())
    return [replace(source[index], read_crop=None) for index in range(count)]


def sequence(seed: int, index: int, num_frames: int = 120, split: str = "train", **options) -> Sequence:
    """One procedural sequence; `options` are fields of `Options`."""
    return Procedural(seed, split, Options(num_frames=num_frames, **options))[index]
