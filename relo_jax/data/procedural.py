"""Procedural sequences: composed from a seed, no two alike, new ones for every clip.

A target of textured parts wanders over a moving, textured background, changes size, aspect, angle and light, passes
behind things and beside look-alikes. `compose` sets the motion for any cut-outs and background (photos.py uses it);
here they come from the texture bank. Held-out sequences have other seeds and a bank of other textures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from relo_jax.data import motion, objects, textures
from relo_jax.data.motion import log_uniform
from relo_jax.data.scene import Cutout, Layer, Scene, as_sequence
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError

SPLITS = {"train": 0, "heldout": 1}


@dataclass(frozen=True)
class Options:
    """How hard the sequences are. Sizes in pixels of a width x height frame, speeds in target sizes a frame."""

    width: int = 320
    height: int = 240
    num_frames: int = 120
    distractors: int = 3  # at most
    clutter: int = 6  # at most
    occlusion: float = 0.5  # probability of something to pass behind
    smallest: float = 20.0  # side of the target at the start
    largest: float = 84.0
    slowest: float = 0.02
    fastest: float = 0.22
    jump: float = 0.03  # largest probability a frame of a sudden displacement of 0.3 to 0.8 sizes
    grain: float = 0.15  # largest strength of the camera's noise
    bank_size: int = 256  # textures a split


@dataclass(frozen=True)
class Cast:
    """What `compose` sets in motion: cut-outs by role, and the background."""

    target: Cutout
    limbs: tuple[Cutout, ...]
    distractors: tuple[Cutout, ...]
    clutter: tuple[Cutout, ...]
    occluders: tuple[Cutout, ...]
    background: np.ndarray
    grain: np.ndarray | None = None


def generator(*key: int) -> np.random.Generator:
    """The random numbers of a key, whatever was drawn before."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def _shape_path(rng: np.random.Generator, frames: int):
    """(log size, log aspect, angle), each [F], relative to the start."""
    paths = motion.wander(rng, 3, frames, 16, 400)
    rates = log_uniform(rng, [0.003, 0.001, 0.003], [0.025, 0.015, 0.05])
    size, aspect, angle = paths * rates[:, None]
    if rng.random() < 0.2:  # turns on and on
        angle = angle + rng.normal(0, 0.03) * np.arange(frames)
    return size - size[0], np.clip(aspect - aspect[0], -0.7, 0.7), angle


def _layer(piece: Cutout, center, size, aspect, angle, gain=None) -> Layer:
    """size: [F], the square root of the bounding box's area before the rotation."""
    scale = size / piece.extent
    maps = motion.affine_maps(center, angle, scale * np.exp(aspect / 2), scale * np.exp(-aspect / 2), piece.center)
    return Layer(piece, maps, gain)


def _gain(rng: np.random.Generator, frames: int) -> np.ndarray:
    return np.exp(np.clip(motion.wander(rng, 1, frames, 20, 300)[0] * log_uniform(rng, 0.001, 0.02), -0.5, 0.4))


def _target_path(rng, options: Options, frames: int, sizes: np.ndarray) -> np.ndarray:
    """[F, 2] centres: wandering, drifting, jumping, turning back at the frame's border."""
    speed = log_uniform(rng, options.slowest, options.fastest)
    heading = rng.uniform(0, 2 * np.pi)
    drift = rng.uniform(0.2, 0.8) * np.array([np.cos(heading), np.sin(heading)])
    path = 0.8 * motion.wander(rng, 2, frames).T + drift * np.arange(frames)[:, None]
    if rng.random() < 0.3:  # shaken by the camera or by its gait
        path += rng.uniform(0, 0.8) * motion.wander(rng, 2, frames, 3, 9).T
    path *= speed
    path += motion.jumps(rng, frames, rng.uniform(0, options.jump), 0.3, 0.8)
    limit = np.array([options.width, options.height], np.float64)
    start = rng.uniform(0.15, 0.85, 2) * limit
    margin = np.minimum(rng.uniform(-0.1, 0.5) * sizes.max(), 0.3 * limit.min())
    return motion.fold(start + path * np.sqrt(sizes[0] * sizes)[:, None], margin, limit - margin)


def _limb_layers(rng, limbs, body: Layer, frames: int) -> list[Layer]:
    """Parts that swing about a joint on the body."""
    layers = []
    for limb in limbs:
        joint = rng.uniform(24, 72, 2)
        swing = rng.uniform(0, 2 * np.pi) + rng.uniform(0.1, 0.9) * np.sin(
            2 * np.pi * np.arange(frames) / log_uniform(rng, 6, 60) + rng.uniform(0, 6.3)
        )
        scale = rng.uniform(0.3, 0.6)
        # The joint is the middle of the limb's upper end, so that it hangs from there.
        anchor = np.array([limb.center[0], limb.outline[:, 1].min() + 8])
        inner = motion.affine_maps(np.tile(joint, (frames, 1)), swing, scale * 0.7, scale, anchor)
        layers.append(Layer(limb, motion.compose(body.maps, inner), body.gain))
    return layers


def _distractor_layer(rng, piece: Cutout, options: Options, center: np.ndarray, sizes: np.ndarray) -> Layer:
    """Beside the target for a while (it may cross it), or on a way of its own."""
    frames = len(center)
    size, aspect, angle = _shape_path(rng, frames)
    own = sizes[0] * np.exp(rng.normal(0, 0.2) + np.clip(size, -0.5, 0.5))
    if rng.random() < 0.7:
        turn = rng.uniform(0, 2 * np.pi) + 0.05 * motion.wander(rng, 1, frames, 20, 300)[0]
        reach = rng.uniform(0.9, 2.2) + rng.uniform(0.2, 1.6) * np.sin(
            2 * np.pi * np.arange(frames) / rng.uniform(30, 200) + rng.uniform(0, 6.3)
        )
        path = center + (reach * np.sqrt(sizes * own))[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
    else:
        limit = np.array([options.width, options.height])
        steps = motion.wander(rng, 2, frames).T * log_uniform(rng, options.slowest, options.fastest) * sizes[0]
        path = motion.fold(rng.uniform(0, 1, 2) * limit + steps, -0.1 * limit, 1.1 * limit)
    return _layer(piece, path, own, aspect, angle, _gain(rng, frames))


def _camera(rng, options: Options, cast: Cast, center: np.ndarray, frames: int):
    """(maps [F, 2, 3] of the background, maps [F, 2, 3] from the first frame's scene to the frame)."""
    follow = rng.choice([0.0, rng.uniform(0, 1), 1.0], p=[0.35, 0.35, 0.3])
    shake = motion.wander(rng, 2, frames, 4, 120).T * rng.choice([0.0, log_uniform(rng, 0.1, 3)])
    # A camera that follows the target moves the scene against the target's own way.
    travel = -follow * 1.5 * (center - center[0]) * rng.choice([1, -1], p=[0.8, 0.2]) + shake
    turn = motion.wander(rng, 1, frames, 30, 400)[0] * rng.choice([0.0, log_uniform(rng, 0.0005, 0.008)])
    zoom = np.exp(np.clip(motion.wander(rng, 1, frames, 60, 400)[0] * rng.choice([0, 0.003, 0.01]), -0.4, 0.4))
    zoom = zoom / zoom[0]
    middle = np.array([options.width, options.height]) / 2
    world = motion.affine_maps(middle + travel, turn - turn[0], zoom, zoom, middle)
    high, wide = cast.background.shape[:2]
    fill = max(options.width / wide, options.height / high) * log_uniform(rng, 0.7, 2.2)
    angle = np.array([rng.normal(0, 0.15) if rng.random() < 0.7 else rng.uniform(0, 6.3)])
    placed = motion.affine_maps(middle[None], angle, fill, fill, (wide * rng.uniform(0.3, 0.7), high / 2))
    return motion.compose(world, np.repeat(placed, frames, 0)), world


def _standing(rng, piece: Cutout, world: np.ndarray, at: np.ndarray, size: float, gain=None) -> Layer:
    """Something that stands in the scene and moves only as the camera does."""
    frames = len(world)
    aspect = np.full(1, np.clip(rng.normal(0, 0.4), -1, 1))
    still = _layer(piece, np.asarray(at)[None], np.full(1, size), aspect, rng.normal(0, 0.3, 1))
    return Layer(piece, motion.compose(world, np.repeat(still.maps, frames, 0)), gain)


def compose(rng: np.random.Generator, cast: Cast, options: Options) -> Scene:
    """Sets a cast in motion. Draws from `rng` only; all F frames at once."""
    frames = options.num_frames
    size, aspect, angle = _shape_path(rng, frames)
    sizes = log_uniform(rng, options.smallest, options.largest) * np.exp(size)
    sizes = np.exp(motion.fold(np.log(sizes), np.log(14.0), np.log(0.45 * min(options.width, options.height))))
    center = _target_path(rng, options, frames, sizes)
    background_maps, world = _camera(rng, options, cast, center, frames)
    angle = angle - angle[0] + (rng.normal(0, 0.3) if rng.random() < 0.7 else rng.uniform(0, 6.3))
    body = _layer(cast.target, center, sizes, aspect, angle, _gain(rng, frames))

    limit = np.array([options.width, options.height])
    behind = []
    for piece in cast.clutter:
        gain = np.full(frames, rng.uniform(0.5, 1.3))
        behind.append(_standing(rng, piece, world, rng.uniform(-0.5, 1.5, 2) * limit, log_uniform(rng, 12, 130), gain))
    front = []
    for piece in cast.distractors:
        layer = _distractor_layer(rng, piece, options, center, sizes)
        (front if rng.random() < 0.35 else behind).append(layer)
    for piece in cast.occluders:
        # Put where the target will be at some time, a little aside; in the coordinates of the first frame.
        when = int(rng.integers(frames))
        place = center[when] + rng.uniform(-0.7, 0.7, 2) * sizes[when]
        place = motion.apply(motion.invert(world[when : when + 1]), place[None])[0, 0]
        front.append(_standing(rng, piece, world, place, sizes[when] * rng.uniform(0.4, 1.5)))
    limbs = _limb_layers(rng, cast.limbs, body, frames)
    back = len(limbs) if rng.random() < 0.5 else 0  # limbs behind the body or before it
    first = len(behind) + back
    own = [*limbs[:back], body, *limbs[back:]]
    target = (first, *(len(behind) + k for k in range(len(own)) if k != back))
    strength = rng.uniform(0, options.grain) if options.grain and cast.grain is not None else 0.0
    return Scene(
        options.width,
        options.height,
        cast.background,
        background_maps,
        (*behind, *own, *front),
        target,
        light=_gain(rng, frames) * rng.uniform(0.75, 1.15),
        grain=cast.grain,
        grain_strength=strength,
        offsets=rng.integers(0, 100, (frames, 2)),
    )


def _background(rng, bank: textures.Bank) -> np.ndarray:
    pick = bank.scenic if rng.random() < 0.85 else np.arange(len(bank.textures))
    image = cv2.transform(bank.textures[rng.choice(pick)], objects.color_matrix(rng))
    if rng.random() < 0.25:
        image = cv2.blur(image, (int(rng.integers(2, 8)),) * 2)
    return image[:, ::-1] if rng.random() < 0.5 else image


def _cast(rng: np.random.Generator, bank: textures.Bank, stock, options: Options) -> Cast:
    look = objects.random_look(rng, bank)
    count = int(rng.integers(0, 3)) if rng.random() < 0.35 else 0
    limbs = tuple(objects.paint(_limb(rng, look, bank), bank) for _ in range(count))
    alike = int(rng.integers(min(1, options.distractors), options.distractors + 1))
    around = int(rng.integers(0, options.clutter + 1))
    before = int(rng.integers(1, 3)) if rng.random() < options.occlusion else 0
    picks = rng.integers(len(stock), size=around + before)
    return Cast(
        target=objects.paint(look, bank),
        limbs=limbs,
        distractors=tuple(objects.paint(objects.look_alike(rng, look, bank), bank) for _ in range(alike)),
        clutter=tuple(stock[k] for k in picks[:around]),
        occluders=tuple(stock[k] for k in picks[around:]),
        background=np.ascontiguousarray(_background(rng, bank)),
        grain=bank.noise,
    )


def _limb(rng, look: objects.Look, bank: textures.Bank) -> objects.Look:
    other = objects.random_look(rng, bank)
    from dataclasses import replace

    return replace(other, color=look.color, second_color=look.second_color, hole=0.0)


@dataclass(frozen=True)
class Procedural:
    """An endless indexable of sequences: `Procedural(seed, "train")[index]`, the same for the same arguments."""

    seed: int = 0
    split: str = "train"
    options: Options = field(default_factory=Options)
    each_once = True  # a clip draws its own sequence

    def __post_init__(self):
        if self.split not in SPLITS:
            raise UserError(f"procedural split {self.split!r}: known are {', '.join(SPLITS)}")

    def __len__(self) -> int:
        return 2**31 - 1

    def name(self, index: int) -> str:
        return f"procedural-{self.split}-{self.seed}-{index:06d}"

    def __getitem__(self, index: int) -> Sequence:
        number = SPLITS[self.split]
        bank = textures.bank(number, self.options.bank_size)
        rng = generator(self.seed, number, int(index))
        cast = _cast(rng, bank, objects.stock(bank, number), self.options)
        return as_sequence(self.name(index), compose(rng, cast, self.options))


def sequence(seed: int, index: int, num_frames: int = 120, split: str = "train", **options) -> Sequence:
    """One procedural sequence; `options` are fields of `Options`."""
    return Procedural(seed, split, Options(num_frames=num_frames, **options))[index]


SequenceSource = Callable[[int], Sequence]
